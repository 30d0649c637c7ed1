"""What the exporting process asks of its worker and what the worker answers, as typed messages.

An ability is three things: a frozen `Request` here, the class of its result, and the function that serves it, which
the request names in `served_by`. Nothing else knows the abilities: `export.client.Worker.run` sends any request and
`export.worker.__main__` calls what it names. This module is imported on both sides and knows neither TensorFlow nor
Keras.

A message holds JSON values, arrays, graphs and other messages. `encode` makes of it what `export.worker.wire` sends.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import import_module
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from export.ir.graph import Arrays, Graph
from export.quantization.scales import Ranges

Result = TypeVar("Result")
History = list[dict[str, float]]


@dataclass(frozen=True)
class Request(Generic[Result]):
    """What the worker is asked to do.

    Attributes:
        served_by: `module:function`, imported in the worker when the first such request arrives. It takes the
            request, and where it trains the `export.worker.__main__.Connection` too, and returns the result.
        task: how progress and errors call the work.
    """

    served_by: ClassVar[str]
    task: ClassVar[str]


@dataclass(frozen=True)
class File:
    """A finished TFLite file: its bytes, uint8 (size,)."""

    content: np.ndarray


@dataclass(frozen=True)
class Convert(Request[File]):
    """Make a TFLite file of a graph, at batch 1.

    Attributes:
        mode: float32, float16, dynamic, int8 or int16x8.
        io: dtype of the file's inputs and outputs: float32, or in integer modes an integer.
        ranges: of activations, by operation: fixes every int8 scale.
        samples: representative inputs, (N, …) each, from which the converter itself takes the ranges of an integer
            mode where `ranges` is not given.
        keep_float: operations of an int8 file that stay in float; needs `ranges`.
    """

    served_by = "export.worker.emit:convert"
    task = "conversion"

    graph: Graph
    mode: str
    io: str = "float32"
    ranges: Ranges | None = None
    samples: Sequence[np.ndarray] = ()
    keep_float: Collection[str] = ()


@dataclass(frozen=True)
class Values:
    """The outputs of operations, (N, …) each, in the order of the request's names."""

    arrays: list[np.ndarray]


@dataclass(frozen=True)
class Evaluate(Request[Values]):
    """Compute the outputs of `names` for all samples: in float, or with activations in the 8 bits of `ranges`.

    Operations of `keep_float` compute in float, and give what they store in 8 bits where they have a range.
    """

    served_by = "export.worker.execute:evaluate"
    task = "evaluation"

    graph: Graph
    names: Sequence[str]
    samples: Sequence[np.ndarray]
    ranges: Ranges | None = None
    keep_float: Collection[str] = ()


@dataclass(frozen=True)
class Extremes:
    """The least and the greatest value of each named output for each sample: (names, N) each."""

    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Observe(Request[Extremes]):
    """Find between which values the outputs of `names` lie, for every sample."""

    served_by = "export.worker.execute:observe"
    task = "calibration"

    graph: Graph
    names: Sequence[str]
    samples: Sequence[np.ndarray]


@dataclass(frozen=True)
class ChannelExtremes:
    """By operation (N, 2, channels): the least and the greatest value in each channel, for every sample."""

    arrays: Arrays


@dataclass(frozen=True)
class ObserveChannels(Request[ChannelExtremes]):
    """Find between which values each channel of the outputs of `names` lies, for every sample."""

    served_by = "export.worker.execute:observe_channels"
    task = "calibration of channels"

    graph: Graph
    names: Sequence[str]
    samples: Sequence[np.ndarray]


@dataclass(frozen=True)
class LayerErrors:
    """Of each operation that the file computed, (operations, 4).

    The columns are the power of the float output, of the file's difference from it, of the output that the operation
    would give in float for the file's own inputs, and of the difference from that.
    """

    powers: np.ndarray


@dataclass(frozen=True)
class CompareLayers(Request[LayerErrors]):
    """Measure how far the values that a file computed, by operation, are from the graph's."""

    served_by = "export.worker.execute:layer_errors"
    task = "comparison of layers"

    graph: Graph
    computed: Arrays
    samples: Sequence[np.ndarray]


@dataclass(frozen=True)
class NoisePowers:
    """What one change at a time does to the outputs.

    Attributes:
        signal: the power of the outputs in float.
        tensors: (tensors,): of the difference when only one tensor of the request's `ranges` passes through 8 bits.
        kernels: (operations with a kernel,): of the difference when only one of them has its rounded weights.
    """

    signal: float
    tensors: np.ndarray
    kernels: np.ndarray


