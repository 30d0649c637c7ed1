"""The emitter for everything that needs no training: a function with its weights as constants."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from export.ir.graph import Graph, Operation
from export.ir.tensor_names import scope
from export.worker import float_edges, large_weights
from export.worker.dynamic_range import with_dynamic_range
from export.worker.operations import compute

Ranges = Mapping[str, tuple[Any, Any]]  # numbers, or tensors that are learned
BATCH_SIZE = 8
LARGE_WEIGHTS = 1 << 28  # bytes
FEW_SAMPLES = 4
REDUCTIONS = (tf.reduce_min, tf.reduce_max)
FakeQuantize = Callable[[tf.Tensor, Any, Any], tf.Tensor]  # of values, low and high


def run(
    graph: Graph,
    inputs: list[tf.Tensor],
    ranges: Ranges | None = None,
    keep_float: Collection[str] = (),
    constants: Mapping[str, dict[str, tf.Tensor]] | None = None,
    fake_quantize: FakeQuantize = tf.quantization.fake_quant_with_min_max_vars,
) -> dict[str, tf.Tensor]:
    """Every operation's output; those with a range pass through a fake-quantization node.

    Operations of `keep_float` give what they compute as it is; their int8 readers get it quantized.
    `constants` are the weights by operation where they exist already; `fake_quantize` makes the nodes.
    """
    ranges = ranges or {}
    values: dict[str, tf.Tensor] = {}
    for operation in graph.operations.values():
        name, stays = operation.name, operation.name in keep_float
        with tf.name_scope(f"{scope(name)}/"):  # the file's tensors are called by it
            if operation.kind == "input":
                value = inputs[graph.inputs.index(name)]
            else:
                given = [
                    _read(source, values[source], ranges, source in keep_float, stays, fake_quantize)
                    for source in operation.inputs
                ]
                value = compute(operation, given, constants[name] if constants else _constants(operation))
            values[name] = value if stays else _quantized(name, value, ranges, fake_quantize)
    return values


def _constants(operation: Operation) -> dict[str, tf.Tensor]:
    return {role: large_weights.constant(array) for role, array in operation.weights.items()}


def weights(graph: Graph) -> dict[str, dict[str, tf.Tensor]]:
    """The weights of each operation, by role."""
    return {name: _constants(operation) for name, operation in graph.operations.items()}


def _quantized(
    name: str,
    value: tf.Tensor,
    ranges: Ranges,
    fake_quantize: FakeQuantize = tf.quantization.fake_quant_with_min_max_vars,
) -> tf.Tensor:
    return fake_quantize(value, *ranges[name]) if name in ranges else value


def _read(
    name: str,
    value: tf.Tensor,
    ranges: Ranges,
    from_float: bool,
    to_float: bool,
    fake_quantize: FakeQuantize = tf.quantization.fake_quant_with_min_max_vars,
) -> tf.Tensor:
    """An operation's output as a reader takes it."""
    if from_float == to_float:
        return value
    marked = float_edges.mark(value)
    return marked if to_float else _quantized(name, marked, ranges, fake_quantize)


def convert(
    graph: Graph,
    mode: str,
    io: str,
    ranges: Ranges | None = None,
    samples: list[np.ndarray] | None = None,
    keep_float: Collection[str] = (),
) -> bytes | bytearray:
    """A TFLite file of the graph at batch 1.

    Args:
        mode: float32, float16, dynamic, int8 or int16x8.
        io: dtype of the file's inputs and outputs: float32, or in integer modes an integer.
        ranges: of activations, by operation: fixes every int8 scale.
        samples: representative inputs, (N, …) each, from which the converter itself takes the
            ranges of an integer mode where `ranges` is not given.
        keep_float: operations of an int8 file that stay in float; needs `ranges`.
    """
    if mode in ("float32", "dynamic"):
        light, kernels = large_weights.stand_ins(graph)
        content = large_weights.written(_converted(light, mode, io), kernels) or _converted(graph, mode, io)
        return with_dynamic_range(content) if mode == "dynamic" else content
    return _converted(graph, mode, io, ranges, samples, keep_float)


def _converted(
    graph: Graph,
    mode: str,
    io: str,
    ranges: Ranges | None = None,
    samples: list[np.ndarray] | None = None,
    keep_float: Collection[str] = (),
) -> bytes:
    signature = [
        tf.TensorSpec((1, *graph.operations[name].shape), tf.float32, name=f"input_{index}")
        for index, name in enumerate(graph.inputs)
    ]

    @tf.function(input_signature=signature, autograph=False)
    def function(*inputs):
        values = run(graph, list(inputs), ranges, keep_float)
        if ranges and io != "float32":
            # The converter drops what dequantizes an output, even where an operation in float reads that too.
            read_in_float = {source for name in keep_float for source in graph.operations[name].inputs}
            apart = [name for name in graph.outputs if name in keep_float or name in read_in_float]
            values |= {name: _read(name, values[name], ranges, True, False) for name in apart}
        outputs = [values[name] for name in graph.outputs]
        return outputs[0] if len(outputs) == 1 else {f"output_{i}": output for i, output in enumerate(outputs)}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], None)
    converter.exclude_conversion_metadata = True  # adding it takes another copy of the file
    target = converter.target_spec
    if mode == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        target.supported_types = [tf.float16]
    elif mode in ("int8", "int16x8"):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(io)
        if ranges is None:
            integer = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
            wide = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            target.supported_ops = [integer if mode == "int8" else wide]
            converter.representative_dataset = lambda: _one_by_one(samples or [])
    content = converter.convert()
    return float_edges.without_marks(content) if keep_float else content


