"""The graph as a tf_keras model that TF-MOT can wrap, and the loop that fine-tunes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from export.graph import Graph, Operation
from export.wire import Arrays
from export.worker.operations import compute

Wrap = Callable[["OperationLayer"], tf_keras.layers.Layer]
History = list[dict[str, float]]


class OperationLayer(
    tf_keras.layers.Layer, tfmot.sparsity.keras.PrunableLayer, tfmot.clustering.keras.ClusterableLayer
):
    """One operation of the graph with its weights as variables.

    Attributes:
        variables_by_role: the variables.
        trained: roles of those that training changes.
        kernel_of: gives the kernel that a wrapper computes, where it does.
    """

    def __init__(self, operation: Operation, name: str) -> None:
        super().__init__(name=name)
        self.operation = operation
        self.variables_by_role: dict[str, tf.Variable] = {}
        self.trained = set(operation.trainable)
        self.kernel_of: Callable[[], tf.Tensor] | None = None

    def build(self, input_shape: Any) -> None:
        for role, array in self.operation.weights.items():
            variable = self.add_weight(
                role,
                shape=array.shape,
                initializer=tf_keras.initializers.Constant(array),
                trainable=role in self.trained,
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

    def get_prunable_weights(self) -> list[tf.Variable]:
        return [self.variables_by_role["kernel"]]

    def get_clusterable_weights(self) -> list[tuple[str, tf.Variable]]:
        return [("kernel", self.variables_by_role["kernel"])]

    def result(self) -> Arrays:
        """The weights as they are now, by role."""
        arrays = {role: variable.numpy() for role, variable in self.variables_by_role.items()}
        if self.kernel_of is not None:
            arrays["kernel"] = np.asarray(self.kernel_of())
        return arrays


def build(graph: Graph, wrap: Wrap) -> tuple[tf_keras.Model, dict[str, OperationLayer]]:
    """The trainable model, from the graph's inputs to its logits, and its layers by operation.

    `wrap` puts TF-MOT's wrapper around a layer, or returns the layer.
    """
    tensors: dict[str, Any] = {}
    layers: dict[str, OperationLayer] = {}
    inputs: dict[str, Any] = {}
    for index, operation in enumerate(graph.operations.values()):
        layer = layers[operation.name] = OperationLayer(operation, name=f"operation_{index}")
        if operation.kind == "input":
            inputs[operation.name] = tf_keras.Input(operation.shape)
        given = [inputs[operation.name]] if operation.kind == "input" else [tensors[name] for name in operation.inputs]
        tensors[operation.name] = wrap(layer)(given if len(given) > 1 else given[0])
    outputs = [tensors[_logits(graph, name)] for name in graph.outputs]
    return tf_keras.Model([inputs[name] for name in graph.inputs], outputs), layers


def _logits(graph: Graph, name: str) -> str:
    """The output itself, or what its softmax takes, so that the loss works on logits."""
    operation = graph.operations[name]
    return operation.inputs[0] if operation.attributes.get("function") == "softmax" else name


def fit(
    model: tf_keras.Model,
    layers: Mapping[str, OperationLayer],
    options: Mapping[str, Any],
    connection: Any,
    step_name: str,
    callback: tf_keras.callbacks.Callback | None = None,
) -> History:
    """Train on the connection's batches, arrays `input:0`, … and `target` (class numbers).

    Args:
        options: `steps_per_epoch`, `epochs`, `learning_rate` (of Adam; decays to zero by a cosine).
        callback: what TF-MOT wants to be called at the start and after each epoch.

    Returns:
        The mean loss of each epoch.
    """
    per_epoch, epochs = options["steps_per_epoch"], options["epochs"]
    schedule = tf_keras.optimizers.schedules.CosineDecay(options["learning_rate"], per_epoch * epochs)
    optimizer = tf_keras.optimizers.Adam(schedule)
    loss_function = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # TF-MOT's wrappers train every weight that they quantize.
    kept = {
        id(variable)
        for layer in layers.values()
        for role, variable in layer.variables_by_role.items()
        if role not in layer.trained
    }
    variables = [variable for variable in model.trainable_variables if id(variable) not in kept]

    @tf.function(reduce_retracing=True, autograph=False)
    def step(inputs, target):
        with tf.GradientTape() as tape:
            loss = loss_function(target, model(inputs, training=True))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    if callback is not None:
        callback.set_model(model)
        callback.on_train_begin()
    history: History = []
    total = 0.0
    for done, batch in enumerate(connection.batches(), start=1):
        inputs = [tf.constant(batch[f"input:{index}"]) for index in range(len(model.inputs))]
        total += float(step(inputs, tf.constant(batch["target"])))
        epoch, within = divmod(done, per_epoch)
        connection.progress(step_name, done, per_epoch * epochs, loss=total / (within or per_epoch))
        if within == 0:
            history.append({"epoch": epoch, "loss": total / per_epoch})
            total = 0.0
            if callback is not None:
                callback.on_epoch_end(epoch)
    return history


def results(layers: Mapping[str, OperationLayer]) -> Arrays:
    """All weights as they are now, named as `Graph.weights` names them."""
    return {f"{name}:{role}": array for name, layer in layers.items() for role, array in layer.result().items()}
