"""Layers that take several tensors to one."""

from __future__ import annotations

import functools
from typing import Any

from keras import layers

from export.frontend import activations
from export.frontend.builder import Builder, register_bridge
from export.frontend.lowerings.products import einsum
from export.frontend.lowerings.reductions import reduce
from export.frontend.lowerings.shapes import concatenate

LEAST_NORM = 1e-7  # `keras.config.epsilon`


@register_bridge(layers.Add)
def _add(build: Builder, layer: Any, inputs: list[str]) -> str:
    return _chain(build, "add", inputs)


@register_bridge(layers.Subtract)
def _subtract(build: Builder, layer: Any, inputs: list[str]) -> str:
    return _chain(build, "subtract", inputs)


@register_bridge(layers.Multiply)
def _multiply(build: Builder, layer: Any, inputs: list[str]) -> str:
    return _chain(build, "multiply", inputs)


@register_bridge(layers.Average)
def _average(build: Builder, layer: Any, inputs: list[str]) -> str:
    return build.scale(_chain(build, "add", inputs), 1 / len(inputs))


@register_bridge(layers.Maximum)
def _maximum(build: Builder, layer: Any, inputs: list[str]) -> str:
    return _chain(build, "maximum", inputs)


@register_bridge(layers.Minimum)
def _minimum(build: Builder, layer: Any, inputs: list[str]) -> str:
    return _chain(build, "minimum", inputs)


@register_bridge(layers.Concatenate)
def _concatenate(build: Builder, layer: Any, inputs: list[str]) -> str:
    return concatenate(build, inputs, layer.axis)


@register_bridge(layers.Dot)
def _dot(build: Builder, layer: Any, inputs: list[str]) -> str:
    """Over one axis of each, which the product lacks; two vectors give one number."""
    shapes = [build.shape_of(x) for x in inputs]
    axes = [layer.axes] * 2 if isinstance(layer.axes, int) else list(layer.axes)
    axes = [axis % (len(shape) + 1) for axis, shape in zip(axes, shapes, strict=True)]
    a, b = (_normalized(build, x, axis) if layer.normalize else x for x, axis in zip(inputs, axes, strict=True))
    if len(shapes[0]) == len(shapes[1]) == 1:
        return reduce(build, "sum", build.combine("multiply", a, b), 1, keepdims=True)
    left, right = list("abcdefg"[: len(shapes[0]) + 1]), ["a", *"hijklm"[: len(shapes[1])]]
    right[axes[1]] = left[axes[0]]
    result = [label for label in (*left, *right[1:]) if label != left[axes[0]]]
    return einsum(build, f"{''.join(left)},{''.join(right)}->{''.join(result)}", a, b)


def _normalized(build: Builder, x: str, axis: int) -> str:
    """By the norm along an axis, or by the least one where it is less."""
    power = reduce(build, "sum", build.combine("multiply", x, x), axis, keepdims=True)
    power = build.add("maximum", power, weights={"limit": LEAST_NORM**2}, shape=build.shape_of(power))
    return build.combine("multiply", x, activations.function(build, power, "reciprocal_root"))


def _chain(build: Builder, kind: str, inputs: list[str]) -> str:
    return functools.reduce(functools.partial(build.combine, kind), inputs)
