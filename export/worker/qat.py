"""Quantization-aware training: the graph as a tf_keras model whose layers TF-MOT wraps in fake quantization.

TF-MOT's wrapper is the engine; which tensors it quantizes, and where their ranges start, is the
neutral graph's. Every weight gets one scale for each output channel, depthwise kernels included,
for which TF-MOT's own configuration has a single scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from export.worker import training
from export.worker.protocol import Trained, TrainQuantized

quantization = tfmot.quantization.keras
quantizers = quantization.quantizers


def train(request: TrainQuantized, connection: Any) -> Trained:
    """Fine-tune a graph's weights under simulated int8; ranges stay as they are."""
    keep, ranges = (request.preserve_sparsity, request.preserve_clusters), request.ranges

    def wrap(layer: training.OperationLayer) -> tf_keras.layers.Layer:
        name = layer.operation.name
        in_float = "kernel" not in layer.operation.weights or (name in request.keep_float and not any(keep))
        kernel = None if in_float else _kernel_quantizer(layer, *keep)
        output = CalibratedQuantizer(*ranges[name]) if name in ranges else None
        return quantization.QuantizeWrapperV2(layer, QuantizedOperation(kernel, output))

    model, layers = training.build(request, wrap)
    variables = [(training.trained_variables(model, layers), request.learning_rate)]
    history = training.fit(model, variables, request, connection)
    return Trained(training.results(layers), history)


def _kernel_quantizer(layer: training.OperationLayer, sparsity: bool, clusters: bool) -> ChannelQuantizer:
    kernel = layer.operation.weights["kernel"]
    if layer.operation.kind == "depthwise_conv2d":
        return DepthwiseQuantizer()
    if not layer.operation.compressible:
        return ChannelQuantizer()
    if clusters:
        return ClusteredQuantizer(kernel, layer)
    return SparseQuantizer(kernel, layer) if sparsity else ChannelQuantizer()


class QuantizedOperation(quantization.QuantizeConfig):
    """What TF-MOT quantizes of one operation: its kernel and its output, where they have a quantizer."""

    def __init__(self, kernel: quantizers.Quantizer | None, output: quantizers.Quantizer | None) -> None:
        self._kernel, self._output = kernel, output

    def get_weights_and_quantizers(self, layer: training.OperationLayer) -> list[Any]:
        return [(layer.variables_by_role["kernel"], self._kernel)] if self._kernel else []

    def set_quantize_weights(self, layer: training.OperationLayer, quantize_weights: list[tf.Tensor]) -> None:
        if quantize_weights:
            layer.kernel = quantize_weights[0]

    def get_activations_and_quantizers(self, layer: training.OperationLayer) -> list[Any]:
        return []

    def set_quantize_activations(self, layer: training.OperationLayer, quantize_activations: list[Any]) -> None:
        pass

    def get_output_quantizers(self, layer: training.OperationLayer) -> list[Any]:
        return [self._output] if self._output else []

    def get_config(self) -> dict[str, Any]:
        return {}


class ChannelQuantizer(quantizers.LastValueQuantizer):
    """8 bits, symmetric, one scale for each index of the last axis, from the current weights."""

    def __init__(self) -> None:
        super().__init__(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        channels = (self.channels(tensor_shape),)
        return {
            f"{side}_var": layer.add_weight(f"{name}_{side}", channels, initializer="zeros", trainable=False)
            for side in ("min", "max")
        }

    def channels(self, shape: Any) -> int:
        """How many scales a kernel of this shape has."""
        return int(shape[-1])


class DepthwiseQuantizer(ChannelQuantizer):
    """The same for a depthwise kernel, whose output channels are its last two axes together."""

    def channels(self, shape: Any) -> int:
        return int(shape[-2] * shape[-1])

    def __call__(self, inputs: Any, training: Any, weights: Any, **keywords: Any) -> tf.Tensor:
        flat = tf.reshape(inputs, [*inputs.shape[:2], 1, self.channels(inputs.shape)])
        return tf.reshape(super().__call__(flat, training, weights, **keywords), inputs.shape)


class SparseQuantizer(ChannelQuantizer):
    """The same, with the zeros of the pruned kernel at zero."""

    def __init__(self, kernel: np.ndarray, layer: training.OperationLayer) -> None:
        super().__init__()
        self._mask = tf.constant(kernel != 0, tf.float32)
        layer.kernel_of = lambda: layer.variables_by_role["kernel"] * self._mask

    def __call__(self, inputs: Any, training: Any, weights: Any, **keywords: Any) -> tf.Tensor:
        return super().__call__(inputs * self._mask, training, weights, **keywords)


class ClusteredQuantizer(ChannelQuantizer):
    """The same, with the clustered kernel's different values as what is trained; zero stays zero."""

    def __init__(self, kernel: np.ndarray, layer: training.OperationLayer) -> None:
        super().__init__()
        self._values, which = np.unique(kernel, return_inverse=True)
        self._which = tf.constant(which.reshape(kernel.shape), tf.int32)
        self._layer = layer

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        values = layer.add_weight(
            f"{name}_values", self._values.shape, initializer=tf_keras.initializers.Constant(self._values)
        )
        nonzero = tf.constant(self._values != 0, tf.float32)
        self._layer.trained.discard("kernel")
        self._layer.kernel_of = lambda: tf.gather(values * nonzero, self._which)
        return super().build(tensor_shape, name, layer)

    def __call__(self, inputs: Any, training: Any, weights: Any, **keywords: Any) -> tf.Tensor:
        assert self._layer.kernel_of is not None
        return super().__call__(self._layer.kernel_of(), training, weights, **keywords)


class CalibratedQuantizer(quantizers.Quantizer):
    """8 bits over a fixed range, nudged so that zero is exact, as TFLite will have it."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        return {}

    def __call__(self, inputs: Any, training: Any, weights: Any, **keywords: Any) -> tf.Tensor:
        return tf.quantization.fake_quant_with_min_max_args(inputs, self._low, self._high)

    def get_config(self) -> dict[str, Any]:
        return {"low": self._low, "high": self._high}
