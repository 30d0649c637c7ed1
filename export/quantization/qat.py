"""Going on training a model under a constraint: quantized, pruned, clustered, or all three."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from export.client import Worker
from export.data.samples import Inputs, blended
from export.errors import InputError
from export.ir.graph import Graph
from export.quantization.scales import Ranges, learnable
from export.tflite_file.audit import FEW_VALUES, Audit, kernels, pattern_share, zero_blocks
from export.worker.wire import Arrays
from keras_classics.datasets.augment import Augmentation

Batches = Iterable[tuple[Any, np.ndarray | None]]
SCHEDULES = ("polynomial", "constant")
LEARNING_RATE = 5e-4
GRID_LEARNING_RATE = 0.008  # in steps of the 8-bit kernel
DISTILLATION_STEPS = 1800  # on images without labels, of which there are few
DISTILLATION_BATCH = 8
PHOTO_AUGMENTATION = Augmentation(shift=0.1, zoom=0.25, horizontal_flip=True, fill="nearest")
LEAST_OF_SPARSITY = 0.97  # of what was asked: kernels of few weights round it down


@dataclass(frozen=True)
class FineTuning:
    """How to go on training a model under a constraint.

    Attributes:
        batches: gives the batches of one epoch, (inputs, class numbers), for the epoch's number;
            inputs are float32 in the model's own range, (n, …) or a tuple or list of them.
        steps_per_epoch: how many batches an epoch has.
        epochs: how many there are.
        learning_rate: of Adam, decaying to zero along a cosine. Quantization-aware training of kernels
            without a structure measures it in steps of the 8-bit kernel. None takes 0.008 of these, or 5e-4.
        distill: train towards the float model's outputs alone, and not the class numbers, which may then be None;
            half of the batches are blends of their samples. For quantization-aware training, where the class
            numbers are otherwise joined by the float model's class probabilities, unless kernels have a structure.
    """

    batches: Callable[[int], Batches]
    steps_per_epoch: int
    epochs: int = 2
    learning_rate: float | None = None
    distill: bool = False

    @classmethod
    def on_arrays(
        cls, inputs: Any, labels: np.ndarray | None, batch_size: int = 32, seed: int = 0, **options: Any
    ) -> FineTuning:
        """Train on arrays in memory, shuffled anew in each epoch."""
        arrays = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
        count = len(arrays[0])
        size = min(batch_size, count)

        def batches(epoch: int) -> Batches:
            order = np.random.default_rng([seed, epoch]).permutation(count)
            for start in range(0, count - size + 1, size):
                chosen = order[start : start + size]
                yield [array[chosen] for array in arrays], None if labels is None else labels[chosen]

        return cls(batches, count // size, **options)

    @classmethod
    def on_photos(cls, photos: np.ndarray, seed: int = 0) -> FineTuning:
        """Distill on photos without labels, moved, zoomed and mirrored anew in each epoch, for 1,800 steps of 8.

        Args:
            photos: float32 (N, height, width, channels), in the model's own range.
            seed: of their order and changes.

        Raises:
            InputError: they have other axes, or there is none.
        """
        if photos.ndim != 4 or not len(photos):
            raise InputError(f"photos have the shape {photos.shape}; give (N, height, width, channels), one at least")
        plain = cls.on_arrays(photos, None, DISTILLATION_BATCH, seed)

        def batches(epoch: int) -> Batches:
            random = np.random.default_rng([seed, epoch, 1])
            for (images,), _ in plain.batches(epoch):
                yield PHOTO_AUGMENTATION(images, random), None

        epochs = math.ceil(DISTILLATION_STEPS / plain.steps_per_epoch)
        return cls(batches, plain.steps_per_epoch, epochs, distill=True)

    def stream(self) -> Iterator[Arrays]:
        """All batches of all epochs, as the worker takes them."""
        random = np.random.default_rng(0)
        for arrays, labels in self._batches():
            if self.distill:
                arrays = blended(arrays, random)
            named = {f"input:{index}": array for index, array in enumerate(arrays)}
            if labels is None and not self.distill:
                raise InputError("training without class numbers needs distill=True")
            yield named if self.distill else named | {"target": np.asarray(labels, np.int64)}

    def samples(self, count: int) -> Inputs:
        """The first inputs of the training, (count, …) each, or fewer where it has no more."""
        found: list[Inputs] = []
        for arrays, _ in self._batches():
            found.append(arrays)
            if sum(len(batch[0]) for batch in found) >= count:
                break
        return [np.concatenate(each)[:count] for each in zip(*found, strict=True)]

    def _batches(self) -> Iterator[tuple[Inputs, np.ndarray | None]]:
        for epoch in range(self.epochs):
            for inputs, labels in self.batches(epoch):
                arrays = inputs if isinstance(inputs, tuple | list) else [inputs]
                yield [np.asarray(array, np.float32) for array in arrays], labels

    def options(self, learning_rate: float = LEARNING_RATE) -> dict[str, Any]:
        """What the worker's loop needs to know; `learning_rate` is taken where none was chosen."""
        return {
            "steps_per_epoch": self.steps_per_epoch,
            "epochs": self.epochs,
            "learning_rate": self.learning_rate or learning_rate,
        }


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
    schedule: Literal["polynomial", "constant"] = "polynomial"

    def __post_init__(self) -> None:
        if not 0 < self.sparsity < 1:
            raise InputError(f"sparsity is {self.sparsity}; it takes a share above 0 and below 1")
        if self.schedule not in SCHEDULES:
            raise InputError(f"the schedule of pruning is {self.schedule!r}; it takes {' or '.join(SCHEDULES)}")
        if self.block and min(self.block) < 1:
            raise InputError(f"blocks of {self.block[0]}×{self.block[1]} are none; both sides are at least 1")
        if self.block and self.pattern:
            raise InputError("a pattern has no blocks; give a share of zeros, or leave the blocks out")

    @property
    def expected(self) -> float:
        """The share of zeros that must come of it."""
        return self.pattern[0] / self.pattern[1] if self.pattern else self.sparsity

    def description(self) -> dict[str, Any]:
        """What was asked, without the training."""
        return {name: getattr(self, name) for name in ("sparsity", "pattern", "block", "schedule")}


