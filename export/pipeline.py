"""From a Keras 3 model to a verified TFLite file and its report."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from export import audit, fine_tuning, moments, passes, precision, quantize, tuning, verify
from export.client import Worker
from export.errors import CalibrationWarning, InputError
from export.fine_tuning import Clustering, FineTuning, Pruning
from export.graph import Graph
from export.interpreter import Interpreter
from export.latency import latency_ratio
from export.layer_errors import layer_errors
from export.quiet import quiet_stderr
from export.reader import read_graph
from export.report import Report
from export.samples import Images, Inputs, as_inputs, check_calibration, check_range, digest, first, sample_digests
from export.tuning import PostTraining
from keras_classics.files import replacing

Mode = Literal["float32", "float16", "dynamic", "int8", "int16x8"]
MODES: tuple[Mode, ...] = ("float32", "float16", "dynamic", "int8", "int16x8")
IO_TYPES = ("int8", "uint8", "float32")
COMPARED_SAMPLES = 256
INSPECTED_SAMPLES = 8
SELF_CHECKED_SAMPLES = 2


def export_tflite(
    model: keras.Model,
    path: str | os.PathLike[str],
    mode: Mode = "float32",
    *,
    calibration: Any = None,
    io: str = "int8",
    evaluation: tuple[Any, np.ndarray] | None = None,
    qat: FineTuning | None = None,
    prune: Pruning | None = None,
    cluster: Clustering | None = None,
    ptq: Literal["tuned", "plain"] | PostTraining = "tuned",
    keep_float: Sequence[str] = (),
    logits: bool = False,
    input_range: tuple[float, float] | None = None,
    max_drop: float = 1.0,
    layers: bool = False,
    gate: bool = True,
    name: str | None = None,
    worker: Worker | None = None,
) -> Report:
    """Write `model` to a TFLite file at batch 1, check it, and write the report beside it (`.json`).

    Args:
        model: functional or Sequential, built under any backend.
        path: of the file; replaced only by a file that passed every check.
        mode: "float32"; "float16" (weights stored in 16 bits); "dynamic" (8-bit weights, float in and
            out, no data needed); "int8" (integer arithmetic throughout); "int16x8" (the same with
            16-bit activations).
        calibration: representative samples (N, …) in the model's own input range, or a tuple or
            dict of them by input; needed for the integer modes.
        io: dtype of an int8 file's inputs and outputs: "int8", "uint8" or "float32". Those of
            int16x8 are int16, or float32 if that is asked for.
        evaluation: (samples, class numbers): the accuracy of model and file on all of it.
        qat: fine-tune by TF-MOT's quantization-aware training first.
        prune, cluster: before that, train zeros into the kernels, or reduce each to a few values,
            by TF-MOT; later steps keep them. They make the file compress better, not run faster.
            Weights that were trained so, carried back into the Keras model, are saved beside the
            file (`.keras`). `model` is unchanged.
        ptq: how int8 is made without training: "tuned" equalizes channels, rounds kernels and learns
            biases and ranges so that the outputs stay close to the model's (`export.tuning`), or only those of
            these steps that a `PostTraining` has; "plain" leaves all to the converter, as int16x8 always does.
        keep_float: layers of an int8 file that stay in float, as the model calls them, or wildcards
            such as `block1_*`. The report says what that costs: the file's latency over that of
            the all-int8 file.
        logits: cut off a softmax at the end.
        input_range: (low, high) of the model's input, if known; data outside it is refused.
        max_drop: the accuracy that int8 may lose, in percentage points.
        layers: put the error of each operation's tensor into the report.
        gate: False ships a file that lost too much accuracy all the same, and says so.
        name: of the model in the report; the model's own by default.
        worker: a running `Worker`, which spares several exports its start of some seconds, and
            which can report progress and let the converter's messages through.

    Returns:
        The report.

    Warns:
        CalibrationWarning: the calibration data seems to be scaled otherwise than the training data.

    Raises:
        InputError: the model, a layer of it or the data cannot be used.
        GateError: the file lost too much accuracy or is structurally wrong; `path` is untouched.
    """
    _check_options(mode, io, ptq, calibration, qat, keep_float)
    path = Path(path)
    clock = Clock()
    with clock("read"):
        graph = read_graph(model)
        normalization = moments.first_normalization(graph)
        folds = passes.simplify(graph)
        cut = logits and passes.cut_softmax(graph)
        in_float = precision.float_operations(
            graph, keep_float, {name: fold.operation.name for fold in folds for name in fold.absorbed}
        )
    calibrating, evaluating = _check_data(graph, calibration, evaluation, input_range)
    compared = first(evaluating or calibrating or _probe(graph), COMPARED_SAMPLES)

    with contextlib.ExitStack() as stack:
        worker = worker or stack.enter_context(Worker())
        clock.seconds["worker start"] = round(worker.start_seconds, 3)
        with clock("self-check"):
            graph_error = _self_check(model, graph, worker, first(compared, SELF_CHECKED_SAMPLES), bool(cut))
        labels = None if evaluation is None else np.asarray(evaluation[1])
        with clock("evaluate float"):
            float_correct = _correct(lambda batch: verify.keras_outputs(model, batch), evaluating, labels)

        cautions: list[str] = []
        if calibrating and normalization:
            with clock("check calibration"):
                caution = normalization.warning(worker, calibrating)
            if caution:
                cautions.append(caution)
                warnings.warn(caution, CalibrationWarning, stacklevel=2)

        structure, training = None, None
        if prune or cluster:
            with clock("prune and cluster"):
                structure = fine_tuning.give_structure(graph, worker, prune, cluster)
        with clock("evaluate float"):
            before, after = _logits_and_outputs(graph, worker, compared)
        ranges, tuned = None, None
        if mode == "int8" and (ptq != "plain" or qat):
            teacher = graph.copy()
            steps = ptq if isinstance(ptq, PostTraining) else PostTraining()
            if ptq == "plain" or structure:
                steps = tuning.CALIBRATION_ALONE
            with clock("tune"):
                tuned = tuning.tune(graph, worker, calibrating, input_range, in_float, steps, carried=bool(qat))
            graph.set_weights(tuned.graph.weights())
            ranges = tuned.ranges
            if qat:
                training = _post_training(graph, worker, ranges, io, in_float, evaluating, labels)
                with clock("quantization-aware training"):
                    ranges, trained = fine_tuning.train_quantized(
                        graph, worker, ranges, in_float, qat, teacher, prune, cluster
                    )
                training |= trained

        keras_model = path.with_suffix(".keras") if structure or training else None
        keras_correct = float_correct
        with contextlib.ExitStack() as files:
            temporary, temporary_report = (
                files.enter_context(replacing(each)) for each in (path, path.with_suffix(".json"))
            )
            if keras_model:
                with clock("carry back"), _carried_back(model, graph, folds):
                    keras_correct = _correct(lambda batch: verify.keras_outputs(model, batch), evaluating, labels)
                    with quiet_stderr():  # saving imports TensorFlow under every backend, which greets at length
                        model.save(files.enter_context(replacing(keras_model)))
            with clock("convert"):
                samples = {"samples": calibrating} if calibrating and ranges is None else {}
                content = worker.convert(
                    graph, mode, _io_type(mode, io), ranges=ranges, keep_float=sorted(in_float), **samples
                )
                temporary.write_bytes(content)
            with clock("verify"):
                if training and not training["distilled"]:  # it is another model now
                    before, after = _logits_and_outputs(graph, worker, compared)
                parity = verify.compare(temporary, compared, after, before)
            errors = None
            if layers:
                with clock("layers"):
                    errors = layer_errors(graph, worker, temporary, first(compared, INSPECTED_SAMPLES))
            with clock("evaluate"):
                found_correct = _correct(Interpreter(temporary).run, evaluating, labels)
            found = audit.audit(temporary)
            drop = verify.paired_drop(float_correct, found_correct) if labels is not None else None
            islands = precision.unexpected_islands(graph, found, in_float)
            structural = verify.structural_faults(mode, found, islands, parity, graph_error)
            structural += fine_tuning.faults(temporary, found, prune, cluster)
            lost = verify.accuracy_faults(mode, parity, drop, max_drop)
            verify.refuse([*structural, *(lost if gate else [])], path)
            kept = None
            if in_float:
                with clock("latency"):
                    kept = _price(graph, worker, temporary, io, calibrating, input_range, in_float)
            report = Report(
                model=name or model.name,
                mode=mode,
                path=str(path),
                sha256=found.sha256,
                size_bytes=found.size_bytes,
                gzip_bytes=found.gzip_bytes,
                input=found.inputs[0],
                output=found.outputs[0],
                inputs=found.inputs,
                outputs=found.outputs,
                ops=found.ops,
                fully_integer=found.fully_integer,
                requantizations=found.requantizations,
                float_accuracy=_share(float_correct),
                accuracy=_share(found_correct),
                drop=drop,
                evaluated=len(labels) if labels is not None else 0,
                parity=parity.as_json() | {"compared_on": _source(evaluating, calibrating)},
                calibration={"count": len(calibrating[0]), "digest": digest(calibrating)} if calibrating else None,
                input_range=list(input_range) if input_range else None,
                layers=errors,
                keep_float=kept,
                ptq={"int8": "plain" if ptq == "plain" else "tuned", "int16x8": "plain"}.get(mode),
                tuning=tuned.record if tuned else None,
                qat=training,
                structure=structure,
                sparsity=found.sparsity,
                values_per_channel=found.values_per_channel,
                warnings=cautions,
                gate={"passed": not lost, "faults": lost, "max_drop": max_drop, "enforced": gate},
                keras_model=str(keras_model) if keras_model else None,
                keras_accuracy=_share(keras_correct) if keras_model else None,
                versions=worker.versions | _versions(),
                seconds=clock.seconds,
            )
            report.write(temporary_report)
    return report


def _io_type(mode: str, io: str) -> str:
    if mode == "int16x8" and io != "float32":
        return "int16"
    return io if mode == "int8" else "float32"


class Clock:
    """Wall seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[step] = round(time.perf_counter() - started, 3)


