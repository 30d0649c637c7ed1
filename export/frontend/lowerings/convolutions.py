"""Convolutions and dense layers."""

from __future__ import annotations

from typing import Any

from keras import layers

from export.errors import InputError
from export.frontend.builder import Builder, register_bridge
from export.frontend.lowerings.layout import channels_last


@register_bridge(layers.Conv2D)
@channels_last
def _conv2d(build: Builder, layer: Any, x: str) -> str:
    """Depthwise where each channel is a group, which runs many times faster."""
    channels = build.shape_of(x)[-1]
    weights = {"kernel": layer.kernel, "bias": layer.bias}
    settings = {"strides": list(layer.strides), "padding": layer.padding, "dilation": list(layer.dilation_rate)}
    if layer.groups == channels > 1 and len(set(layer.strides)) == 1:
        shapes = {"kernel": (*layer.kernel_size, channels, layer.filters // channels)}
        x = build.add("depthwise_conv2d", x, weights=weights, shapes=shapes, **settings)
    else:
        x = build.add("conv2d", x, weights=weights, groups=layer.groups, **settings)
    return build.activation(x, layer.activation)


@register_bridge(layers.Conv1D)
@channels_last
def _conv1d(build: Builder, layer: Any, x: str) -> str:
    """A convolution of images that are one pixel high."""
    (stride,), (dilation,), padding = layer.strides, layer.dilation_rate, layer.padding
    x = build.reshape(x, (1, *build.shape_of(x)))
    if padding == "causal":
        before = dilation * (layer.kernel_size[0] - 1)
        height, length, channels = build.shape_of(x)
        x = build.add("pad", x, shape=(height, length + before, channels), padding=[[0, 0], [before, 0]])
        padding = "valid"
    x = build.add(
        "conv2d",
        x,
        weights={"kernel": layer.kernel, "bias": layer.bias},
        shapes={"kernel": (1, *layer.kernel.shape)},
        shape=(1, *build.shape),
        strides=[1, stride],
        padding=padding,
        dilation=[1, dilation],
        groups=layer.groups,
    )
    return build.activation(build.reshape(x, build.shape), layer.activation)


@register_bridge(layers.DepthwiseConv2D)
@channels_last
def _depthwise_conv2d(build: Builder, layer: Any, x: str) -> str:
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
@channels_last
def _separable_conv2d(build: Builder, layer: Any, x: str) -> str:
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


@register_bridge(layers.Conv2DTranspose)
@channels_last
def _conv2d_transpose(build: Builder, layer: Any, x: str) -> str:
    if layer.output_padding is not None or max(layer.dilation_rate) > 1:
        raise InputError("a transposed convolution with output_padding or dilation is not supported; leave them out")
    x = build.add(
        "conv2d_transpose",
        x,
        weights={"kernel": layer.kernel, "bias": layer.bias},
        axes_of={"kernel": (0, 1, 3, 2)},  # Keras has the output channels third
        strides=list(layer.strides),
        padding=layer.padding,
        groups=1,
    )
    return build.activation(x, layer.activation)


@register_bridge(layers.Dense)
def _dense(build: Builder, layer: Any, x: str) -> str:
    x = build.add("dense", x, weights={"kernel": layer.kernel, "bias": layer.bias})
    return build.activation(x, layer.activation)