@dataclass(frozen=True)
class MeasureSensitivity(Request[NoisePowers]):
    """Measure how much each quantized tensor and each rounded kernel, by itself, disturbs the outputs of `names`.

    Attributes:
        graph: in float.
        rounded: the same with kernels on their 8-bit grids.
    """

    served_by = "export.worker.sensitivity:noise_powers"
    task = "measurement of sensitivities"

    graph: Graph
    rounded: Graph
    ranges: Ranges
    names: Sequence[str]
    samples: Sequence[np.ndarray]


@dataclass(frozen=True)
class Weights:
    """Arrays, named as `Graph.weights` names them."""

    arrays: Arrays


@dataclass(frozen=True)
class RoundWeights(Request[Weights]):
    """Put the kernels of the operations `names` on their 8-bit grids by GPTQ, and correct the biases that go with them.

    Without samples every weight goes to its nearest step.
    """

    served_by = "export.worker.gptq:round_weights"
    task = "rounding of weights"

    graph: Graph
    names: Sequence[str]
    samples: Sequence[np.ndarray]


@dataclass(frozen=True)
class Trained:
    """What training gives.

    Attributes:
        weights: all weights, named as `Graph.weights` names them.
        history: the mean loss of each epoch.
        ranges: of activations where they were learned; None where they stayed.
    """

    weights: Arrays
    history: History
    ranges: Ranges | None = None


@dataclass(frozen=True)
class TrainingLength:
    """How many batches an epoch has, and how many epochs there are."""

    steps_per_epoch: int
    epochs: int


@dataclass(frozen=True)
class Loss:
    """What training makes small at one output.

    Attributes:
        output: the position of the output in the graph.
        name: a class of `keras.losses`, such as "Huber", or `module:function`, a function of (targets, outputs) that
            is written in TensorFlow and gives a number or one for each sample.
        config: the arguments of the class.
        search_path: folders where a function's module is looked for.
    """

    output: int
    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    search_path: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class TrainingRequest(Request[Trained]):
    """Fine-tune a graph on the batches that the exporting process gives.

    Attributes:
        graph: what is trained, with batch normalization folded.
        length: how long it is trained.
        losses: one for each output that has targets; none at all where the teacher alone says what to learn.
        teacher: a float graph with the same outputs, to which the loss pulls the trained one; None for none.
    """

    graph: Graph
    length: TrainingLength
    losses: Sequence[Loss] = ()
    teacher: Graph | None = None


@dataclass(frozen=True, kw_only=True)
class TrainQuantized(TrainingRequest):
    """Quantization-aware training by TF-MOT: ranges stay, and so does the structure of kernels.

    Attributes:
        ranges: of activations, by operation.
        keep_float: operations whose kernels are not quantized, unless they have a structure to keep.
        learning_rate: of Adam, decaying to zero by a cosine.
        preserve_sparsity: zeros stay zeros.
        preserve_clusters: weights that are equal stay equal.
    """

    served_by = "export.worker.qat:train"
    task = "quantization-aware training"

    ranges: Ranges
    keep_float: Collection[str] = ()
    learning_rate: float
    preserve_sparsity: bool = False
    preserve_clusters: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainStepSizes(TrainingRequest):
    """Quantization-aware training with learned step sizes (LSQ).

    Attributes:
        ranges: of activations, by operation, where they start.
        shared: for each operation whose range is learned, the one that it shares it with, or itself.
        keep_float: operations whose kernels are not quantized.
        learning_rate: of the kernels, in their steps.
    """

    served_by = "export.worker.lsq:train"
    task = "quantization-aware training"

    ranges: Ranges
    shared: Mapping[str, str]
    keep_float: Collection[str] = ()
    learning_rate: float


@dataclass(frozen=True)
class LearnedGroup:
    """Operations that produce and that take the channels of one learned vector of factors."""

    sources: Sequence[str]
    sinks: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class LearnEqualization(TrainingRequest):
    """Learn scales and offsets of channels, biases and ranges from the error of the outputs in 8 bits.

    Attributes:
        ranges: of activations, by operation, where they start.
        shared: for each operation whose range is learned, the one that it shares it with, or itself.
        keep_float: operations that stay in float.
        groups: those of `cross_layer_equalization.channel_groups` whose factors are learned.
        shifted: operations of `channel_shift.shiftable_operations` whose offsets are learned.
        biases: operations whose biases are learned.
        learning_rate_scale: by which all learning rates are multiplied.
    """

    served_by = "export.worker.learned_equalization:learn"
    task = "learning channels"

    ranges: Ranges
    shared: Mapping[str, str]
    keep_float: Collection[str]
    groups: Sequence[LearnedGroup]
    shifted: Collection[str]
    biases: Collection[str]
    learning_rate_scale: float


