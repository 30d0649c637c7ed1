"""The report that stands beside every exported file."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from importlib.metadata import version

import keras
import numpy as np

from export.data.sample_sets import CalibrationRecord
from export.mixed_precision.latency import LatencyRatio
from export.mixed_precision.search import MixedPrecision
from export.quantization.candidates import TrainingRecord
from export.quantization.ptq import TuningRecord
from export.quantization.sparsity import StructureRecord
from export.record import Record
from export.streams import StreamParity
from export.tflite_file.audit import TensorRecord
from export.verification.float_reference import SelfCheck
from export.verification.layer_errors import LayerErrors
from export.verification.metrics import AccuracyDrop, MetricRecord
from export.verification.parity import Parity
from keras_classics.files import write_json

SCHEMA = "keras-classics/export-report/1"


@dataclass(frozen=True, eq=False)
class FloatLayers(Record):
    """The operations that stay in float in an int8 file, and its latency over that of the file all in int8."""

    operations: list[str]
    latency_over_int8: LatencyRatio


@dataclass(frozen=True, eq=False)
class GateRecord(Record):
    """Whether the gate passed the file, the faults that would refuse it, and what was asked of it."""

    passed: bool
    faults: list[str]
    max_drop: float
    enforced: bool


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was exported and what was measured on exactly that file.

    Attributes:
        model, mode: the model's name and the export's mode.
        path, sha256, size_bytes, gzip_bytes: the file (gzip is spared where it gains little:
            `export.tflite_file.audit.Audit`).
        input, output: the first input and output; `inputs` and `outputs` list all.
        ops: operator name → count; `fully_integer`: no float tensor at all;
            `requantizations`: QUANTIZE or DEQUANTIZE operators inside the graph.
        float_accuracy, accuracy: of the float model and of the file, on all of the evaluation
            data, in [0, 1]; None where that is not the metric. `evaluated` is how many samples that was.
        metric: the metric that decides; `metrics` has those of all outputs. None and empty without targets.
        drop: how far accuracy fell; None where that is not the metric.
        self_check: how far the graph that was read is from the Keras model, and the precision that computes in.
        parity: how the outputs differ.
        calibration: count and digest of the representative samples; None for float modes.
        input_range: the range of the model's input, or of each by its name, where known.
        normalization: `mean` and `std` by which a photo, pixels in 0…255, becomes the input; None where not known.
        class_names: what the columns of the output mean, where that is known.
        layers: the error of each operation's tensor, if that was asked for.
        keep_float: what stays in float in an int8 file, asked for or for want of an 8-bit kernel, and what it costs;
            None where nothing does.
        mixed: the sets of operations in float that were tried to win back what all in int8 lost
            (`export.mixed_precision.search`); None where that was not asked for or needed.
        streaming: how the file, run step by step, differs from the model of sequences; None of other files.
        ptq, tuning: how int8 was made before any training, and what "tuned" chose.
        qat: what quantization-aware training did; None without.
        structure: what pruning and clustering did; None without.
        sparsity, values_per_channel: share of zeros in the kernels of convolutions and dense layers
            of the file, and the most different values in an output channel (None for more than 256).
        warnings: what seems wrong with the data.
        gate: whether the file passed, and why not.
        keras_model, keras_accuracy: the Keras model with the fine-tuned weights carried back.
        versions, seconds: of what made it, and how long each step took.
    """

    model: str
    mode: str
    path: str
    sha256: str
    size_bytes: int
    gzip_bytes: int | None
    input: TensorRecord
    output: TensorRecord
    inputs: list[TensorRecord]
    outputs: list[TensorRecord]
    ops: dict[str, int]
    fully_integer: bool
    requantizations: int
    float_accuracy: float | None
    accuracy: float | None
    metric: MetricRecord | None
    metrics: list[MetricRecord]
    drop: AccuracyDrop | None
    evaluated: int
    self_check: SelfCheck
    parity: Parity
    calibration: CalibrationRecord | None
    input_range: list[float] | dict[str, list[float]] | None
    normalization: dict[str, list[float]] | None
    class_names: list[str] | None
    layers: LayerErrors | None
    keep_float: FloatLayers | None
    mixed: MixedPrecision | None
    streaming: StreamParity | None = None
    ptq: str | None
    tuning: TuningRecord | None
    qat: TrainingRecord | None
    structure: StructureRecord | None
    sparsity: float
    values_per_channel: int | None
    warnings: list[str]
    gate: GateRecord
    keras_model: str | None
    keras_accuracy: float | None
    versions: dict[str, str]
    seconds: dict[str, float]
    schema: str = field(default=SCHEMA)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the report as JSON, whole or not at all."""
        write_json(path, asdict(self))


def versions() -> dict[str, str]:
    """Versions of what took part in this process."""
    backend = keras.backend.backend()
    return {
        "keras": keras.__version__,
        "backend": f"{backend} {version(backend)}",
        "numpy": np.__version__,
        "ai_edge_litert": version("ai-edge-litert"),
    }
