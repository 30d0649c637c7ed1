"""How much each quantized tensor and each rounded kernel, by itself, disturbs what a graph gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from export.ir.graph import Graph, Operation
from export.worker.execute import BATCH_SIZE
from export.worker.operations import compute
from export.worker.protocol import MeasureSensitivity, NoisePowers

Constants = dict[str, tf.Tensor]


def noise_powers(request: MeasureSensitivity) -> NoisePowers:
    """What one change at a time to the float graph does to the outputs."""
    graph, names = request.graph, request.names
    weighted = [operation for operation in request.rounded.operations.values() if "kernel" in operation.weights]
    constants = {name: _constants(operation) for name, operation in graph.operations.items()}
    signal, tensors, kernels = 0.0, np.zeros(len(request.ranges)), np.zeros(len(weighted))
    for start in range(0, len(request.samples[0]), BATCH_SIZE):
        batch = _Batch(graph, constants, names, [array[start : start + BATCH_SIZE] for array in request.samples])
        signal += sum(_power(batch.values[name]) for name in names)
        tensors += [batch.noise(name, batch.quantized(name, *limits)) for name, limits in request.ranges.items()]
        kernels += [batch.noise(each.name, batch.computed(each, _constants(each))) for each in weighted]
    return NoisePowers(signal, tensors, kernels)


class _Batch:
    """The graph's float values for a few samples, and what becomes of them."""

    def __init__(
        self, graph: Graph, constants: dict[str, Constants], names: Sequence[str], samples: list[np.ndarray]
    ) -> None:
        self._graph, self._constants, self._names = graph, constants, names
        self.values = {name: tf.constant(array, tf.float32) for name, array in zip(graph.inputs, samples, strict=True)}
        for operation in graph.operations.values():
            if operation.kind != "input":
                self.values[operation.name] = self.computed(operation, constants[operation.name])

    def computed(self, operation: Operation, constants: Constants) -> tf.Tensor:
        """An operation's output with other weights."""
        return compute(operation, [self.values[source] for source in operation.inputs], constants)

    def quantized(self, name: str, low: float, high: float) -> tf.Tensor:
        """An operation's output in 8 bits."""
        return tf.quantization.fake_quant_with_min_max_vars(self.values[name], low, high)

    def noise(self, name: str, value: tf.Tensor) -> float:
        """Power of the change in the outputs if one operation gives `value` instead."""
        changed = {name: value}
        for operation in self._graph.operations.values():
            if operation.name != name and any(source in changed for source in operation.inputs):
                given = [changed.get(source, self.values[source]) for source in operation.inputs]
                changed[operation.name] = compute(operation, given, self._constants[operation.name])
        return sum(_power(changed[each] - self.values[each]) for each in self._names if each in changed)


def _constants(operation: Operation) -> Constants:
    return {role: tf.constant(array) for role, array in operation.weights.items()}


def _power(value: tf.Tensor) -> float:
    return float(tf.reduce_sum(tf.square(value)))
