"""Pooling, and what else takes many numbers to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import layers

from export.errors import InputError
from export.frontend.builder import Builder, register_bridge
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
    left = [1 if index in axes else size for index, size in enumerate(shape, 1) if keepdims or index not in axes]
    return build.add(REDUCTIONS[name], x, shape=left, axes=axes, keepdims=bool(keepdims))


def pool(build: Builder, kind: str, x: str, size: Sequence[int], strides: Sequence[int], padding: str) -> str:
    """Append a pooling of images (height, width, channels) or of sequences (length, channels)."""
    if len(size) == 2:
        return build.add(kind, x, size=list(size), strides=list(strides), padding=padding)
    if len(size) != 1:
        raise InputError("only images and sequences can be pooled")
    length, channels = build.shape
    x = build.reshape(x, (1, *build.shape_of(x)))
    x = build.add(kind, x, shape=(1, length, channels), size=[1, *size], strides=[1, *strides], padding=padding)
    return build.reshape(x, build.shape)


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
