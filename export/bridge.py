"""From Keras 3 layers to the operations of the neutral graph, under any backend.

`register_bridge` teaches the exporter a layer of yours:

    @register_bridge(MyScale)
    def my_scale(build, layer, x):
        return build.add("multiply", x, weights={"factor": layer.scale})

The function gets a `Builder`, the layer, and the layer's call arguments with tensors replaced by
names; it returns the name of its output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from export.errors import InputError, UnsupportedLayerError
from export.graph import Graph, Operation, constant
from keras_classics.graph import Call, Tensor, walk

Bridge = Callable[..., str]
_LAYERS: dict[type, Bridge] = {}
_OPERATIONS: dict[str, Bridge] = {}


def register_bridge(*layer_classes: type) -> Callable[[Bridge], Bridge]:
    """Decorator: the function rewrites layers of these classes, and of their subclasses.

    A bridge of a more derived class wins; registering a class again replaces its bridge.
    """

    def register(bridge: Bridge) -> Bridge:
        _LAYERS.update(dict.fromkeys(layer_classes, bridge))
        return bridge

    return register


def _register_operation(*class_names: str) -> Callable[[Bridge], Bridge]:
    """The same for `keras.ops` in a functional model; their classes are not public, their names are stable."""

    def register(bridge: Bridge) -> Bridge:
        _OPERATIONS.update(dict.fromkeys(class_names, bridge))
        return bridge

    return register


def read_graph(model: keras.Model) -> Graph:
    """Read a functional or Sequential model, nested models opened.

    Raises:
        UnsupportedLayerError: no bridge knows a layer.
        InputError: the model has no graph, or is not channels-last.
    """
    try:
        walked = walk(model)
    except ValueError as error:
        raise InputError(str(error)) from error
    build = Builder(model.name)
    names = {
        tensor.number: build.input(keras_input.name, tensor)
        for keras_input, tensor in zip(model.inputs, walked.inputs, strict=True)
    }
    for call in walked.calls:
        names[call.outputs[0].number] = build.call(call, names)
    return build.finish([names[tensor.number] for tensor in walked.outputs])


class Builder:
    """Collects operations while a model is read."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._operations: dict[str, Operation] = {}
        self._inputs: list[str] = []
        self._scope = ""
        self._shape: tuple[int, ...] = ()

    def input(self, name: str, tensor: Tensor) -> str:
        """An input of the model."""
        operation = Operation(self._unique(name), "input", [], _fixed(tensor.shape[1:], f"input {name!r}"))
        self._operations[operation.name] = operation
        self._inputs.append(operation.name)
        return operation.name

    def call(self, call: Call, names: Mapping[int, str]) -> str:
        """Rewrite one call of a layer or operation; returns the name of its output."""
        layer = call.operation
        bridge = _find(layer)
        path = "/".join((*call.scope, layer.name))
        if bridge is None or len(call.outputs) != 1:
            known = isinstance(layer, layers.Layer)
            mend = (
                f"teach it one with export.register_bridge({type(layer).__name__}), or"
                if known
                else "make it a layer with a bridge, or"
            )
            raise UnsupportedLayerError(
                f"{'layer' if known else 'operation'} {path!r} ({type(layer).__name__}) has no bridge to TFLite; "
                f"{mend} replace it"
            )
        self._scope, self._shape = path, _fixed(call.outputs[0].shape[1:], f"layer {path!r}")
        args, kwargs = keras.tree.map_structure(
            lambda leaf: names[leaf.number] if isinstance(leaf, Tensor) else leaf, (call.args, call.kwargs)
        )
        kwargs = {key: value for key, value in kwargs.items() if key not in ("training", "mask") and value is not None}
        try:
            return bridge(self, layer, *args, **kwargs)
        except InputError as error:
            raise UnsupportedLayerError(f"layer {path!r} ({type(layer).__name__}): {error}") from error

    def add(
        self,
        kind: str,
        *inputs: str,
        weights: Mapping[str, Any] | None = None,
        shape: Sequence[int] | None = None,
        **attributes: Any,
    ) -> str:
        """Append an operation and return its name.

        Args:
            kind: a kind of `export.worker.operations`.
            *inputs: names that earlier calls returned.
            weights: Keras variables or arrays by role; None values are left out.
            shape: of the output without batch; the layer's output shape if not given.
            **attributes: JSON values that the kind needs.
        """
        given = {role: value for role, value in (weights or {}).items() if value is not None}
        name = self._unique(self._scope)
        self._operations[name] = Operation(
            name,
            kind,
            list(inputs),
            tuple(self._shape if shape is None else shape),
            attributes,
            {role: constant(_numpy(value)) for role, value in given.items()},
            {role: value for role, value in given.items() if isinstance(value, keras.Variable)},
        )
        return name

    def activation(self, x: str, function: Any) -> str:
        """Append a Keras activation function, given as a function, a layer or a name; None is linear."""
        if isinstance(function, layers.Layer):
            return self._delegate(function, x)
        name = (
            function if isinstance(function, str) else getattr(function, "__name__", "linear" if not function else "")
        )
        if name == "linear":
            return x
        if name not in ACTIVATIONS:
            raise InputError(f"activation {name!r} is not known; use one of {', '.join(sorted(ACTIVATIONS))}")
        if name == "silu":  # TFLite has no such operator, and int8 needs a range for each of its two
            return self.add("multiply", x, self.add("activation", x, function="sigmoid"))
        if name == "hard_sigmoid":
            shifted = self.activation(self.add("add", x, weights={"term": 3.0}), "relu6")
            return self.add("multiply", shifted, weights={"factor": 1 / 6})
        return self.add("activation", x, function=name)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Shape of an operation's output, without batch."""
        return self._operations[name].shape

    def finish(self, outputs: list[str]) -> Graph:
        """The graph."""
        return Graph(self._name, self._operations, self._inputs, outputs)

    def _delegate(self, layer: layers.Layer, x: str) -> str:
        bridge = _find(layer)
        if bridge is None:
            raise InputError(f"its activation {type(layer).__name__} has no bridge")
        return bridge(self, layer, x)

    def _unique(self, name: str) -> str:
        name = name.replace(":", "_")
        if name not in self._operations:
            return name
        number = 1
        while f"{name}/{number}" in self._operations:
            number += 1
        return f"{name}/{number}"


