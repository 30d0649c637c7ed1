"""Pooling, and what else takes many numbers to one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from keras import layers

from export.errors import InputError
from export.frontend.builder import Builder, register_bridge, register_operation
from export.frontend.lowerings.layout import channels_last

REDUCTIONS = {"mean": "mean", "sum": "sum_over", "max": "maximum_over", "min": "minimum_over"}


def reduce(build: Builder, name: str, x: str, axis: int | Sequence[int] | None, keepdims: bool = False) -> str:
    """Append a mean, sum, max or min over axes, which count from the batch's."""
    shape = build.shape_of(x)
    rank = len(shape) + 1
    given = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
    axes = sorted(each % rank for each in given)
    if 0 in axes:
        raise InputError("it works across the batch; a file holds one sample at a time, so name other axes")
    x = build.cast(x, build.dtype)
    left = [1 if index in axes else size for index, size in enumerate(shape, 1) if keepdims or index not in axes]
    return build.add(REDUCTIONS[name], x, shape=left, axes=axes, keepdims=bool(keepdims))


def pool(build: Builder, kind: str, x: str, size: Sequence[int], strides: Sequence[int], padding: str) -> str:
    """Append a pooling of images (height, width, channels), of sequences (length, channels), or of volumes.

    Of volumes it is taken along one axis after the other, which is the same.
    """
    if len(size) == 2:
        return build.add(kind, x, size=list(size), strides=list(strides), padding=padding)
    *lengths, channels = build.shape_of(x)
    after = build.shape[:-1]
    for axis, (width, step) in enumerate(zip(size, strides, strict=True)):
        others = math.prod(lengths[axis + 1 :])
        rows = build.reshape(x, (math.prod(lengths[:axis]), lengths[axis], others * channels))
        lengths[axis] = after[axis]
        shape = (math.prod(lengths[:axis]), after[axis], others * channels)
        x = build.add(kind, rows, shape=shape, size=[1, width], strides=[1, step], padding=padding)
    return build.reshape(x, build.shape)


@register_operation("Mean", "Sum", "Max", "Min", "Amax", "Amin")
def _reduction(build: Builder, operation: Any, x: str) -> str:
    name = type(operation).__name__.lower().removeprefix("a")
    x = reduce(build, name, x, operation.axis, operation.keepdims)
    initial = getattr(operation, "initial", None)
    limit = {"max": "maximum", "min": "minimum"}.get(name, "")
    return x if initial is None else build.add(limit, x, weights={"limit": initial})


@register_operation("MaxPool")
@channels_last
def _max_pool_of(build: Builder, operation: Any, x: str) -> str:
    return _pool_of(build, operation, x, "max_pool")


@register_operation("AveragePool")
@channels_last
def _average_pool_of(build: Builder, operation: Any, x: str) -> str:
    return _pool_of(build, operation, x, "average_pool")


def _pool_of(build: Builder, operation: Any, x: str, kind: str) -> str:
    rank = len(build.shape_of(x)) - 1
    size, strides = operation.pool_size, operation.strides
    strides = size if strides is None else strides
    size, strides = ([each] * rank if isinstance(each, int) else each for each in (size, strides))
    return pool(build, kind, x, size, strides, operation.padding)


@register_bridge(layers.MaxPooling2D, layers.MaxPooling1D)
@channels_last
def _max_pool(build: Builder, layer: Any, x: str) -> str:
    return pool(build, "max_pool", x, layer.pool_size, layer.strides, layer.padding)


@register_bridge(layers.AveragePooling2D, layers.AveragePooling1D)
@channels_last
def _average_pool(build: Builder, layer: Any, x: str) -> str:
    return pool(build, "average_pool", x, layer.pool_size, layer.strides, layer.padding)


@register_bridge(layers.GlobalAveragePooling2D, layers.GlobalAveragePooling1D)
@channels_last
def _global_average_pool(build: Builder, layer: Any, x: str) -> str:
    return reduce(build, "mean", x, range(1, len(build.shape_of(x))), layer.keepdims)


@register_bridge(layers.GlobalMaxPooling2D, layers.GlobalMaxPooling1D)
@channels_last
def _global_max_pool(build: Builder, layer: Any, x: str) -> str:
    return reduce(build, "max", x, range(1, len(build.shape_of(x))), layer.keepdims)