@dataclass(frozen=True)
class Clustering:
    """To how many different values each kernel of a convolution or dense layer is reduced, 3 to 256."""

    training: FineTuning
    clusters: int = 16

    def __post_init__(self) -> None:
        if not 3 <= self.clusters <= FEW_VALUES:
            raise InputError(f"{self.clusters} clusters are too few or too many; it takes 3 to {FEW_VALUES}")


def give_structure(graph: Graph, worker: Worker, prune: Pruning | None, cluster: Clustering | None) -> dict[str, Any]:
    """Prune, then cluster, the graph's kernels in place; what was asked and how it went, for the report."""
    kernels = (each for each in graph.operations.values() if "kernel" in each.weights)
    record: dict[str, Any] = {"left_alone": [each.name for each in kernels if not each.compressible]}
    if prune:
        options = prune.training.options() | prune.description()
        weights, result = worker.train("prune", graph, options, prune.training.stream())
        graph.set_weights(weights)
        record["prune"] = prune.description() | result
    if cluster:
        options = cluster.training.options() | {"clusters": cluster.clusters, "preserve_sparsity": bool(prune)}
        weights, result = worker.train("cluster", graph, options, cluster.training.stream())
        graph.set_weights(weights)
        record["cluster"] = {"clusters": cluster.clusters} | result
    return record


def train_quantized(
    graph: Graph,
    worker: Worker,
    ranges: Ranges,
    keep_float: frozenset[str],
    training: FineTuning,
    teacher: Graph,
    prune: Pruning | None,
    cluster: Clustering | None,
) -> tuple[Ranges, dict[str, Any]]:
    """Train the graph's weights in place under simulated int8.

    Kernels with a structure keep it, and the ranges stay; the others are trained on their 8-bit grids, and
    ranges with them. Operations of `keep_float` are trained as they are.

    Args:
        teacher: the float model, for distillation; of kernels without a structure, beside labels as well.

    Returns:
        The ranges, and for the report what was done.
    """
    settings: dict[str, Any] = {"ranges": ranges, "keep_float": sorted(keep_float)}
    structured = prune is not None or cluster is not None
    if training.distill or not structured:
        settings["teacher"] = teacher
    if structured:
        options = training.options() | {"preserve_sparsity": bool(prune), "preserve_clusters": bool(cluster)}
        weights, result = worker.train("train_quantized", graph, options, training.stream(), **settings)
    else:
        settings["shared"] = learnable(graph, ranges, keep_float)
        options = training.options(GRID_LEARNING_RATE)
        weights, result = worker.train("train_on_grid", graph, options, training.stream(), **settings)
        ranges = {name: (low, high) for name, (low, high) in result["ranges"].items()}
    graph.set_weights(weights)
    return ranges, {"epochs": training.epochs, "distilled": training.distill, "history": result["history"]}


def faults(path: str | os.PathLike[str], found: Audit, prune: Pruning | None, cluster: Clustering | None) -> list[str]:
    """What of the structure that was asked for is not in the file."""
    result = []
    if prune and found.sparsity < LEAST_OF_SPARSITY * prune.expected:
        result.append(f"only {found.sparsity:.1%} of the kernels' weights are zero")
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
    if cluster and (found.values_per_channel is None or found.values_per_channel > cluster.clusters):
        count = found.values_per_channel or f"more than {FEW_VALUES}"
        result.append(f"a kernel has {count} different values in a channel")
    return result