def _one_by_one(samples: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
    for index in range(len(samples[0])):
        yield [array[index : index + 1].astype(np.float32) for array in samples]


def observe(graph: Graph, names: list[str], samples: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest value of each named output for each sample: two (names, N) arrays."""

    def extremes(values):
        flat = [tf.reshape(values[name], [tf.shape(values[name])[0], -1]) for name in names]
        return [tf.stack([reduce(value, axis=1) for value in flat], 1) for reduce in REDUCTIONS]

    lows, highs = _in_batches(graph, extremes, samples)
    return lows.T, highs.T


def observe_channels(graph: Graph, names: list[str], samples: list[np.ndarray]) -> list[np.ndarray]:
    """The least and the greatest value in each channel of each named output: (N, 2, channels) each."""

    def extremes(values):
        axes = {name: list(range(1, values[name].shape.rank - 1)) for name in names}
        return [tf.stack([reduce(values[name], axes[name]) for reduce in REDUCTIONS], 1) for name in names]

    return _in_batches(graph, extremes, samples)


def evaluate(
    graph: Graph,
    names: list[str],
    samples: list[np.ndarray],
    ranges: Ranges | None = None,
    keep_float: Collection[str] = (),
) -> list[np.ndarray]:
    """The named outputs for all samples, (N, …) each: in float, or with activations in the 8 bits of `ranges`.

    Operations of `keep_float` compute in float, and give what they store in 8 bits where they have a range.
    """

    def stored(values):
        return [_quantized(name, values[name], ranges or {}) for name in names]

    return _in_batches(graph, stored, samples, ranges, keep_float)


def _in_batches(
    graph: Graph,
    result: Callable[[dict[str, tf.Tensor]], list[tf.Tensor]],
    samples: list[np.ndarray],
    ranges: Ranges | None = None,
    keep_float: Collection[str] = (),
) -> list[np.ndarray]:
    """What `result` makes of the operations' outputs, (n, …) each, for all samples, a few at a time."""

    if len(samples[0]) <= FEW_SAMPLES and sum(array.nbytes for array in graph.weights().values()) > LARGE_WEIGHTS:
        # TensorFlow keeps what memory it once had, so here each weight becomes a constant only where it is used.
        return _joined(lambda inputs: result(run(graph, inputs, ranges, keep_float)), samples, 1)

    # Made out here they are held once; a function copies its own several times over.
    constants = weights(graph)

    @tf.function(reduce_retracing=True, autograph=False)
    def function(inputs):
        return result(run(graph, inputs, ranges, keep_float, constants))

    return _joined(function, samples, BATCH_SIZE)


def _joined(
    function: Callable[[list[tf.Tensor]], list[tf.Tensor]], samples: list[np.ndarray], size: int
) -> list[np.ndarray]:
    """What the function gives for all samples, `size` of them at a time."""
    parts = []
    for start in range(0, len(samples[0]), size):
        batch = [tf.constant(array[start : start + size], tf.float32) for array in samples]
        parts.append([part.numpy() for part in function(batch)])
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def layer_errors(graph: Graph, samples: list[np.ndarray], found: Mapping[str, np.ndarray]) -> np.ndarray:
    """Error of each operation of `found`, which holds what a file computed for it.

    Returns:
        (operations, 4): power of the float output, of the file's difference from it, of the output that the
        operation would give in float for the file's own inputs, and of the difference from that.
    """
    inputs = [tf.constant(array, tf.float32) for array in samples]
    whole = run(graph, inputs)
    file = {name: tf.constant(array, tf.float32) for name, array in found.items()}
    local: dict[str, tf.Tensor] = dict(zip(graph.inputs, inputs, strict=True))
    for operation in graph.operations.values():
        if operation.kind != "input":
            given = [file.get(source, local[source]) for source in operation.inputs]
            local[operation.name] = compute(operation, given, _constants(operation))
    pairs = [(expected[name], file[name]) for name in found for expected in (whole, local)]
    powers = [(tf.reduce_sum(tf.square(a)), tf.reduce_sum(tf.square(a - b))) for a, b in pairs]
    return np.asarray(powers, np.float64).reshape(len(found), 4)