def _find(operation: Any) -> Bridge | None:
    if isinstance(operation, layers.Layer):
        return next((_LAYERS[base] for base in type(operation).__mro__ if base in _LAYERS), None)
    return _OPERATIONS.get(type(operation).__name__)


def _numpy(value: Any) -> Any:
    return (
        keras.ops.convert_to_numpy(value) if isinstance(value, keras.Variable) or keras.ops.is_tensor(value) else value
    )


ACTIVATIONS = {
    "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "softplus", "softsign", "exponential",
    "sigmoid", "tanh", "softmax", "silu", "hard_sigmoid", "hard_silu",
}  # fmt: skip


@register_bridge(layers.Conv2D)
def _conv2d(build: Builder, layer: Any, x: str) -> str:
    _channels_last(layer)
    weights = {"kernel": layer.kernel, "bias": layer.bias}
    x = build.add(
        "conv2d",
        x,
        weights=weights,
        strides=list(layer.strides),
        padding=layer.padding,
        dilation=list(layer.dilation_rate),
        groups=layer.groups,
    )
    return build.activation(x, layer.activation)


@register_bridge(layers.DepthwiseConv2D)
def _depthwise_conv2d(build: Builder, layer: Any, x: str) -> str:
    _channels_last(layer)
    weights = {"kernel": layer.kernel, "bias": layer.bias}
    x = build.add(
        "depthwise_conv2d",
        x,
        weights=weights,
        strides=list(layer.strides),
        padding=layer.padding,
        dilation=list(layer.dilation_rate),
    )
    return build.activation(x, layer.activation)


