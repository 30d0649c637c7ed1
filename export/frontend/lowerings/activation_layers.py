"""Activation functions that are layers."""

from __future__ import annotations

import math
from typing import Any

from keras import layers

from export.errors import InputError
from export.frontend import activations
from export.frontend.builder import Builder, register_bridge, to_numpy
from export.frontend.lowerings.layout import move_axis, transpose


@register_bridge(layers.Activation)
def _activation(build: Builder, layer: Any, x: str) -> str:
    return build.activation(x, layer.activation)


@register_bridge(layers.ReLU)
def _relu(build: Builder, layer: Any, x: str) -> str:
    return rectify(build, x, layer.negative_slope, layer.max_value, layer.threshold)


def rectify(build: Builder, x: str, slope: float, limit: float | None, threshold: float) -> str:
    """Append a ReLU with Keras's options."""
    if threshold:
        passed = build.add("compare", x, weights={"other": threshold}, dtype="bool", function="greater_equal")
        below = build.scale(build.shift(x, -threshold), slope)
        return build.add("select", passed, activations.clip(build, x, high=limit), below, dtype="float32")
    if slope:
        return activations.clip(build, activations.leaky_relu(build, x, slope), high=limit)
    return activations.clip(build, x, 0.0, limit)


@register_bridge(layers.LeakyReLU)
def _leaky_relu(build: Builder, layer: Any, x: str) -> str:
    return activations.leaky_relu(build, x, layer.negative_slope)


@register_bridge(layers.PReLU)
def _prelu(build: Builder, layer: Any, x: str) -> str:
    return build.add("prelu", x, weights={"slope": to_numpy(layer.alpha)})


@register_bridge(layers.ELU)
def _elu(build: Builder, layer: Any, x: str) -> str:
    return activations.elu(build, x, float(layer.alpha))


@register_bridge(layers.Softmax)
def _softmax(build: Builder, layer: Any, x: str) -> str:
    return softmax(build, x, layer.axis)


def softmax(build: Builder, x: str, axis: int | tuple[int, ...]) -> str:
    """Append a softmax over axes, which are moved to the end and back."""
    shape = build.shape_of(x)
    rank = len(shape) + 1
    axes = sorted(each % rank for each in ([axis] if isinstance(axis, int) else axis))
    if 0 in axes:
        raise InputError("it is a softmax across the batch; a file holds one sample at a time, so name other axes")
    if len(axes) == 1:
        moved = move_axis(build, x, axes[0], rank - 1)
        return move_axis(build, activations.function(build, moved, "softmax"), rank - 1, axes[0])
    order = [index for index in range(rank) if index not in axes] + axes
    rows = transpose(build, x, order)
    before = [size for index, size in enumerate(shape, 1) if index not in axes]
    flat = build.reshape(rows, (*before, math.prod(shape[index - 1] for index in axes)))
    back = build.reshape(activations.function(build, flat, "softmax"), build.shape_of(rows))
    return transpose(build, back, [order.index(index) for index in range(rank)])
