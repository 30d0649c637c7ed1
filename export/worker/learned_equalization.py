"""Scales and offsets of channels, learned from the error of the outputs in 8 bits.

Cross-layer equalization and channel shift (`export.quantization`) choose them by looking at one tensor; how much a
channel's error matters at the end only the gradient tells. Kernels stay in float meanwhile and are rounded afterwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from export.ir.channels import input_channels, output_channels, summed_axes
from export.quantization.channel_shift import offsets
from export.worker import execute, training
from export.worker.learned_ranges import LearnedRanges, fake_quantize, output_step
from export.worker.losses import loss_inputs
from export.worker.protocol import LearnEqualization, Trained

# Learning rates of Adam: of factors and ranges in units of their logarithms, of offsets and biases in steps of the
# tensor that they are added to. Found on MobileNetV2 and photos; `LearnEqualization.learning_rate_scale` adapts them.
FACTOR_LEARNING_RATE = 0.01
RANGE_LEARNING_RATE = 0.005
OFFSET_LEARNING_RATE = 0.3
BIAS_LEARNING_RATE = 0.05


def learn(request: LearnEqualization, connection: Any) -> Trained:
    """Learn on the connection's batches."""
    graph = request.graph
    learned = LearnedRanges(request.ranges, request.shared)
    channels = _Channels(request)
    outputs = loss_inputs(graph, request.losses)

    def forward(inputs: list[tf.Tensor], training: bool) -> list[tf.Tensor]:
        values = execute.run(graph, inputs, learned.tensors(), request.keep_float, channels.constants(), fake_quantize)
        return [values[name] for name in outputs]

    scale = request.learning_rate_scale
    variables = [
        (channels.factors, FACTOR_LEARNING_RATE * scale),
        (learned.variables, RANGE_LEARNING_RATE * scale),
        (list(channels.offsets.values()), OFFSET_LEARNING_RATE * scale),
        (list(channels.biases.values()), BIAS_LEARNING_RATE * scale),
    ]
    history = training.fit(forward, variables, request, connection)
    weights = {
        f"{name}:{role}": np.asarray(value)
        for name, constants in channels.constants().items()
        for role, value in constants.items()
    }
    return Trained(weights, history, learned.values())


class _Channels:
    """The graph's weights as functions of what is learned of its channels."""

    def __init__(self, request: LearnEqualization) -> None:
        graph, ranges = request.graph, request.ranges

        def zeros(name: str) -> tf.Variable:
            return tf.Variable(tf.zeros(graph.operations[name].shape[-1]))

        self._graph = graph
        self._constants = execute.weights(graph)
        changed = {*request.shifted, *request.biases}
        self._units = {name: np.float32(output_step(graph, ranges, name)) for name in changed}
        self.factors = [zeros(group.sources[0]) for group in request.groups]
        self.offsets = {name: zeros(name) for name in request.shifted}
        self.biases = {name: zeros(name) for name in request.biases}
        self._produced = {name: i for i, group in enumerate(request.groups) for name in group.sources}
        self._taken = {name: i for i, group in enumerate(request.groups) for name in group.sinks}

    def constants(self) -> dict[str, dict[str, tf.Tensor]]:
        """The weights by operation and role."""
        shifts = {name: variable * self._units[name] for name, variable in self.offsets.items()}
        off = offsets(self._graph, shifts)
        result = {}
        for name, operation in self._graph.operations.items():
            weights = dict(self._constants[name])
            if operation.traits.scalable:
                if name in self._taken:
                    factors = tf.exp(-self.factors[self._taken[name]])
                    weights["kernel"] *= tf.gather(factors, input_channels(operation, factors.shape[0]))
                if name in self.biases:
                    weights["bias"] += self.biases[name] * self._units[name]
                if name in self._produced:
                    factors = tf.exp(self.factors[self._produced[name]])
                    weights["kernel"] *= tf.gather(factors, output_channels(operation))
                    if "bias" in weights:
                        weights["bias"] *= factors
                if operation.inputs[0] in off:
                    offset = off[operation.inputs[0]]
                    given = weights["kernel"] * tf.gather(offset, input_channels(operation, offset.shape[0]))
                    weights["bias"] += tf.reshape(tf.reduce_sum(given, summed_axes(operation)), [-1])
                if name in shifts:
                    weights["bias"] -= shifts[name]
            result[name] = weights
        return result