@register_bridge(layers.SeparableConv2D)
def _separable_conv2d(build: Builder, layer: Any, x: str) -> str:
    _channels_last(layer)
    channels = layer.depthwise_kernel.shape[2] * layer.depthwise_kernel.shape[3]
    x = build.add(
        "depthwise_conv2d",
        x,
        weights={"kernel": layer.depthwise_kernel},
        shape=(*build._shape[:2], channels),
        strides=list(layer.strides),
        padding=layer.padding,
        dilation=list(layer.dilation_rate),
    )
    weights = {"kernel": layer.pointwise_kernel, "bias": layer.bias}
    x = build.add("conv2d", x, weights=weights, strides=[1, 1], padding="valid", dilation=[1, 1], groups=1)
    return build.activation(x, layer.activation)


@register_bridge(layers.Dense)
def _dense(build: Builder, layer: Any, x: str) -> str:
    x = build.add("dense", x, weights={"kernel": layer.kernel, "bias": layer.bias})
    return build.activation(x, layer.activation)


@register_bridge(layers.BatchNormalization)
def _batch_normalization(build: Builder, layer: Any, x: str) -> str:
    axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
    if axis not in (-1, len(build.shape_of(x))):
        raise InputError("it normalizes another axis than the last; only channels-last models can be exported")
    weights = {"gamma": layer.gamma, "beta": layer.beta, "mean": layer.moving_mean, "variance": layer.moving_variance}
    return build.add("batch_normalization", x, weights=weights, epsilon=layer.epsilon)


@register_bridge(layers.ReLU)
def _relu(build: Builder, layer: Any, x: str) -> str:
    if layer.threshold:
        raise InputError("ReLU with a threshold is not supported; use threshold=0")
    limit = None if layer.max_value is None else float(layer.max_value)
    if layer.negative_slope:
        if limit is not None:
            raise InputError("ReLU with both negative_slope and max_value is not supported")
        return build.add("activation", x, function="leaky_relu", slope=float(layer.negative_slope))
    if limit is None or limit == 6:
        return build.activation(x, "relu" if limit is None else "relu6")
    return build.add("activation", x, function="relu_limited", limit=limit)


@register_bridge(layers.LeakyReLU)
def _leaky_relu(build: Builder, layer: Any, x: str) -> str:
    return build.add("activation", x, function="leaky_relu", slope=float(layer.negative_slope))


@register_bridge(layers.Activation)
def _activation(build: Builder, layer: Any, x: str) -> str:
    return build.activation(x, layer.activation)


@register_bridge(layers.Softmax)
def _softmax(build: Builder, layer: Any, x: str) -> str:
    if layer.axis not in (-1, len(build.shape_of(x))):
        raise InputError("softmax over another axis than the last is not supported")
    return build.activation(x, "softmax")


@register_bridge(layers.Dropout, layers.SpatialDropout2D, layers.GaussianNoise, layers.GaussianDropout)
@register_bridge(layers.Identity, layers.ActivityRegularization)
def _identity(build: Builder, layer: Any, x: str) -> str:
    return x


@register_bridge(layers.MaxPooling2D)
def _max_pool(build: Builder, layer: Any, x: str) -> str:
    return _pool(build, layer, x, "max_pool")


@register_bridge(layers.AveragePooling2D)
def _average_pool(build: Builder, layer: Any, x: str) -> str:
    return _pool(build, layer, x, "average_pool")


def _pool(build: Builder, layer: Any, x: str, kind: str) -> str:
    _channels_last(layer)
    return build.add(kind, x, size=list(layer.pool_size), strides=list(layer.strides), padding=layer.padding)


@register_bridge(layers.GlobalAveragePooling2D)
def _global_average_pool(build: Builder, layer: Any, x: str) -> str:
    _channels_last(layer)
    return build.add("mean", x, axes=[1, 2], keepdims=layer.keepdims)


