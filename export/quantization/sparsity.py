"""Pruning and clustering: zeros, or few different values, trained into kernels, and found again in the file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from export.client import Worker
from export.errors import InputError
from export.ir.graph import Graph
from export.quantization.qat import LEARNING_RATE, FineTuning, fit
from export.record import Record
from export.tflite_file.audit import FEW_VALUES, Audit, kernels, pattern_share, zero_blocks
from export.vocabulary import PRUNING_SCHEDULES
from export.worker.protocol import Cluster, Prune

Schedule = Literal["polynomial", "constant"]
# The share of the zeros asked for that a file must have: kernels of few weights round it down.
LEAST_OF_SPARSITY = 0.97


@dataclass(frozen=True)
class Pruning:
    """Which weights of convolutions and dense layers become zero, and the training around it.

    Attributes:
        training: the training around it.
        sparsity: their share, above 0 and below 1.
        pattern: (m, n) instead asks for m zeros in every n consecutive input channels.
        block: (inputs, outputs), the size of the blocks of a dense kernel that become zero together;
            convolutions are pruned weight by weight all the same.
        schedule: "polynomial" raises the share from 0 over two thirds of the training, "constant" has it from
            the first step on.
    """

    training: FineTuning
    sparsity: float = 0.5
    pattern: tuple[int, int] | None = None
    block: tuple[int, int] | None = None
    schedule: Schedule = "polynomial"

    def __post_init__(self) -> None:
        if not 0 < self.sparsity < 1:
            raise InputError(f"sparsity is {self.sparsity}; it takes a share above 0 and below 1")
        if self.schedule not in PRUNING_SCHEDULES:
            raise InputError(f"the schedule of pruning is {self.schedule!r}; it takes {' or '.join(PRUNING_SCHEDULES)}")
        if self.block and min(self.block) < 1:
            raise InputError(f"blocks of {self.block[0]}×{self.block[1]} are none; both sides are at least 1")
        if self.block and self.pattern:
            raise InputError("a pattern has no blocks; give a share of zeros, or leave the blocks out")

    @property
    def expected(self) -> float:
        """The share of zeros that must come of it."""
        return self.pattern[0] / self.pattern[1] if self.pattern else self.sparsity


@dataclass(frozen=True)
class Clustering:
    """To how many different values each kernel of a convolution or dense layer is reduced, 3 to 256."""

    training: FineTuning
    clusters: int = 16

    def __post_init__(self) -> None:
        if not 3 <= self.clusters <= FEW_VALUES:
            raise InputError(f"{self.clusters} clusters are too few or too many; it takes 3 to {FEW_VALUES}")


@dataclass(frozen=True, eq=False)
class PruningRecord(Record):
    """What was asked of pruning, and the mean loss of each epoch of its training."""

    sparsity: float
    pattern: tuple[int, int] | None
    block: tuple[int, int] | None
    schedule: Schedule
    history: list[dict[str, float]]


@dataclass(frozen=True, eq=False)
class ClusteringRecord(Record):
    """What was asked of clustering, and the mean loss of each epoch of its training."""

    clusters: int
    history: list[dict[str, float]]


@dataclass(frozen=True, eq=False)
class StructureRecord(Record):
    """The operations whose kernels pruning and clustering have left alone, and what each did; None where unasked."""

    left_alone: list[str]
    prune: PruningRecord | None
    cluster: ClusteringRecord | None


def give_structure(graph: Graph, worker: Worker, prune: Pruning | None, cluster: Clustering | None) -> StructureRecord:
    """Prune, then cluster, the graph's kernels in place; what was asked and how it went, for the report."""
    weighted = [operation for operation in graph.operations.values() if operation.traits.has_kernel]
    pruning_record, clustering_record = None, None
    if prune:
        losses, batches = prune.training.prepared(graph)
        pruning = Prune(
            graph=graph,
            losses=losses,
            length=prune.training.length,
            learning_rate=prune.training.learning_rate or LEARNING_RATE,
            sparsity=prune.sparsity,
            pattern=prune.pattern,
            block=prune.block,
            schedule=prune.schedule,
        )
        pruned = fit(worker, pruning, batches)
        graph.set_weights(pruned.weights)
        pruning_record = PruningRecord(prune.sparsity, prune.pattern, prune.block, prune.schedule, pruned.history)
    if cluster:
        losses, batches = cluster.training.prepared(graph)
        clustering = Cluster(
            graph=graph,
            losses=losses,
            length=cluster.training.length,
            learning_rate=cluster.training.learning_rate or LEARNING_RATE,
            clusters=cluster.clusters,
            preserve_sparsity=prune is not None,
        )
        clustered = fit(worker, clustering, batches)
        graph.set_weights(clustered.weights)
        clustering_record = ClusteringRecord(cluster.clusters, clustered.history)
    left_alone = [operation.name for operation in weighted if not operation.compressible]
    return StructureRecord(left_alone, pruning_record, clustering_record)


def faults(path: str | os.PathLike[str], audit: Audit, prune: Pruning | None, cluster: Clustering | None) -> list[str]:
    """What of the structure that was asked for is not in the file."""
    result = []
    if prune and audit.sparsity < LEAST_OF_SPARSITY * prune.expected:
        result.append(f"only {audit.sparsity:.1%} of the kernels' weights are zero")
    if prune and prune.pattern:
        share = pattern_share(kernels(path), *prune.pattern)
        if share < 1:
            result.append(
                f"only {share:.1%} of the kernels have {prune.pattern[0]} zeros in {prune.pattern[1]} weights"
            )
    if prune and prune.block:
        share = zero_blocks(kernels(path), *prune.block)
        if share < LEAST_OF_SPARSITY * prune.sparsity:
            result.append(f"only {share:.1%} of the dense kernels' blocks are zero")
    if cluster and (audit.values_per_channel is None or audit.values_per_channel > cluster.clusters):
        count = audit.values_per_channel or f"more than {FEW_VALUES}"
        result.append(f"a kernel has {count} different values in a channel")
    return result
