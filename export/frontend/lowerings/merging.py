"""Layers that take several tensors to one."""

from __future__ import annotations

import functools
from typing import Any

from keras import layers

from export.errors import InputError
from export.frontend.builder import Builder, register_bridge
from export.frontend.lowerings.reductions import reduce


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
    return build.add("concatenate", *inputs, axis=layer.axis % (len(build.shape) + 1))


@register_bridge(layers.Dot)
def _dot(build: Builder, layer: Any, inputs: list[str]) -> str:
    a, b = inputs
    if layer.normalize or len(build.shape_of(a)) != 1 or len(build.shape_of(b)) != 1:
        raise InputError("only the product of two vectors is supported, without normalize; use keras.ops.matmul")
    return reduce(build, "sum", build.combine("multiply", a, b), 1, keepdims=True)


def _chain(build: Builder, kind: str, inputs: list[str]) -> str:
    return functools.reduce(functools.partial(build.combine, kind), inputs)