@register_bridge(layers.GlobalMaxPooling2D)
def _global_max_pool(build: Builder, layer: Any, x: str) -> str:
    _channels_last(layer)
    return build.add("maximum_over", x, axes=[1, 2], keepdims=layer.keepdims)


@register_bridge(layers.Flatten)
def _flatten(build: Builder, layer: Any, x: str) -> str:
    return build.add("reshape", x, shape=(math.prod(build.shape_of(x)),))


@register_bridge(layers.Reshape)
def _reshape(build: Builder, layer: Any, x: str) -> str:
    return build.add("reshape", x)


@register_bridge(layers.ZeroPadding2D)
def _zero_padding(build: Builder, layer: Any, x: str) -> str:
    _channels_last(layer)
    return build.add("pad", x, padding=[list(pair) for pair in layer.padding])


@register_bridge(layers.Add)
def _add_layer(build: Builder, layer: Any, inputs: list[str]) -> str:
    return _chain(build, "add", inputs)


@register_bridge(layers.Multiply)
def _multiply_layer(build: Builder, layer: Any, inputs: list[str]) -> str:
    return _chain(build, "multiply", inputs)


@register_bridge(layers.Concatenate)
def _concatenate(build: Builder, layer: Any, inputs: list[str]) -> str:
    rank = len(build._shape) + 1
    return build.add("concatenate", *inputs, axis=layer.axis % rank)


@register_bridge(layers.Rescaling)
def _rescaling(build: Builder, layer: Any, x: str) -> str:
    x = build.add("multiply", x, weights={"factor": np.asarray(layer.scale, np.float32)})
    return build.add("add", x, weights={"term": np.asarray(layer.offset, np.float32)}) if np.any(layer.offset) else x


@register_bridge(layers.Normalization)
def _normalization(build: Builder, layer: Any, x: str) -> str:
    mean, variance = (np.asarray(_numpy(value), np.float64).reshape(-1) for value in (layer.mean, layer.variance))
    factor = 1 / np.maximum(np.sqrt(variance), 1e-7)
    if layer.invert:
        x = build.add("multiply", x, weights={"factor": 1 / factor})
        return build.add("add", x, weights={"term": mean})
    x = build.add("multiply", x, weights={"factor": factor})
    return build.add("add", x, weights={"term": -mean * factor})


@_register_operation("Add")
def _add_operation(build: Builder, operation: Any, a: Any, b: Any) -> str:
    return _binary(build, "add", "term", a, b)


@_register_operation("Multiply")
def _multiply_operation(build: Builder, operation: Any, a: Any, b: Any) -> str:
    return _binary(build, "multiply", "factor", a, b)


@_register_operation("Relu", "Relu6", "Sigmoid", "Tanh", "Silu", "Elu", "Selu", "Softplus", "HardSigmoid", "HardSilu")
def _activation_operation(build: Builder, operation: Any, x: str) -> str:
    names = {"HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu"}
    kind = type(operation).__name__
    return build.activation(x, names.get(kind, kind.lower()))


def _binary(build: Builder, kind: str, role: str, a: Any, b: Any) -> str:
    if isinstance(a, str) and isinstance(b, str):
        return build.add(kind, a, b)
    tensor, value = (a, b) if isinstance(a, str) else (b, a)
    return build.add(kind, tensor, weights={role: value})


def _chain(build: Builder, kind: str, inputs: list[str]) -> str:
    result = inputs[0]
    for other in inputs[1:]:
        result = build.add(kind, result, other)
    return result


def _channels_last(layer: Any) -> None:
    if layer.data_format != "channels_last":
        raise InputError(
            "it is channels-first; build the model with keras.config.set_image_data_format('channels_last')"
        )


def _fixed(shape: tuple[int | None, ...], what: str) -> tuple[int, ...]:
    sizes = tuple(size for size in shape if size is not None)
    if len(sizes) < len(shape):
        raise InputError(f"{what} has the open shape {shape}; build the model with a fixed input shape")
    return sizes
