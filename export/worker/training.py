"""The graph as a tf_keras model that TF-MOT can wrap, and the loop that fine-tunes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from export.ir.graph import Arrays, Operation
from export.worker.losses import loss_inputs, objective
from export.worker.operations import compute
from export.worker.protocol import History, TrainingRequest

Wrap = Callable[["OperationLayer"], tf_keras.layers.Layer]
Forward = Callable[..., Any]  # outputs of inputs, and of whether it is training


class OperationLayer(
    tf_keras.layers.Layer, tfmot.sparsity.keras.PrunableLayer, tfmot.clustering.keras.ClusterableLayer
):
    """One operation of the graph with its weights as variables.

    Attributes:
        units: for some roles, what 1 in the variable is worth, so that one learning rate suits all of them.
        source: of a tied operation the layer whose variables it reads; None for the first of them.
        variables_by_role: the variables.
        trained: roles of those that training changes, apart from a source's.
        kernel_of: gives the kernel that a wrapper computes, where it does.
    """

    def __init__(self, operation: Operation, name: str, source: OperationLayer | None = None) -> None:
        super().__init__(name=name)
        self.operation = operation
        self.source = source
        self.units: dict[str, np.ndarray] = {}
        self.variables_by_role: dict[str, tf.Variable] = {}
        self.trained = set() if source else set(operation.trainable)
        self.kernel_of: Callable[[], tf.Tensor] | None = None

    def build(self, input_shape: Any) -> None:
        if self.source is not None:
            self.units, self.variables_by_role = self.source.units, self.source.variables_by_role
        else:
            for role, array in self.operation.weights.items():
                self.variables_by_role[role] = self.add_weight(
                    role,
                    shape=array.shape,
                    initializer=tf_keras.initializers.Constant(array / self.units.get(role, 1)),
                    trainable=role in self.trained,
                )
        for role, variable in self.variables_by_role.items():
            setattr(self, role, variable)
        super().build(input_shape)

    def call(self, inputs: Any) -> tf.Tensor:
        if self.operation.kind == "input":
            return tf.identity(inputs)
        weights = {role: getattr(self, role) * self.units.get(role, 1) for role in self.operation.weights}
        return compute(self.operation, tf.nest.flatten(inputs), weights)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (None, *self.operation.shape)

    def get_prunable_weights(self) -> list[tf.Variable]:
        return [self.variables_by_role["kernel"]]

    def get_clusterable_weights(self) -> list[tuple[str, tf.Variable]]:
        return [("kernel", self.variables_by_role["kernel"])]

    def result(self) -> Arrays:
        """The weights as they are now, by role."""
        if self.source is not None:
            return self.source.result()
        arrays = {role: variable.numpy() * self.units.get(role, 1) for role, variable in self.variables_by_role.items()}
        if self.kernel_of is not None:
            arrays["kernel"] = np.asarray(self.kernel_of())
        return arrays


def build(request: TrainingRequest, wrap: Wrap) -> tuple[tf_keras.Model, dict[str, OperationLayer]]:
    """The trainable model, from the graph's inputs to what its losses take, and its layers by operation.

    `wrap` puts TF-MOT's wrapper around a layer, or returns the layer.
    """
    graph = request.graph
    tensors: dict[str, Any] = {}
    layers: dict[str, OperationLayer] = {}
    inputs: dict[str, Any] = {}
    for index, operation in enumerate(graph.operations.values()):
        layer = OperationLayer(operation, name=f"operation_{index}", source=layers.get(operation.tied))
        layers[operation.name] = layer
        if operation.kind == "input":
            inputs[operation.name] = tf_keras.Input(operation.shape)
        given = [inputs[operation.name]] if operation.kind == "input" else [tensors[name] for name in operation.inputs]
        tensors[operation.name] = wrap(layer)(given if len(given) > 1 else given[0])
    outputs = [tensors[name] for name in loss_inputs(graph, request.losses)]
    return tf_keras.Model([inputs[name] for name in graph.inputs], outputs), layers


def trained_variables(model: tf_keras.Model, layers: Mapping[str, OperationLayer]) -> list[tf.Variable]:
    """What training may change; TF-MOT's wrappers would train every weight that they quantize."""
    kept = {
        id(variable)
        for layer in layers.values()
        for role, variable in layer.variables_by_role.items()
        if role not in layer.trained and layer.source is None
    }
    return [variable for variable in model.trainable_variables if id(variable) not in kept]


def fit(
    model: Forward,
    variables: Sequence[tuple[Sequence[tf.Variable], float]],
    request: TrainingRequest,
    connection: Any,
    callback: tf_keras.callbacks.Callback | None = None,
) -> History:
    """Train on the connection's batches.

    Args:
        model: gives the outputs for a list of inputs; a tf_keras model where there is a callback.
        variables: groups of variables, each with the learning rate of its Adam, which decays to zero by a cosine.
        request: says for how long, and towards what.
        callback: what TF-MOT wants to be called at the start and after each epoch.

    Returns:
        The mean loss of each epoch.
    """
    per_epoch, epochs = request.length.steps_per_epoch, request.length.epochs
    groups = [(list(group), rate) for group, rate in variables if group]
    schedules = [tf_keras.optimizers.schedules.CosineDecay(rate, per_epoch * epochs) for _, rate in groups]
    optimizers = [tf_keras.optimizers.Adam(schedule) for schedule in schedules]
    for optimizer, (group, _) in zip(optimizers, groups, strict=True):
        optimizer.build(group)
    of_batch = objective(request)
    everything = [variable for group, _ in groups for variable in group]

    @tf.function(reduce_retracing=True, autograph=False)
    def step(inputs, targets, weights):
        with tf.GradientTape() as tape:
            loss = of_batch(inputs, targets, weights, tf.nest.flatten(model(inputs, training=True)))
        gradients = iter(tape.gradient(loss, everything))
        for optimizer, (group, _) in zip(optimizers, groups, strict=True):
            optimizer.apply_gradients([(next(gradients), variable) for variable in group])
        return loss

    if callback is not None:
        callback.set_model(model)
        callback.on_train_begin()
    history: History = []
    total = 0.0
    for done, batch in enumerate(connection.batches(), start=1):
        parts = (batch.inputs, batch.targets, batch.weights)
        total += float(step(*([tf.constant(array) for array in arrays] for arrays in parts)))
        epoch, within = divmod(done, per_epoch)
        connection.progress(request.task, done, per_epoch * epochs, loss=total / (within or per_epoch))
        if within == 0:
            history.append({"epoch": epoch, "loss": total / per_epoch})
            total = 0.0
            if callback is not None:
                callback.on_epoch_end(epoch)
    return history


def results(layers: Mapping[str, OperationLayer]) -> Arrays:
    """All weights as they are now, named as `Graph.weights` names them."""
    return {f"{name}:{role}": array for name, layer in layers.items() for role, array in layer.result().items()}
