"""The emitter that trains: the graph as a tf_keras model whose layers TF-MOT wraps in fake quantization.

TF-MOT's wrapper is the engine; which tensors it quantizes, and where their ranges start, is the
neutral graph's. Every weight gets one scale for each output channel, depthwise kernels included,
for which TF-MOT's own configuration has a single scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from export.graph import Graph, Operation
from export.wire import Arrays
from export.worker.operations import compute

quantization = tfmot.quantization.keras
Ranges = dict[str, tuple[float, float]]


def train(
    graph: Graph, ranges: Ranges, options: Mapping[str, Any], connection: Any
) -> tuple[Arrays, Ranges, list[dict[str, float]]]:
    """Fine-tune the graph's weights under simulated int8.

    Args:
        graph: with batch normalization folded.
        ranges: of activations, by operation; they stay as they are.
        options: `steps_per_epoch`, `epochs`, `learning_rate` (decays to zero by a cosine).
        connection: gives the batches, arrays `input:0`, … and `target` (class numbers).

    Returns:
        The trained weights as the graph names them, the ranges, and the mean loss of each epoch.
    """
    model, layers = build(graph, ranges)
    per_epoch, epochs = options["steps_per_epoch"], options["epochs"]
    schedule = tf_keras.optimizers.schedules.CosineDecay(options["learning_rate"], per_epoch * epochs)
    optimizer = tf_keras.optimizers.Adam(schedule)
    loss_function = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function(reduce_retracing=True, autograph=False)
    def step(inputs, target):
        with tf.GradientTape() as tape:
            loss = loss_function(target, model(inputs, training=True))
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    history: list[dict[str, float]] = []
    total = 0.0
    for done, batch in enumerate(connection.batches(), start=1):
        inputs = [tf.constant(batch[f"input:{index}"]) for index in range(len(graph.inputs))]
        total += float(step(inputs, tf.constant(batch["target"])))
        epoch, within = divmod(done, per_epoch)
        connection.progress("quantization-aware training", done, per_epoch * epochs, loss=total / (within or per_epoch))
        if within == 0:
            history.append({"epoch": epoch, "loss": total / per_epoch})
            total = 0.0
    weights = {
        f"{name}:{role}": variable.numpy()
        for name, layer in layers.items()
        for role, variable in layer.variables_by_role.items()
    }
    return weights, ranges, history


def build(graph: Graph, ranges: Ranges) -> tuple[tf_keras.Model, dict[str, OperationLayer]]:
    """The trainable model, from the graph's inputs to its logits, and its layers by operation."""
    tensors: dict[str, Any] = {}
    layers: dict[str, OperationLayer] = {}
    for index, operation in enumerate(graph.operations.values()):
        layer = OperationLayer(operation, name=f"operation_{index}")
        quantizers = QuantizedOperation(operation, ranges.get(operation.name))
        wrapped = quantization.QuantizeWrapperV2(layer, quantizers)
        if operation.kind == "input":
            tensors[operation.name] = wrapped(tf_keras.Input(operation.shape))
        else:
            given = [tensors[name] for name in operation.inputs]
            tensors[operation.name] = wrapped(given if len(given) > 1 else given[0])
            layers[operation.name] = layer
    inputs = [tensors[name]._keras_history.layer.input for name in graph.inputs]
    return tf_keras.Model(inputs, [tensors[_logits(graph, name)] for name in graph.outputs]), layers


def _logits(graph: Graph, name: str) -> str:
    """The output itself, or what its softmax takes, so that the loss works on logits."""
    operation = graph.operations[name]
    return operation.inputs[0] if operation.attributes.get("function") == "softmax" else name


class OperationLayer(tf_keras.layers.Layer):
    """One operation of the graph with its weights as variables."""

    def __init__(self, operation: Operation, name: str) -> None:
        super().__init__(name=name)
        self.operation = operation
        self.variables_by_role: dict[str, tf.Variable] = {}

    def build(self, input_shape: Any) -> None:
        for role, array in self.operation.weights.items():
            variable = self.add_weight(
                role,
                shape=array.shape,
                initializer=tf_keras.initializers.Constant(array),
                trainable=role in self.operation.trainable,
            )
            self.variables_by_role[role] = variable
            setattr(self, role, variable)
        super().build(input_shape)

    def call(self, inputs: Any) -> tf.Tensor:
        if self.operation.kind == "input":
            return tf.identity(inputs)
        weights = {role: getattr(self, role) for role in self.operation.weights}
        return compute(self.operation, tf.nest.flatten(inputs), weights)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (None, *self.operation.shape)


class QuantizedOperation(quantization.QuantizeConfig):
    """What TF-MOT quantizes of one operation: its kernel, and its output where it has a range."""

    def __init__(self, operation: Operation, output_range: tuple[float, float] | None) -> None:
        self._kind = operation.kind
        self._range = output_range

    def get_weights_and_quantizers(self, layer: OperationLayer) -> list[Any]:
        if "kernel" not in layer.variables_by_role:
            return []
        quantizer = DepthwiseQuantizer() if self._kind == "depthwise_conv2d" else ChannelQuantizer()
        return [(layer.variables_by_role["kernel"], quantizer)]

    def set_quantize_weights(self, layer: OperationLayer, quantize_weights: list[tf.Tensor]) -> None:
        if quantize_weights:
            layer.kernel = quantize_weights[0]

    def get_activations_and_quantizers(self, layer: OperationLayer) -> list[Any]:
        return []

    def set_quantize_activations(self, layer: OperationLayer, quantize_activations: list[Any]) -> None:
        pass

    def get_output_quantizers(self, layer: OperationLayer) -> list[Any]:
        return [CalibratedQuantizer(*self._range)] if self._range else []

    def get_config(self) -> dict[str, Any]:
        return {}


class ChannelQuantizer(quantization.quantizers.LastValueQuantizer):
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


class CalibratedQuantizer(quantization.quantizers.Quantizer):
    """8 bits over a fixed range, nudged so that zero is exact, as TFLite will have it."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        return {}

    def __call__(self, inputs: Any, training: Any, weights: Any, **keywords: Any) -> tf.Tensor:
        return tf.quantization.fake_quant_with_min_max_args(inputs, self._low, self._high)

    def get_config(self) -> dict[str, Any]:
        return {"low": self._low, "high": self._high}
