"""Convolutions of sequences, images and volumes, transposed and separable ones, and dense layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import layers

from export.errors import InputError
from export.frontend.builder import Builder, register_bridge, register_operation, to_numpy
from export.frontend.lowerings.layout import channels_last


@register_bridge(layers.Conv1D, layers.Conv2D, layers.Conv3D)
@channels_last
def _convolution_layer(build: Builder, layer: Any, x: str) -> str:
    x = convolution(build, x, layer.kernel, layer.bias, layer.strides, layer.padding, layer.dilation_rate)
    return build.activation(x, layer.activation)


@register_operation("Conv")
@channels_last
def _convolution(build: Builder, operation: Any, x: str, kernel: Any) -> str:
    return convolution(build, x, _known(kernel), None, operation.strides, operation.padding, operation.dilation_rate)


@register_bridge(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
@channels_last
def _depthwise_layer(build: Builder, layer: Any, x: str) -> str:
    x = depthwise(build, x, layer.kernel, layer.bias, layer.strides, layer.padding, layer.dilation_rate, build.shape)
    return build.activation(x, layer.activation)


@register_operation("DepthwiseConv")
@channels_last
def _depthwise(build: Builder, operation: Any, x: str, kernel: Any) -> str:
    options = operation.strides, operation.padding, operation.dilation_rate
    return depthwise(build, x, _known(kernel), None, *options, build.shape)


@register_bridge(layers.SeparableConv1D, layers.SeparableConv2D)
@channels_last
def _separable_layer(build: Builder, layer: Any, x: str) -> str:
    options = layer.strides, layer.padding, layer.dilation_rate
    x = _separable(build, x, layer.depthwise_kernel, layer.pointwise_kernel, layer.bias, *options)
    return build.activation(x, layer.activation)


@register_operation("SeparableConv")
@channels_last
def _separable_convolution(build: Builder, operation: Any, x: str, depthwise_kernel: Any, pointwise_kernel: Any) -> str:
    options = operation.strides, operation.padding, operation.dilation_rate
    return _separable(build, x, _known(depthwise_kernel), _known(pointwise_kernel), None, *options)


@register_bridge(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
@channels_last
def _transposed_layer(build: Builder, layer: Any, x: str) -> str:
    options = layer.strides, layer.padding, layer.dilation_rate, layer.output_padding
    return build.activation(transposed(build, x, layer.kernel, layer.bias, *options), layer.activation)


@register_operation("ConvTranspose")
@channels_last
def _transposed_convolution(build: Builder, operation: Any, x: str, kernel: Any) -> str:
    options = operation.strides, operation.padding, operation.dilation_rate, operation.output_padding
    return transposed(build, x, _known(kernel), None, *options)


@register_bridge(layers.Dense)
def _dense(build: Builder, layer: Any, x: str) -> str:
    x = build.add("dense", x, weights={"kernel": layer.kernel, "bias": layer.bias})
    return build.activation(x, layer.activation)


def _known(kernel: Any) -> Any:
    if isinstance(kernel, str):
        raise InputError("its kernel is computed from tensors; give it a constant or a weight")
    return kernel


def convolution(build: Builder, x: str, kernel: Any, bias: Any, strides: Any, padding: str, dilation: Any) -> str:
    """Append a convolution with the kernel (…, channels of a group, filters), of the output's shape."""
    size, channels = tuple(kernel.shape[:-2]), build.shape_of(x)[-1]
    strides, dilation = _each(strides, size), _each(dilation, size)
    groups = channels // kernel.shape[-2]
    if len(size) == 3:
        return _of_volumes(build, x, kernel, bias, strides, padding, dilation)
    if padding == "causal":
        before = dilation[0] * (size[0] - 1)
        length = build.shape_of(x)[0] + before
        x = build.add("pad", x, shape=(length, channels), padding=[[before, 0]])
        padding = "valid"
    if groups == channels > 1 and len(set(strides)) == 1 and len(size) == 2:  # as one it runs many times faster
        return depthwise(build, x, kernel, bias, strides, padding, dilation, build.shape)
    settings = {"strides": list(strides), "padding": padding, "dilation": list(dilation), "groups": groups}
    return _as_image(build, "conv2d", x, {"kernel": kernel, "bias": bias}, build.shape, settings)


