"""Running a graph in TensorFlow: its outputs, the ranges of its activations, and the errors of a file's layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from export.ir.graph import Graph, Operation
from export.ir.tensor_names import scope
from export.worker import float_edges, large_weights
from export.worker.operations import compute
from export.worker.protocol import (
    ChannelExtremes,
    CompareLayers,
    Evaluate,
    Extremes,
    LayerErrors,
    Observe,
    ObserveChannels,
    Values,
)

Ranges = Mapping[str, tuple[Any, Any]]  # numbers, or tensors that are learned
BATCH_SIZE = 8  # samples that are computed at once
# A function copies its constants several times over. Of weights above this many bytes, and for up to this many samples,
# operations are run one by one instead, which is slower and holds each weight only while it is used.
LARGE_WEIGHTS = 1 << 28
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
                value = tf.cast(inputs[graph.inputs.index(name)], operation.dtype)
            else:
                given = [
                    read(source, values[source], ranges, source in keep_float, stays, fake_quantize)
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


def read(
    name: str,
    value: tf.Tensor,
    ranges: Ranges,
    from_float: bool,
    to_float: bool,
    fake_quantize: FakeQuantize = tf.quantization.fake_quant_with_min_max_vars,
) -> tf.Tensor:
    """An operation's output as a reader takes it; indices and truths are the same to all."""
    if from_float == to_float or value.dtype != tf.float32:
        return value
    marked = float_edges.mark(value)
    return marked if to_float else _quantized(name, marked, ranges, fake_quantize)


def observe(request: Observe) -> Extremes:
    """The least and the greatest value of each named output for each sample."""

    def extremes(values):
        flat = [tf.reshape(values[name], [tf.shape(values[name])[0], -1]) for name in request.names]
        return [tf.stack([reduce(value, axis=1) for value in flat], 1) for reduce in REDUCTIONS]

    low, high = _in_batches(request.graph, extremes, request.samples)
    return Extremes(low.T, high.T)


def observe_channels(request: ObserveChannels) -> ChannelExtremes:
    """The least and the greatest value in each channel of each named output, for each sample."""

    def extremes(values):
        axes = {name: list(range(1, values[name].shape.rank - 1)) for name in request.names}
        return [tf.stack([reduce(values[name], axes[name]) for reduce in REDUCTIONS], 1) for name in request.names]

    return ChannelExtremes(dict(zip(request.names, _in_batches(request.graph, extremes, request.samples), strict=True)))


def evaluate(request: Evaluate) -> Values:
    """The named outputs for all samples."""

    def stored(values):
        return [_quantized(name, values[name], request.ranges or {}) for name in request.names]

    return Values(_in_batches(request.graph, stored, request.samples, request.ranges, request.keep_float))


def _in_batches(
    graph: Graph,
    result: Callable[[dict[str, tf.Tensor]], list[tf.Tensor]],
    samples: Sequence[np.ndarray],
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
    function: Callable[[list[tf.Tensor]], list[tf.Tensor]], samples: Sequence[np.ndarray], size: int
) -> list[np.ndarray]:
    """What the function gives for all samples, `size` of them at a time."""
    parts = []
    for start in range(0, len(samples[0]), size):
        batch = [tf.constant(array[start : start + size], tf.float32) for array in samples]
        parts.append([part.numpy() for part in function(batch)])
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def layer_errors(request: CompareLayers) -> LayerErrors:
    """The error of each operation's tensor in a file."""
    graph = request.graph
    inputs = [tf.constant(array, tf.float32) for array in request.samples]
    whole = run(graph, inputs)
    file = {name: tf.constant(array, tf.float32) for name, array in request.computed.items()}
    local: dict[str, tf.Tensor] = {name: whole[name] for name in graph.inputs}
    for operation in graph.operations.values():
        if operation.kind != "input":
            given = [file.get(source, local[source]) for source in operation.inputs]
            local[operation.name] = compute(operation, given, _constants(operation))
    pairs = [(expected[name], file[name]) for name in file for expected in (whole, local)]
    powers = [(tf.reduce_sum(tf.square(a)), tf.reduce_sum(tf.square(a - b))) for a, b in pairs]
    return LayerErrors(np.asarray(powers, np.float64).reshape(len(file), 4))
