"""Training on the 8-bit grid, with learned ranges: TF-MOT's wrapper with quantizers of ours.

Weights keep the steps that their kernel has at the start and are trained in units of those steps,
biases in units of the step of what they add to, ranges by their logarithm; so one learning rate suits
layers of any scale. It starts from weights that `export.quantization.ptq` has prepared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from export.ir.graph import Graph
from export.quantization.scales import GREATEST_WEIGHT
from export.worker import execute, training
from export.worker.gptq import kernel_steps
from export.worker.learned_ranges import LearnedRanges, fake_quantize, output_step
from export.worker.qat import QuantizedOperation, Ranges, quantization, quantizers
from export.worker.wire import Arrays

# Of Adam, beside the weights' own: a few values were tried on the tuning photos of benchmarks/photos.py, none swept.
BIAS_LEARNING_RATE = 0.01
RANGE_LEARNING_RATE = 0.002
DIVERGENCE_WEIGHT = 0.02


def train(
    graph: Graph,
    ranges: Ranges,
    shared: Mapping[str, str],
    keep_float: Collection[str],
    options: Mapping[str, Any],
    connection: Any,
    objective: training.Objective,
) -> tuple[Arrays, Ranges, training.History]:
    """Fine-tune the graph under simulated int8.

    Args:
        graph: with batch normalization folded.
        ranges: of activations, by operation, where they start.
        shared: for each operation whose range is learned, the one that it shares it with, or itself.
        keep_float: operations whose kernels are not quantized.
        options: those of `training.fit`, and `learning_rate` of the kernels, in their steps.
        objective: the loss.

    Returns:
        The trained weights as the graph names them, the learned ranges, and the mean loss of each epoch.
    """
    learned = LearnedRanges(ranges, shared)

    def wrap(layer: training.OperationLayer) -> tf_keras.layers.Layer:
        operation = layer.operation
        if "bias" in operation.weights:
            layer.units["bias"] = np.asarray(output_step(graph, ranges, operation.name), np.float32)
        kernel = None
        if operation.name not in keep_float and "kernel" in operation.weights:
            layer.units["kernel"] = kernel_steps(operation)
            kernel = GridQuantizer(layer)
        output = LearnedQuantizer(learned, operation.name) if operation.name in ranges else None
        return quantization.QuantizeWrapperV2(layer, QuantizedOperation(kernel, output))

    model, layers = training.build(graph, wrap)
    by_role = {
        role: [layer.variables_by_role[role] for layer in layers.values() if role in layer.trained]
        for role in ("kernel", "bias")
    }
    groups = [
        (by_role["kernel"], options["learning_rate"]),
        (by_role["bias"], BIAS_LEARNING_RATE),
        (learned.variables, RANGE_LEARNING_RATE),
    ]
    history = training.fit(model, groups, options, connection, "quantization-aware training", objective)
    return training.results(layers), learned.values(), history


def towards(teacher: Graph) -> training.Objective:
    """The loss that pulls the logits to those of `teacher` in float.

    Without labels, for each sample the squared error relative to the teacher's logits, and of classifiers a little
    of the divergence from the teacher's class probabilities. With labels their cross entropy, and as much of the
    divergence, which keeps what the float model had learned (Hinton et al. 2015, section 2).
    """
    names = [teacher.logits(name) for name in teacher.outputs]

    def loss(inputs: list[tf.Tensor], target: Any, outputs: Any) -> tf.Tensor:
        values = execute.run(teacher, inputs)
        pairs = [(values[name], found) for name, found in zip(names, tf.nest.flatten(outputs), strict=True)]
        if target is not None:
            return training.class_loss(inputs, target, outputs) + sum(_divergence(*pair) for pair in pairs)
        return sum(_relative_error(*pair) + DIVERGENCE_WEIGHT * _divergence(*pair) for pair in pairs)

    return loss


def _relative_error(expected: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    axes = list(range(1, expected.shape.rank))
    power = tf.reduce_sum(tf.square(expected), axes) + tf_keras.backend.epsilon()
    return tf.reduce_mean(tf.reduce_sum(tf.square(found - expected), axes) / power)


def _divergence(expected: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """Of the class probabilities, the mean over samples; 0 of what are no logits of classes."""
    if expected.shape.rank != 2 or expected.shape[1] == 1:
        return tf.constant(0.0)
    logs = tf.nn.log_softmax(expected) - tf.nn.log_softmax(found)
    return tf.reduce_mean(tf.reduce_sum(tf.nn.softmax(expected) * logs, 1))


class GridQuantizer(quantizers.Quantizer):
    """Rounds a kernel that is given in its own steps; the greatest weights, which define the steps, stay."""

    def __init__(self, layer: training.OperationLayer) -> None:
        whole = layer.operation.weights["kernel"] / layer.units["kernel"]
        self._defining = tf.constant(np.abs(whole) > GREATEST_WEIGHT - 0.01)
        self._start = tf.constant(np.round(whole), tf.float32)
        if "kernel" in layer.trained:
            layer.kernel_of = lambda: self._rounded(layer.variables_by_role["kernel"]) * layer.units["kernel"]

    def _rounded(self, inputs: Any) -> tf.Tensor:
        limits = (-GREATEST_WEIGHT, GREATEST_WEIGHT)
        whole = tf.quantization.fake_quant_with_min_max_args(inputs, *limits, narrow_range=True)
        return tf.where(self._defining, self._start, whole)

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        return {}

    def __call__(self, inputs: Any, training: Any, weights: Any, **keywords: Any) -> tf.Tensor:
        return self._rounded(inputs)

    def get_config(self) -> dict[str, Any]:
        return {}


class LearnedQuantizer(quantizers.Quantizer):
    """8 bits over a range that is learned."""

    def __init__(self, learned: LearnedRanges, name: str) -> None:
        self._learned, self._name = learned, name

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        return {}

    def __call__(self, inputs: Any, training: Any, weights: Any, **keywords: Any) -> tf.Tensor:
        return fake_quantize(inputs, *self._learned.of(self._name))

    def get_config(self) -> dict[str, Any]:
        return {"name": self._name}