def depthwise(
    build: Builder,
    x: str,
    kernel: Any,
    bias: Any,
    strides: Any,
    padding: str,
    dilation: Any,
    shape: Sequence[int],
) -> str:
    """Append a convolution of each channel alone; the kernel is (…, channels, multiplier), or `convolution`'s."""
    size, channels = tuple(kernel.shape[:-2]), build.shape_of(x)[-1]
    settings = {"strides": list(_each(strides, size)), "padding": padding, "dilation": list(_each(dilation, size))}
    shapes = {"kernel": (*size, channels, kernel.shape[-2] * kernel.shape[-1] // channels)}
    return _as_image(build, "depthwise_conv2d", x, {"kernel": kernel, "bias": bias}, shape, settings, shapes)


def _as_image(
    build: Builder,
    kind: str,
    x: str,
    weights: dict[str, Any],
    shape: Sequence[int],
    settings: dict[str, Any],
    shapes: dict[str, tuple[int, ...]] | None = None,
    axes_of: dict[str, tuple[int, ...]] | None = None,
) -> str:
    """Append a convolution; a sequence is an image that is one pixel high."""
    shapes = shapes or {}
    if len(shape) == 3:
        return build.add(kind, x, weights=weights, shapes=shapes, axes_of=axes_of, shape=shape, **settings)
    kernel = weights["kernel"]
    order = (axes_of or {}).get("kernel", range(len(kernel.shape)))
    shapes = {"kernel": (1, *(shapes.get("kernel") or (kernel.shape[axis] for axis in order)))}
    for name in ("strides", "dilation"):
        if name in settings:
            settings[name] = [1, *settings[name]]
    if kind == "depthwise_conv2d":  # TFLite takes the same stride both ways, and here there is only one row
        settings["strides"] = [settings["strides"][1]] * 2
    x = build.reshape(x, (1, *build.shape_of(x)))
    y = build.add(kind, x, weights=weights, shapes=shapes, axes_of=axes_of, shape=(1, *shape), **settings)
    return build.reshape(y, shape)


def _separable(
    build: Builder,
    x: str,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    bias: Any,
    strides: Any,
    padding: str,
    dilation: Any,
) -> str:
    channels = depthwise_kernel.shape[-2] * depthwise_kernel.shape[-1]
    if padding == "causal":
        before = _each(dilation, (1,))[0] * (depthwise_kernel.shape[0] - 1)
        length = build.shape_of(x)[0] + before
        x = build.add("pad", x, shape=(length, build.shape_of(x)[1]), padding=[[before, 0]])
        padding = "valid"
    inner = (*build.shape[:-1], channels)
    x = depthwise(build, x, depthwise_kernel, None, strides, padding, dilation, inner)
    return convolution(build, x, pointwise_kernel, bias, 1, "valid", 1)


def _of_volumes(
    build: Builder,
    x: str,
    kernel: Any,
    bias: Any,
    strides: Sequence[int],
    padding: str,
    dilation: Sequence[int],
) -> str:
    """A convolution of one image for all depths, since TFLite's own of volumes has no 8-bit kernel.

    The depths that the kernel sees at once stand beside each other as channels, and the images of the output's
    depths below each other, with rows between them that are left out of the result.
    """
    size, filters = kernel.shape[:3], kernel.shape[-1]
    if kernel.shape[3] != build.shape_of(x)[-1]:
        raise InputError("a convolution of volumes in groups is not supported; leave groups out")
    reach = [(width - 1) * step + 1 for width, step in zip(size, dilation, strict=True)]
    if padding == "same":
        pairs = [
            _same_padding(whole, width, step)
            for whole, width, step in zip(build.shape_of(x), reach, strides, strict=False)
        ]
        x = _padded(build, x, pairs)
    depth, height, width, channels = build.shape_of(x)
    depths = (depth - reach[0]) // strides[0] + 1
    last = (depths - 1) * strides[0] + 1
    seen = [
        build.add(
            "strided_slice",
            x,
            shape=(depths, height, width, channels),
            slices=[[start, start + last, strides[0]]],
        )
        for start in range(0, reach[0], dilation[0])
    ]
    x = (
        build.add("concatenate", *seen, shape=(depths, height, width, channels * size[0]), axis=4)
        if len(seen) > 1
        else seen[0]
    )
    rows = -(-height // strides[1]) * strides[1]
    x = _padded(build, x, [[0, 0], [0, rows - height]])
    x = build.reshape(x, (depths * rows, width, channels * size[0]))
    x = _padded(build, x, [[0, max(0, reach[1] - strides[1])]])
    columns = (width - reach[2]) // strides[2] + 1
    steps = rows // strides[1]
    x = build.add(
        "conv2d",
        x,
        weights={"kernel": kernel, "bias": bias},
        axes_of={"kernel": (1, 2, 0, 3, 4)},
        shapes={"kernel": (*size[1:], size[0] * channels, filters)},
        shape=(depths * steps, columns, filters),
        strides=list(strides[1:]),
        padding="valid",
        dilation=list(dilation[1:]),
        groups=1,
    )
    x = build.reshape(x, (depths, steps, columns, filters))
    if steps == build.shape[1]:
        return x
    return build.add("strided_slice", x, slices=[[None, None, 1], [0, build.shape[1], 1]])


def _same_padding(whole: int, reach: int, stride: int) -> list[int]:
    lacking = max(0, (-(-whole // stride) - 1) * stride + reach - whole)
    return [lacking // 2, lacking - lacking // 2]


def _padded(build: Builder, x: str, pairs: Sequence[Sequence[int]]) -> str:
    """Append zeros around the first axes, or take rows off where a number is below zero."""
    if not np.any(pairs):
        return x
    shape = list(build.shape_of(x))
    cut = [[max(0, -before), size - max(0, -after), 1] for (before, after), size in zip(pairs, shape, strict=False)]
    if np.min(pairs) < 0:
        shape[: len(cut)] = [stop - start for start, stop, _ in cut]
        x = build.add("strided_slice", x, shape=shape, slices=cut)
    positive = np.maximum(pairs, 0).tolist()
    shape[: len(positive)] = [size + sum(pair) for size, pair in zip(shape, positive, strict=False)]
    return build.add("pad", x, shape=shape, padding=positive) if np.any(positive) else x


def transposed(
    build: Builder,
    x: str,
    kernel: Any,
    bias: Any,
    strides: Any,
    padding: str,
    dilation: Any,
    output_padding: Any,
) -> str:
    """Append a transposed convolution; Keras's kernel has the output channels before the input channels."""
    size = tuple(kernel.shape[:-2])
    strides, dilation = _each(strides, size), _each(dilation, size)
    weights = {"kernel": kernel, "bias": bias}
    rank = len(size)
    if rank < 3 and output_padding is None and max(dilation) == 1:
        swapped = {"kernel": (*range(rank), rank + 1, rank)}
        settings = {"strides": list(strides), "padding": padding, "groups": 1}
        return _as_image(build, "conv2d_transpose", x, weights, build.shape, settings, axes_of=swapped)
    extra = [None] * rank if output_padding is None else _each(output_padding, size)
    pairs = [
        _transposed_padding((width - 1) * step + 1, stride, padding, more)
        for width, step, stride, more in zip(size, dilation, strides, extra, strict=True)
    ]
    spread = _padded(build, _spread(build, x, strides), pairs)
    flipped = to_numpy(kernel)[(slice(None, None, -1),) * rank].swapaxes(-1, -2)
    return convolution(build, spread, flipped, None if bias is None else to_numpy(bias), 1, "valid", dilation)


def _spread(build: Builder, x: str, strides: Sequence[int]) -> str:
    """Zeros between the numbers along each axis, so that each takes a stride's place."""
    for axis, stride in enumerate(strides):
        if stride == 1:
            continue
        shape = build.shape_of(x)
        before, size, after = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
        rows = build.reshape(x, (before, size, 1, after))
        rows = build.add("pad", rows, shape=(before, size, stride, after), padding=[[0, 0], [0, 0], [0, stride - 1]])
        x = build.reshape(rows, (*shape[:axis], size * stride, *shape[axis + 1 :]))
        x = _padded(build, x, [*[[0, 0]] * axis, [0, 1 - stride]])
    return x


def _transposed_padding(reach: int, stride: int, padding: str, extra: int | None) -> list[int]:
    """Zeros around what was spread, so that the output has the size that Keras gives it."""
    if padding == "valid":
        return [reach - 1, reach - 1 + (max(reach, stride) - reach if extra is None else extra)]
    total = stride + reach - 2 if extra is None else reach + reach % 2 - 2 + extra
    before = min(total // 2 + total % 2, reach - 1)
    return [before, total - before]


def _each(value: Any, size: Sequence[int]) -> tuple[int, ...]:
    """A number for each axis."""
    return (value,) * len(size) if isinstance(value, int) else tuple(int(each) for each in value)