def _check_options(
    mode: str, io: str, ptq: str | PostTraining, calibration: Any, qat: Any, keep_float: Sequence[str]
) -> None:
    for what, value, known in (("mode", mode, MODES), ("io", io, IO_TYPES), ("ptq", ptq, ("tuned", "plain"))):
        if value not in known and not isinstance(value, PostTraining):
            raise InputError(f"{what} is {value!r}; it takes {', '.join(known)}")
    if mode in verify.INTEGER_MODES and calibration is None:
        raise InputError(f"{mode} needs representative data for its ranges; give calibration=")
    if qat and mode != "int8":
        raise InputError(f"quantization-aware training is for int8, not {mode}")
    if isinstance(keep_float, str):
        raise InputError(f"keep_float is the text {keep_float!r}; give a list of layers")
    if keep_float and (mode != "int8" or (ptq == "plain" and not qat)):
        raise InputError("layers can be kept in float in int8 files with ranges of ours; leave out keep_float or ptq")


def _check_data(
    graph: Graph, calibration: Any, evaluation: Any, input_range: tuple[float, float] | None
) -> tuple[Inputs, list[Images]]:
    shapes = [graph.operations[name].shape for name in graph.inputs]
    calibrating: Inputs = []
    evaluating: list[Images] = []
    if calibration is not None:
        given = as_inputs(calibration, graph.inputs, shapes, "calibration")
        calibrating = first(given, len(given[0]))
        check_calibration(calibrating, input_range)
    if evaluation is not None:
        evaluating = as_inputs(evaluation[0], graph.inputs, shapes, "evaluation")
        if len(evaluation[1]) != len(evaluating[0]):
            raise InputError(f"evaluation has {len(evaluating[0])} samples and {len(evaluation[1])} labels")
        for array in first(evaluating, COMPARED_SAMPLES):
            check_range(array, input_range, "evaluation")
    if calibrating and evaluating:
        common = sample_digests(calibrating) & sample_digests(evaluating)
        if common:
            raise InputError(
                f"{len(common)} samples are in both calibration and evaluation; measure on samples that set no ranges"
            )
    return calibrating, evaluating


