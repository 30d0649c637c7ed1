"""What is converted: the graph as it was read, or one with 8-bit weights and ranges."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from export.ir.graph import Graph
from export.quantization import qat, sparsity
from export.quantization.ptq import (
    CALIBRATION_ALONE,
    MOST_FOR_ROUNDING,
    LearningData,
    PostTraining,
    TuningRecord,
    learning_steps,
    tune,
)
from export.quantization.ranges import calibrations
from export.quantization.scales import Ranges, home_of_range, quantized_tensors
from export.record import Record
from export.run import Run
from export.tflite_file.interpreter import Interpreter
from export.verification.float_reference import accuracy, observed

LONGER_IN_DISTILLATION = 4
"""Distillation learns channels for at most this many times the steps of post-training quantization.

Eight times as many gained nothing on photos that were not learned from (MobileNetV2, docs/experiments.md).
"""
MOST_FOR_ROUNDING_IN_DISTILLATION = 384
"""At most this many training samples round kernels in distillation.

379 samples instead of 58 gave MobileNetV2 0.2 dB more on photos that were held out.
"""


@dataclass(frozen=True, eq=False)
class TrainingRecord(Record):
    """Quantization-aware training.

    Attributes:
        ptq_accuracy: of the int8 file of the same model without it, in [0, 1]; None where that is not the metric.
        epochs, distilled: how long, and whether on the float model's outputs alone.
        history: the mean loss of each epoch.
    """

    ptq_accuracy: float | None
    epochs: int
    distilled: bool
    history: list[dict[str, float]]


@dataclass(frozen=True)
class FloatCandidate:
    """A graph that is converted as it is, or whose integer ranges the converter finds by itself.

    Attributes:
        graph: with its final weights.
        reference: the float graph that the file must be close to.
    """

    graph: Graph
    reference: Graph

    @property
    def keep_float(self) -> frozenset[str]:
        """Operations of an int8 file that stay in float."""
        return frozenset()

    @property
    def ranges(self) -> Ranges | None:
        """Of activations; None where the converter finds them."""
        return None

    @property
    def tuning(self) -> TuningRecord | None:
        """What post-training quantization did, for the report."""
        return None

    @property
    def training(self) -> TrainingRecord | None:
        """What quantization-aware training did, for the report."""
        return None


@dataclass(frozen=True)
class QuantizedCandidate:
    """A graph with the ranges of its activations.

    Attributes:
        graph, reference: as those of `FloatCandidate`.
        ranges: of activations, by operation.
        unrounded: `graph` before its kernels were put on their 8-bit grids.
        keep_float: operations that stay in float.
        tuning, training: for the report, what post-training and quantization-aware training did.
    """

    graph: Graph
    reference: Graph
    ranges: Ranges
    unrounded: Graph
    keep_float: frozenset[str] = frozenset()
    tuning: TuningRecord | None = None
    training: TrainingRecord | None = None

    def keeping_float(self, names: frozenset[str]) -> QuantizedCandidate:
        """The same with these operations in float, which get the weights back that they had before rounding."""
        graph = self.graph.copy()
        for name in names:
            graph.operations[name].weights = dict(self.unrounded.operations[name].weights)
        homes = {name: home_of_range(graph, self.ranges, name) for name in quantized_tensors(graph, names)}
        ranges = {name: self.ranges[home] for name, home in homes.items() if home is not None}
        return replace(self, graph=graph, keep_float=names, ranges=ranges)


Candidate = FloatCandidate | QuantizedCandidate


def compressed(run: Run) -> sparsity.StructureRecord | None:
    """Prune and cluster the source's graph in place, if that was asked for; what came of it, for the report."""
    prune, cluster = run.options.prune, run.options.cluster
    if not (prune or cluster):
        return None
    with run.clock("prune and cluster"):
        return sparsity.give_structure(run.source.graph, run.worker, prune, cluster)


def quantized(run: Run, keep_float: frozenset[str]) -> Candidate:
    """The source's graph tuned for int8 with ranges of ours; other modes take it as it is.

    Args:
        keep_float: operations that stay in float.
    """
    graph, options = run.source.graph, run.options
    if not options.sets_ranges:
        return FloatCandidate(graph, graph)
    if options.ptq == "plain" and not options.qat:
        with run.clock("calibrate"):
            ranges = calibrations(graph, run.worker, run.data.calibration, options.input_range, keep_float)
        return QuantizedCandidate(graph, graph, ranges["extremes"], graph, keep_float)
    with run.clock("tune"):
        tuned = tune(
            graph,
            run.worker,
            run.data.calibration,
            options.input_range,
            keep_float,
            _steps(run),
            invertible=options.qat is not None,
            data=_distillation(run),
        )
    return QuantizedCandidate(
        tuned.graph, graph, tuned.ranges, tuned.unrounded or tuned.graph, keep_float, tuned.record
    )


def _steps(run: Run) -> PostTraining:
    """Kernels that were pruned or clustered are left alone: rounding would spoil them."""
    options = run.options
    if options.ptq == "plain" or options.prune or options.cluster:
        return CALIBRATION_ALONE
    return options.ptq if isinstance(options.ptq, PostTraining) else PostTraining()


def _distillation(run: Run) -> LearningData | None:
    """The training samples, where what is learned from is the float model; as many batches as half of the training.

    Kernels are rounded by the first of them, more of them where the model is small enough to learn from them.
    """
    training = run.options.qat
    if training is None or not training.distill:
        return None
    longest = LONGER_IN_DISTILLATION * learning_steps(run.source.graph, len(run.data.calibration[0]))
    steps = min(longest, training.steps_per_epoch * training.epochs // 2)
    graph = run.source.graph
    samples = training.samples(graph, MOST_FOR_ROUNDING_IN_DISTILLATION if steps else MOST_FOR_ROUNDING)
    return LearningData(steps, islice(training.prepared(graph)[1], steps), samples)


def trained(run: Run, candidate: Candidate) -> Candidate:
    """The candidate after quantization-aware training, if that was asked for."""
    training = run.options.qat
    if training is None or isinstance(candidate, FloatCandidate):
        return candidate
    graph = candidate.graph.copy()
    ptq_accuracy = _accuracy(run, candidate)
    with run.clock("quantization-aware training"):
        ranges, history = qat.train_quantized(
            graph,
            run.worker,
            candidate.ranges,
            candidate.keep_float,
            training,
            candidate.reference,
            preserve_sparsity=run.options.prune is not None,
            preserve_clusters=run.options.cluster is not None,
        )
    # Distilled it is to be what the float model was; trained on labels it is another model.
    reference = candidate.reference if training.distill else graph
    return replace(
        candidate,
        graph=graph,
        reference=reference,
        ranges=ranges,
        unrounded=graph,
        training=TrainingRecord(ptq_accuracy, training.epochs, training.distill, history),
    )


def _accuracy(run: Run, candidate: Candidate) -> float | None:
    """What int8 without training gives, to stand beside the trained file's."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "post-training.tflite"
        path.write_bytes(converted(run, candidate))
        return accuracy(run, observed(run, Interpreter(path).run))


def converted(run: Run, candidate: Candidate) -> memoryview:
    """The TFLite file."""
    calibration, ranges = run.data.calibration, candidate.ranges
    samples = {"samples": calibration} if calibration and ranges is None else {}
    return run.worker.convert(
        candidate.graph,
        run.options.mode,
        run.options.file_io,
        ranges=ranges,
        keep_float=sorted(candidate.keep_float),
        **samples,
    )
