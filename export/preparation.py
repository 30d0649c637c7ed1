"""From the graph that was read to the graph and the ranges that are converted."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from export.ir.graph import Graph
from export.quantization.ptq import CALIBRATION_ALONE, MOST_FOR_ROUNDING, Lessons, PostTraining, learning_steps, tune
from export.quantization.qat import give_structure, train_quantized
from export.quantization.ranges import calibrations
from export.quantization.scales import Ranges, quantized_tensors
from export.run import Run
from export.tflite_file.interpreter import Interpreter
from export.verification.float_reference import correct, share

# Than post-training quantization learns channels, before kernels are trained. Twice as long again only photos that it
# had learned from gained.
LONGER_IN_TRAINING = 4
MOST_FOR_ROUNDING_IN_TRAINING = 384  # 379 instead of 58 gave MobileNetV2 0.2 dB more on photos that were held out


@dataclass(frozen=True)
class Prepared:
    """What is converted.

    Attributes:
        graph: with its final weights.
        reference: the float graph that the file must be close to.
        in_float: operations of an int8 file that stay in float.
        unrounded: `graph` before post-training quantization put its kernels on their grids; None without.
        ranges: of activations; None where there are none, or the converter is to find them.
        tuning, training: for the report, what post-training and quantization-aware training did.
    """

    graph: Graph
    reference: Graph
    in_float: frozenset[str] = frozenset()
    ranges: Ranges | None = None
    unrounded: Graph | None = None
    tuning: dict[str, Any] | None = None
    training: dict[str, Any] | None = None


def give_sparsity(run: Run) -> dict[str, Any] | None:
    """Prune and cluster the graph in place, if that was asked for; what came of it, for the report."""
    prune, cluster = run.options.prune, run.options.cluster
    if not (prune or cluster):
        return None
    with run.clock("prune and cluster"):
        return give_structure(run.source.graph, run.worker, prune, cluster)


def prepare(run: Run, in_float: frozenset[str]) -> Prepared:
    """Tune the graph for int8 with ranges of ours, and train it if that was asked for; other modes take it as it is."""
    graph, options = run.source.graph, run.options
    if not options.sets_ranges:
        return Prepared(graph, graph)
    if options.ptq == "plain" and not options.qat:
        return Prepared(graph, graph, in_float, _extremes(run, in_float))
    with run.clock("tune"):
        tuned = tune(
            graph,
            run.worker,
            run.data.calibrating,
            options.input_range,
            in_float,
            _steps(run),
            carried=options.qat is not None,
            lessons=_lessons(run),
        )
    prepared = Prepared(tuned.graph, graph, in_float, tuned.ranges, tuned.unrounded, tuned.record)
    return _trained(run, prepared) if options.qat else prepared


def _extremes(run: Run, in_float: frozenset[str]) -> Ranges:
    """Ranges that hold all values of the calibration samples."""
    data, graph = run.data, run.source.graph
    with run.clock("calibrate"):
        found = calibrations(graph, run.worker, data.calibrating, run.options.input_range, in_float)
    return found["extremes"]


def _steps(run: Run) -> PostTraining:
    """Kernels with a structure are left alone: rounding would spoil it."""
    options = run.options
    if options.ptq == "plain" or options.prune or options.cluster:
        return CALIBRATION_ALONE
    return options.ptq if isinstance(options.ptq, PostTraining) else PostTraining()


def _lessons(run: Run) -> Lessons | None:
    """The training images, where what is learned from is the float model; as many batches as half of the training.

    Kernels are rounded by the first of the images, more of them where the model is small enough to learn from them.
    """
    qat = run.options.qat
    if qat is None or not qat.distill:
        return None
    longest = LONGER_IN_TRAINING * learning_steps(run.source.graph, len(run.data.calibrating[0]))
    count = min(longest, qat.steps_per_epoch * qat.epochs // 2)
    samples = qat.samples(MOST_FOR_ROUNDING_IN_TRAINING if count else MOST_FOR_ROUNDING)
    return Lessons(count, islice(qat.stream(), count), samples)


def _trained(run: Run, start: Prepared) -> Prepared:
    """Quantization-aware training from tuned weights."""
    options, graph = run.options, start.graph.copy()
    assert options.qat is not None
    assert start.ranges is not None
    record = {"ptq_accuracy": _accuracy(run, start)}
    with run.clock("quantization-aware training"):
        ranges, trained = train_quantized(
            graph,
            run.worker,
            start.ranges,
            start.in_float,
            options.qat,
            start.reference,
            options.prune,
            options.cluster,
        )
    # Distilled it is to be what the float model was; trained on labels it is another model.
    reference = start.reference if options.qat.distill else graph
    return Prepared(graph, reference, start.in_float, ranges, None, start.tuning, record | trained)


def with_float(prepared: Prepared, in_float: frozenset[str]) -> Prepared:
    """The same with more operations in float, which get the weights back that they had before rounding."""
    assert prepared.unrounded is not None
    assert prepared.ranges is not None
    graph, known = prepared.graph.copy(), prepared.ranges
    for name in in_float:
        graph.operations[name].weights = dict(prepared.unrounded.operations[name].weights)
    ranges = {name: known[_scaled_as(graph, known, name)] for name in quantized_tensors(graph, in_float)}
    return replace(prepared, graph=graph, in_float=in_float, ranges=ranges)


def _scaled_as(graph: Graph, ranges: Ranges, name: str) -> str:
    """The operation whose range an operation's output has: its own, or that of what it passes on."""
    while name not in ranges:
        name = graph.operations[name].inputs[0]
    return name


def _accuracy(run: Run, prepared: Prepared) -> float | None:
    """What int8 without training gives, to stand beside the trained file's."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "post-training.tflite"
        path.write_bytes(converted(run, prepared))
        return share(correct(run, Interpreter(path).run))


def converted(run: Run, prepared: Prepared) -> memoryview:
    """The TFLite file."""
    calibrating, ranges = run.data.calibrating, prepared.ranges
    samples = {"samples": calibrating} if calibrating and ranges is None else {}
    return run.worker.convert(
        prepared.graph,
        run.options.mode,
        run.options.file_io,
        ranges=ranges,
        keep_float=sorted(prepared.in_float),
        **samples,
    )