def _probe(graph: Graph) -> Inputs:
    """Inputs to compare a float file on when no data was given."""
    random = np.random.default_rng(0)
    return [random.random((8, *graph.operations[name].shape), np.float32) for name in graph.inputs]


def _source(evaluating: Any, calibrating: Any) -> str:
    return "evaluation" if evaluating else "calibration" if calibrating else "uniform noise in [0, 1]"


def _self_check(model: keras.Model, graph: Graph, worker: Worker, samples: Inputs, cut: bool) -> float:
    """How far the graph, computed by TensorFlow, is from the Keras model under its own backend.

    A softmax turns an absolute error of its input into a relative one of its output: where one stands at
    the end, the difference is taken over its greatest input.
    """
    expected = verify.keras_outputs(model, samples)
    logits, found = _logits_and_outputs(graph, worker, samples)
    if cut:
        found = [np.asarray(keras.ops.convert_to_numpy(keras.ops.softmax(output))) for output in found]
    softmax = cut or any(graph.logits(name) != name for name in graph.outputs)
    greatest = max(float(np.abs(values).max()) for values in logits) if softmax else 1.0
    return verify.relative_rms(expected, found) / max(1.0, greatest)


def _logits_and_outputs(graph: Graph, worker: Worker, samples: Inputs) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The graph's outputs in float, before and after a final softmax."""
    before = [graph.logits(name) for name in graph.outputs]
    values = worker.evaluate(graph, [*before, *graph.outputs], samples)
    return values[: len(before)], values[len(before) :]


