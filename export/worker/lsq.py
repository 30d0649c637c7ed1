"""LSQ, quantization-aware training with learned step sizes: TF-MOT's wrapper with quantizers of ours.

Weights keep the steps that their kernel has at the start and are trained in units of those steps,
biases in units of the step of what they add to, ranges by their logarithm; so one learning rate suits
layers of any scale. It starts from weights that `export.quantization.ptq` has prepared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from export.quantization.scales import GREATEST_WEIGHT
from export.worker import training
from export.worker.gptq import kernel_steps
from export.worker.learned_ranges import LearnedRanges, fake_quantize, output_step
from export.worker.protocol import Trained, TrainStepSizes
from export.worker.qat import QuantizedOperation, quantization, quantizers

# Learning rates of Adam, in steps of the tensor that a bias is added to and in units of a range's logarithm. A few
# values were tried on the tuning photos of benchmarks/photos.py, none swept.
BIAS_LEARNING_RATE = 0.01
RANGE_LEARNING_RATE = 0.002


def train(request: TrainStepSizes, connection: Any) -> Trained:
    """Fine-tune a graph under simulated int8, and the ranges of its activations with it."""
    graph, ranges = request.graph, request.ranges
    learned = LearnedRanges(ranges, request.shared)

    def wrap(layer: training.OperationLayer) -> tf_keras.layers.Layer:
        operation = layer.operation
        if "bias" in operation.weights:
            layer.units["bias"] = np.asarray(output_step(graph, ranges, operation.name), np.float32)
        kernel = None
        if operation.name not in request.keep_float and "kernel" in operation.weights:
            layer.units["kernel"] = kernel_steps(operation)
            kernel = GridQuantizer(layer)
        output = LearnedQuantizer(learned, operation.name) if operation.name in ranges else None
        return quantization.QuantizeWrapperV2(layer, QuantizedOperation(kernel, output))

    model, layers = training.build(request, wrap)
    by_role = {
        role: [layer.variables_by_role[role] for layer in layers.values() if role in layer.trained]
        for role in ("kernel", "bias")
    }
    groups = [
        (by_role["kernel"], request.learning_rate),
        (by_role["bias"], BIAS_LEARNING_RATE),
        (learned.variables, RANGE_LEARNING_RATE),
    ]
    history = training.fit(model, groups, request, connection)
    return Trained(training.results(layers), history, learned.values())


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