@dataclass(frozen=True, kw_only=True)
class Prune(TrainingRequest):
    """Train with ever more of the smallest weights at zero.

    Attributes:
        learning_rate: of Adam, decaying to zero by a cosine.
        sparsity: the share of zeros.
        schedule: "polynomial" reaches the share after two thirds of the steps, "constant" has it at once.
        pattern: (m, n): m zeros in every n weights, instead of a share.
        block: (rows, columns) of what becomes zero together in dense kernels.
    """

    served_by = "export.worker.sparsity:prune"
    task = "pruning"

    learning_rate: float
    sparsity: float
    schedule: str
    pattern: tuple[int, int] | None = None
    block: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Cluster(TrainingRequest):
    """Train with each kernel's weights at a few shared values.

    Attributes:
        learning_rate: of Adam, decaying to zero by a cosine.
        clusters: how many values a kernel may have.
        preserve_sparsity: zero stays one of them, for the same weights.
    """

    served_by = "export.worker.sparsity:cluster"
    task = "clustering"

    learning_rate: float
    clusters: int
    preserve_sparsity: bool = False


@dataclass(frozen=True)
class Batch:
    """One step's samples.

    Attributes:
        inputs: float32 (n, …) for each input of the graph.
        targets: (n, …) for each loss of the request: class numbers in int64, all else in float32.
        weights: for each of the targets float32 numbers that multiply the losses, (n,) or (n, …) by position; or none.
    """

    inputs: Sequence[np.ndarray]
    targets: Sequence[np.ndarray] = ()
    weights: Sequence[np.ndarray] = ()


@dataclass(frozen=True)
class EndOfBatches:
    """There are no more batches."""


@dataclass(frozen=True)
class Ready:
    """The worker has started."""

    versions: dict[str, str]


@dataclass(frozen=True)
class WantBatch:
    """A training asks for a `Batch` or the `EndOfBatches`."""


@dataclass(frozen=True)
class Progress:
    """How far a long step is."""

    step: str
    done: int
    total: int
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """The request cannot be served: the Python error of the worker."""

    kind: str
    message: str


def encode(message: Any) -> tuple[Any, Arrays]:
    """A message as JSON and arrays. An array that occurs several times is sent once."""
    numbers: dict[int, str] = {}
    arrays: Arrays = {}

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            number = numbers.setdefault(id(value), str(len(numbers)))
            arrays[number] = value
            return {"array": number}
        if isinstance(value, Graph):
            return {"graph": value.header(), "weights": plain(value.weights())["mapping"]}
        if is_dataclass(value):
            kind = type(value)
            contents = {each.name: plain(getattr(value, each.name)) for each in fields(value)}
            return {"message": f"{kind.__module__}:{kind.__qualname__}", "fields": contents}
        if isinstance(value, Mapping):
            return {"mapping": {key: plain(each) for key, each in value.items()}}
        if isinstance(value, set | frozenset):
            return [plain(each) for each in sorted(value)]
        if isinstance(value, tuple):
            return {"tuple": [plain(each) for each in value]}
        if isinstance(value, list):
            return [plain(each) for each in value]
        if isinstance(value, np.generic):
            return value.item()
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"a message cannot hold a {type(value).__name__}")

    return plain(message), arrays


def decode(header: Any, arrays: Arrays) -> Any:
    """The message of `encode`."""
    if isinstance(header, list):
        return [decode(each, arrays) for each in header]
    if not isinstance(header, dict):
        return header
    if "array" in header:
        return arrays[header["array"]]
    if "graph" in header:
        return Graph.from_header(header["graph"], decode({"mapping": header["weights"]}, arrays))
    if "tuple" in header:
        return tuple(decode(each, arrays) for each in header["tuple"])
    if "mapping" in header:
        return {key: decode(each, arrays) for key, each in header["mapping"].items()}
    kind = imported(header["message"])
    return kind(**{name: decode(each, arrays) for name, each in header["fields"].items()})


def imported(place: str) -> Any:
    """What `module:name` means."""
    module, name = place.split(":")
    found = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