def _correct(run: Callable[[Inputs], list[np.ndarray]], inputs: list[Images], labels: Any) -> np.ndarray:
    return np.zeros(0, bool) if labels is None else verify.correct(run, inputs, labels)


def _share(correct: np.ndarray) -> float | None:
    return float(correct.mean()) if len(correct) else None


def _post_training(
    graph: Graph,
    worker: Worker,
    ranges: quantize.Ranges,
    io: str,
    in_float: frozenset[str],
    evaluating: list[Images],
    labels: Any,
) -> dict[str, Any]:
    """What int8 without training gives for the same model, to stand beside QAT's figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "post-training.tflite"
        path.write_bytes(worker.convert(graph, "int8", io, ranges=ranges, keep_float=sorted(in_float)))
        return {"ptq_accuracy": _share(_correct(Interpreter(path).run, evaluating, labels))}


def _price(
    graph: Graph,
    worker: Worker,
    path: Path,
    io: str,
    calibrating: Inputs,
    input_range: tuple[float, float] | None,
    in_float: frozenset[str],
) -> dict[str, Any]:
    """What stays in float, and the file's latency over that of the same graph all in int8."""
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "int8.tflite"
        ranges = quantize.calibrations(graph, worker, calibrating, input_range)["mean"]
        reference.write_bytes(worker.convert(graph, "int8", io, ranges=ranges))
        return {"operations": sorted(in_float), "latency_over_int8": latency_ratio(path, reference)}


@contextlib.contextmanager
def _carried_back(model: keras.Model, graph: Graph, folds: list[passes.Fold]) -> Iterator[None]:
    """The model with the graph's weights, for as long as the context lasts."""
    original = model.get_weights()
    try:
        passes.carry_back(graph, folds)
        yield
    finally:
        model.set_weights(original)


def _versions() -> dict[str, str]:
    backend = keras.backend.backend()
    return {
        "keras": keras.__version__,
        "backend": f"{backend} {version(backend)}",
        "numpy": np.__version__,
        "ai_edge_litert": version("ai-edge-litert"),
    }
