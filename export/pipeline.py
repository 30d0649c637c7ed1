"""From a Keras 3 model to a verified TFLite file and its report."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from export.client import Worker
from export.errors import CalibrationWarning
from export.given import Data, Source
from export.options import Mode, Options
from export.preparation import give_sparsity, prepare
from export.quantization.ptq import PostTraining
from export.quantization.qat import Clustering, FineTuning, Pruning
from export.report import Report
from export.run import Clock, Run
from export.shipping import ship
from export.verification.float_reference import FloatModel


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
    min_sqnr: float | None = None,
    mixed: bool = False,
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
            biases and ranges so that the outputs stay close to the model's (`export.quantization.ptq`), or only
            those of these steps that a `PostTraining` has; "plain" changes no weights, and each range holds all
            values of the calibration samples. For int16x8 all is left to the converter.
        keep_float: layers of an int8 file that stay in float, as the model calls them, or wildcards
            such as `block1_*`. The report says what that costs: the file's latency over that of
            the all-int8 file.
        logits: cut off a softmax at the end.
        input_range: (low, high) of the model's input, if known; data outside it is refused.
        max_drop: the accuracy that int8 may lose, in percentage points.
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
        mode,
        io,
        qat,
        prune,
        cluster,
        ptq,
        keep_float,
        logits,
        input_range,
        max_drop,
        min_sqnr,
        mixed,
        layers,
        gate,
        name,
    )
    options.check(calibrated=calibration is not None)
    clock = Clock()
    with clock("read"):
        source = Source.read(model, options)
    data = Data.checked(source.graph, calibration, evaluation, input_range)
    with contextlib.ExitStack() as stack:
        worker = worker or stack.enter_context(Worker())
        clock.seconds["worker start"] = round(worker.start_seconds, 3)
        run = Run(options, Path(path), source, data, worker, clock)
        float_model = FloatModel.measured(run)
        cautions = _cautions(run)
        for caution in cautions:
            warnings.warn(caution, CalibrationWarning, stacklevel=2)
        structure = give_sparsity(run)
        prepared = prepare(run, source.in_float)
        return ship(run, prepared, float_model, structure, cautions)


def _cautions(run: Run) -> list[str]:
    """What seems wrong with the calibration data."""
    normalization, samples = run.source.normalization, run.data.calibrating
    if not (normalization and samples):
        return []
    with run.clock("check calibration"):
        caution = normalization.warning(run.worker, samples)
    return [caution] if caution else []
