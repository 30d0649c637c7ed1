"""Keras's own layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import layers

from export.bridge import Builder, register_bridge, to_numpy
from export.errors import InputError


@register_bridge(layers.Conv2D)
def _conv2d(build: Builder, layer: Any, x: str) -> str:
    require_channels_last(layer)
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
    require_channels_last(layer)
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
    require_channels_last(layer)
    channels = layer.depthwise_kernel.shape[2] * layer.depthwise_kernel.shape[3]
    x = build.add(
        "depthwise_conv2d",
        x,
        weights={"kernel": layer.depthwise_kernel},
        shape=(*build.shape[:2], channels),
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
    require_channels_last(layer)
    return build.add(kind, x, size=list(layer.pool_size), strides=list(layer.strides), padding=layer.padding)


@register_bridge(layers.GlobalAveragePooling2D)
def _global_average_pool(build: Builder, layer: Any, x: str) -> str:
    require_channels_last(layer)
    return build.add("mean", x, axes=[1, 2], keepdims=layer.keepdims)


@register_bridge(layers.GlobalMaxPooling2D)
def _global_max_pool(build: Builder, layer: Any, x: str) -> str:
    require_channels_last(layer)
    return build.add("maximum_over", x, axes=[1, 2], keepdims=layer.keepdims)


@register_bridge(layers.Flatten)
def _flatten(build: Builder, layer: Any, x: str) -> str:
    return build.add("reshape", x, shape=(math.prod(build.shape_of(x)),))


@register_bridge(layers.Reshape)
def _reshape(build: Builder, layer: Any, x: str) -> str:
    return build.add("reshape", x)


@register_bridge(layers.ZeroPadding2D)
def _zero_padding(build: Builder, layer: Any, x: str) -> str:
    require_channels_last(layer)
    return build.add("pad", x, padding=[list(pair) for pair in layer.padding])


@register_bridge(layers.Add)
def _add_layer(build: Builder, layer: Any, inputs: list[str]) -> str:
    return _chain(build, "add", inputs)


@register_bridge(layers.Multiply)
def _multiply_layer(build: Builder, layer: Any, inputs: list[str]) -> str:
    return _chain(build, "multiply", inputs)


@register_bridge(layers.Concatenate)
def _concatenate(build: Builder, layer: Any, inputs: list[str]) -> str:
    rank = len(build.shape) + 1
    return build.add("concatenate", *inputs, axis=layer.axis % rank)


@register_bridge(layers.Rescaling)
def _rescaling(build: Builder, layer: Any, x: str) -> str:
    x = build.add("multiply", x, weights={"factor": np.asarray(layer.scale, np.float32)})
    return build.add("add", x, weights={"term": np.asarray(layer.offset, np.float32)}) if np.any(layer.offset) else x


@register_bridge(layers.Normalization)
def _normalization(build: Builder, layer: Any, x: str) -> str:
    mean, variance = (np.asarray(to_numpy(value), np.float64).reshape(-1) for value in (layer.mean, layer.variance))
    factor = 1 / np.maximum(np.sqrt(variance), 1e-7)
    if layer.invert:
        x = build.add("multiply", x, weights={"factor": 1 / factor})
        return build.add("add", x, weights={"term": mean})
    x = build.add("multiply", x, weights={"factor": factor})
    return build.add("add", x, weights={"term": -mean * factor})


def _chain(build: Builder, kind: str, inputs: list[str]) -> str:
    result = inputs[0]
    for other in inputs[1:]:
        result = build.add(kind, result, other)
    return result


def require_channels_last(layer: Any) -> None:
    """Refuse a channels-first layer, since TFLite has no such kernels."""
    if layer.data_format != "channels_last":
        raise InputError(
            "it is channels-first; build the model with keras.config.set_image_data_format('channels_last')"
        )
