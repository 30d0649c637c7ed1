"""From a Keras 3 model to a verified TFLite file and its report, in the eight steps of docs/export.md."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import keras

from export.client import Worker
from export.data.sample_sets import SampleSets
from export.data.samples import InputRanges, first
from export.description import described, given_normalization
from export.errors import CalibrationWarning, InputError
from export.frontend.given_model import given_model
from export.mixed_precision.latency import latency_ratio
from export.mixed_precision.search import MixedPrecision, search
from export.options import INTEGER_MODES, Mode, Options
from export.passes.carry_back import carry_back
from export.quantization.candidates import Candidate, compressed, quantized, trained
from export.quantization.ptq import PostTraining
from export.quantization.qat import FineTuning
from export.quantization.ranges import calibrations
from export.quantization.sparsity import Clustering, Pruning, StructureRecord
from export.report import FloatLayers, GateRecord, Report, versions
from export.run import Clock, Run
from export.source import Source
from export.streams import OneStep, StreamParity, stream_faults
from export.verification.float_reference import FloatModel, accuracy, float_outputs, observed_in_keras
from export.verification.free_float import joined_in_float
from export.verification.gate import MAX_DROP_POINTS, greatest_drop, metric_fault, refuse
from export.verification.layer_errors import LayerErrors, layer_errors
from export.verification.metrics import Evaluation, model_outputs
from export.verification.metrics import evaluation as evaluation_of
from export.verification.parity import keras_outputs
from export.verification.verify import Verified, convert_and_verify
from keras_classics.files import replacing
from keras_classics.quiet import quiet_stderr

PROBED_SAMPLES = 16
"""On so many evaluation samples the model itself tells whether an output holds probabilities or scores."""
INSPECTED_SAMPLES = 8
"""The error of each layer is of so many samples: all of their activations are in memory at once."""


def export_tflite(
    model: keras.Model | str | os.PathLike[str],
    path: str | os.PathLike[str],
    mode: Mode = "float32",
    *,
    calibration: Any = None,
    io: str = "int8",
    evaluation: Any = None,
    metric: Any = None,
    qat: FineTuning | None = None,
    prune: Pruning | None = None,
    cluster: Clustering | None = None,
    ptq: Literal["tuned", "plain"] | PostTraining = "tuned",
    keep_float: Sequence[str] = (),
    logits: bool = False,
    input_range: InputRanges = None,
    normalization: Any = None,
    class_names: Sequence[str] | None = None,
    input_shape: Any = None,
    streaming: bool = False,
    max_drop: float | None = None,
    min_sqnr: float | None = None,
    mixed: bool = False,
    layers: bool = False,
    gate: bool = True,
    name: str | None = None,
    worker: Worker | None = None,
) -> Report:
    """Write `model` to a TFLite file at batch 1, check it, and write the report beside it (`.json`).

    Args:
        model: functional, Sequential or subclassed, built under any backend, or the path of a `.keras` file. A layer
            that no bridge knows is opened: what its `call` does is read in its place (docs/custom-layers.md).
        path: of the file; replaced only by a file that passed every check.
        mode: "float32"; "float16" (weights stored in 16 bits); "dynamic" (8-bit weights, float in and
            out, no data needed); "int8" (integer arithmetic throughout); "int16x8" (the same with
            16-bit activations).
        calibration: representative samples (N, …) in the model's own input range, or a tuple or
            dict of them by input; needed for the integer modes. Or a tf.data, grain, torch or Keras dataset or
            loader, or a generator or generator function, of samples or batches, of which 500 samples are taken
            (`export.Samples` takes another number).
        io: dtype of an int8 file's inputs and outputs: "int8", "uint8" or "float32". Those of
            int16x8 are int16, or float32 if that is asked for.
        evaluation: (samples, targets): how good model and file are on all of it. Samples as for `calibration`; targets
            (N, …) as Keras's losses take them, of several outputs a list or a dict by the outputs' names. Or a dataset
            of such pairs, of which 10,000 samples are taken.
        metric: of what is evaluated; by default what Keras's "accuracy" stands for, or the errors of a regression, as
            targets and outputs say (`export.verification.metrics.choose`). Or a `keras.metrics.Metric` or its name,
            or a callable (targets, outputs) → float with an attribute `higher_is_better`, or a dict of these by output.
        qat: fine-tune by TF-MOT's quantization-aware training first.
        prune, cluster: before that, train zeros into the kernels, or reduce each to a few values,
            by TF-MOT; later steps keep them. They make the file compress better, not run faster.
            Weights that were trained so, carried back into the Keras model, are saved beside the
            file (`.keras`). `model` is unchanged.
        ptq: how int8 is made without training: "tuned" equalizes channels, rounds kernels and learns
            biases and ranges so that the outputs stay close to the model's (`export.quantization.ptq`), or only
            those of these steps that a `PostTraining` has; "plain" changes no weights, and each range holds all
            values of the calibration samples. For int16x8 all is left to the converter.
        keep_float: layers of an int8 file that stay in float, as the model calls them, or wildcards
            such as `block1_*`. The report says what that costs: the file's latency over that of
            the all-int8 file.
        logits: cut off a softmax at the end.
        input_range: (low, high) of the model's input, or a dict of them by input, if known; data outside it is
            refused. Without it images are checked against a Rescaling at the input.
        normalization: (mean, std) that takes photos, pixels in [0, 1], to the model's input, each a number or one for
            each channel; or what has these, such as `kc.preprocessing_for(…)`. It goes into the file's metadata.
            Without it, `input_range` or a Rescaling at the input tells it.
        class_names: what the columns of the output mean, in their order; they go into the file and the report.
        input_shape: of a sample, without batch, for a model that leaves sizes open; a list or a dict of shapes by
            input where there are several.
        streaming: export one step of a model of sequences: the file takes one step of each input, and the states of
            recurrent layers and causal convolutions; it gives the outputs for that step and the states after it
            (docs/export.md). `calibration` is of whole sequences, and `evaluation` is left out.
        max_drop: what a quantized file may lose of the metric: of accuracies and other shares in percentage points
            (1 by default), of other metrics in their own unit (by default 1 % of the model's value).
        min_sqnr: what the SQNR of a quantized file's logits must reach, in dB; 10 by default where no labels tell
            the accuracy.
        mixed: where an int8 file would lose too much, leave those operations in float that mend it at the
            least cost in latency on this CPU (`export.mixed_precision.search`).
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
    options = Options(
        mode=mode,
        io=io,
        qat=qat,
        prune=prune,
        cluster=cluster,
        ptq=ptq,
        keep_float=keep_float,
        logits=logits,
        metric=metric,
        input_range=input_range,
        normalization=given_normalization(normalization),
        class_names=None if class_names is None else tuple(class_names),
        input_shape=input_shape,
        streaming=streaming,
        max_drop=max_drop,
        min_sqnr=min_sqnr,
        mixed=mixed,
        layers=layers,
        gate=gate,
        name=name,
    )
    if mode in INTEGER_MODES and calibration is None:
        raise InputError(f"{mode} needs representative data for its ranges; give calibration=")
    model, one_step = given_model(model), None
    if streaming:
        if evaluation is not None:
            raise InputError("evaluation= is of whole sequences and the file takes single steps; leave it out")
        one_step = OneStep.of(model, input_shape, calibration, input_range)
        model, calibration = one_step.stream.model, one_step.calibration
        options = replace(options, input_shape=None, input_range=one_step.input_range)
    carried = one_step.stream.carried if one_step else ()
    with started(model, Path(path), options, calibration, evaluation, worker, carried) as run:  # 1. read, 2. fold
        float_model = FloatModel.measured(run)  # 3. check the graph
        cautions = _check_calibration(run)
        structure = compressed(run)  # 5. prune and cluster
        in_float = run.source.keep_float | joined_in_float(run, float_model.outputs)
        candidate = quantized(run, in_float)  # 4. tune
        candidate = trained(run, candidate)  # 5. quantization-aware training
        changed = structure is not None or candidate.training is not None
        with _new_files(run, changed) as (file, report_file, keras_file):
            keras_accuracy = _save_trained(run, candidate, keras_file) if keras_file else None
            as_read = candidate.reference is run.source.graph and structure is None
            expected = float_model.outputs if as_read else float_outputs(run, candidate.reference)
            verified = convert_and_verify(run, candidate, file, float_model, expected)  # 6. convert, 7. verify
            mixture, stream_parity = None, None
            if options.mixed and verified.accuracy_faults and not verified.structural_faults:
                verified, mixture = search(run, verified, file, float_model, expected)
            if one_step:
                graph = verified.candidate.graph
                stream_parity = one_step.compared(file, graph.input_names, graph.output_names)
                found = stream_faults(stream_parity, mode, min_sqnr)
                verified = replace(verified, accuracy_faults=[*verified.accuracy_faults, *found])
            refuse(_faults(run, verified), run.path)  # 8. gate
            report = _report(
                run,
                verified,
                float_model,
                file,
                mixed=mixture,
                stream_parity=stream_parity,
                structure=structure,
                warnings=cautions,
                keras_model=str(run.path.with_suffix(".keras")) if changed else None,
                keras_accuracy=keras_accuracy,
            )
            report.write(report_file)
    return report


@contextlib.contextmanager
def started(
    model: keras.Model,
    path: Path,
    options: Options,
    calibration: Any,
    evaluation: Any,
    worker: Worker | None,
    carried: Sequence[tuple[str, str]] = (),
) -> Iterator[Run]:
    """Read the model, fold its graph and check the data; a worker of the run's own ends with it.

    Args:
        carried: names of the model's inputs that are states, and of the outputs that these are after the step.

    Raises:
        InputError: the model, a layer of it or the data cannot be used.
    """
    clock = Clock()
    with clock("read"):
        source = Source.read(model, options, carried)
    metadata = described(source, options)
    data = SampleSets.checked(
        source.graph, calibration, evaluation, options.input_range, source.told_ranges, source.input_dtypes
    )
    judged = _evaluation(source.model, data, options.metric) if data.evaluation else None
    with contextlib.ExitStack() as stack:
        worker = worker or stack.enter_context(Worker())
        clock.seconds["worker start"] = round(worker.start_seconds, 3)
        yield Run(options, path, source, data, judged, worker, clock, metadata)


def _evaluation(model: keras.Model, data: SampleSets, metric: Any) -> Evaluation:
    """How outputs are judged; some of the model's own tell what they are."""
    outputs = keras_outputs(model, first(data.evaluation, PROBED_SAMPLES))
    return evaluation_of(data.evaluation, data.targets, metric, model_outputs(model, outputs))


def _check_calibration(run: Run) -> list[str]:
    """What seems wrong with the calibration data; each is given as a warning too."""
    normalization, samples = run.source.normalization, run.data.calibration
    if not (normalization and samples):
        return []
    with run.clock("check calibration"):
        caution = normalization.warning(run.worker, samples)
    if not caution:
        return []
    warnings.warn(caution, CalibrationWarning, stacklevel=3)
    return [caution]


@contextlib.contextmanager
def _new_files(run: Run, with_keras_model: bool) -> Iterator[tuple[Path, Path, Path | None]]:
    """Temporary names of the file, its report and the trained model; all get their final names, or none does."""
    with contextlib.ExitStack() as files:
        suffixes = (run.path.suffix, ".json", *([".keras"] if with_keras_model else []))
        file, report_file, *keras_file = (
            files.enter_context(replacing(run.path.with_suffix(suffix))) for suffix in suffixes
        )
        yield file, report_file, keras_file[0] if keras_file else None


def _save_trained(run: Run, candidate: Candidate, path: Path) -> float | None:
    """Save the Keras model with the trained weights; its accuracy. The user's model keeps its own weights."""
    model = run.source.model
    original = model.get_weights()
    with run.clock("carry back"):
        try:
            carry_back(candidate.graph, run.source.folds)
            found = observed_in_keras(run)
            with quiet_stderr():  # saving imports TensorFlow under every backend, which greets at length
                model.save(path)
        finally:
            model.set_weights(original)
    return accuracy(run, found)


def _faults(run: Run, verified: Verified) -> list[str]:
    """Why the file is not shipped, and what may help."""
    faults = [*verified.structural_faults, *(verified.accuracy_faults if run.options.gate else [])]
    if verified.structural_faults or not faults:
        return faults
    fell = any(metric_fault(metric, run.options.max_drop) for metric in verified.metrics)
    ways = [
        *(["--qat"] if run.options.mode == "int8" and not run.options.qat else []),
        *(["--mixed"] if run.options.can_mix and not run.options.mixed else []),
        *(["--max-drop if that is acceptable"] if fell else []),
    ]
    tried = ["no set of layers in float that is worth it mends that"] if run.options.mixed else []
    return [*faults, *tried, *([f"try {', or '.join(ways)}"] if ways else [])]


def _report(
    run: Run,
    verified: Verified,
    float_model: FloatModel,
    file: Path,
    *,
    mixed: MixedPrecision | None,
    stream_parity: StreamParity | None,
    structure: StructureRecord | None,
    warnings: list[str],
    keras_model: str | None,
    keras_accuracy: float | None,
) -> Report:
    options, data, audit, candidate = run.options, run.data, verified.audit, verified.candidate
    return Report(
        model=options.name or run.source.model.name,
        mode=options.mode,
        path=str(run.path),
        sha256=audit.sha256,
        size_bytes=audit.size_bytes,
        gzip_bytes=audit.gzip_bytes,
        input=audit.inputs[0],
        output=audit.outputs[0],
        inputs=audit.inputs,
        outputs=audit.outputs,
        ops=audit.ops,
        fully_integer=audit.fully_integer,
        requantizations=audit.requantizations,
        float_accuracy=accuracy(run, float_model.observed),
        accuracy=accuracy(run, verified.observed),
        metric=verified.metrics[0] if verified.metrics else None,
        metrics=verified.metrics,
        drop=verified.drop,
        evaluated=len(data.evaluation[0]) if data.evaluation else 0,
        self_check=float_model.self_check,
        parity=verified.parity,
        calibration=data.calibration_record,
        input_range=_input_range(options.input_range),
        normalization=run.metadata.normalization.as_json() if run.metadata.normalization else None,
        class_names=list(options.class_names) if options.class_names is not None else None,
        layers=_layer_errors(run, candidate, file) if options.layers else None,
        keep_float=_float_layers(run, candidate, file) if candidate.keep_float else None,
        mixed=mixed,
        streaming=stream_parity,
        ptq={"int8": "plain" if options.ptq == "plain" else "tuned", "int16x8": "plain"}.get(options.mode),
        tuning=candidate.tuning,
        qat=candidate.training,
        structure=structure,
        sparsity=audit.sparsity,
        values_per_channel=audit.values_per_channel,
        warnings=warnings,
        gate=_gate_record(options, verified),
        keras_model=keras_model,
        keras_accuracy=keras_accuracy,
        versions=run.worker.versions | versions(),
        seconds=run.clock.seconds,
    )


def _input_range(given: InputRanges) -> list[float] | dict[str, list[float]] | None:
    if isinstance(given, Mapping):
        return {name: list(limits) for name, limits in given.items()}
    return list(given) if given else None


def _gate_record(options: Options, verified: Verified) -> GateRecord:
    max_drop = options.max_drop
    if max_drop is None:
        max_drop = greatest_drop(verified.metrics[0]) if verified.metrics else MAX_DROP_POINTS
    return GateRecord(not verified.accuracy_faults, verified.accuracy_faults, max_drop, options.gate)


def _layer_errors(run: Run, candidate: Candidate, file: Path) -> LayerErrors:
    with run.clock("layers"):
        return layer_errors(candidate.graph, run.worker, file, first(run.data.compared, INSPECTED_SAMPLES))


def _float_layers(run: Run, candidate: Candidate, file: Path) -> FloatLayers:
    """What stays in float, and the file's latency over that of the same graph all in int8."""
    graph, options = candidate.graph, run.options
    with run.clock("latency"), tempfile.TemporaryDirectory() as folder:
        int8_file = Path(folder) / "int8.tflite"
        ranges = calibrations(graph, run.worker, run.data.calibration, options.input_range)["mean"]
        int8_file.write_bytes(run.worker.convert(graph, "int8", options.file_io, ranges=ranges))
        return FloatLayers(sorted(candidate.keep_float), latency_ratio(file, int8_file))
