"""Layers and operations that move numbers and leave them as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from keras import layers

from export.errors import InputError
from export.frontend.builder import Builder, register_bridge, register_operation
from export.frontend.lowerings.layout import channels_last, transpose
from export.frontend.lowerings.selection import axis_of, take

INTERPOLATIONS = ("nearest", "bilinear")


@register_bridge(layers.Flatten)
@channels_last
def _flatten(build: Builder, layer: Any, x: str) -> str:
    return build.reshape(x, (math.prod(build.shape_of(x)),))


@register_bridge(layers.Reshape)
def _reshape(build: Builder, layer: Any, x: str) -> str:
    return build.reshape(x, build.shape)


@register_bridge(layers.Permute)
def _permute(build: Builder, layer: Any, x: str) -> str:
    return transpose(build, x, [0, *layer.dims])


@register_bridge(layers.RepeatVector)
def _repeat_vector(build: Builder, layer: Any, x: str) -> str:
    return build.add("concatenate", *[build.reshape(x, (1, *build.shape_of(x)))] * layer.n, axis=1)


@register_bridge(layers.ZeroPadding2D, layers.ZeroPadding1D)
@channels_last
def _zero_padding(build: Builder, layer: Any, x: str) -> str:
    return build.add("pad", x, padding=_pairs(layer.padding))


@register_bridge(layers.Cropping2D, layers.Cropping1D)
@channels_last
def _cropping(build: Builder, layer: Any, x: str) -> str:
    sizes = build.shape_of(x)
    pairs = _pairs(layer.cropping)
    slices = [[before, size - after, 1] for (before, after), size in zip(pairs, sizes, strict=False)]
    return build.add("strided_slice", x, slices=slices)


def _pairs(values: Sequence[Any]) -> list[list[int]]:
    """One (before, after) for each axis; layers for sequences hold only the one pair."""
    return [list(values)] if isinstance(values[0], int) else [list(pair) for pair in values]


@register_bridge(layers.UpSampling2D, when=lambda layer: layer.interpolation in INTERPOLATIONS)
@channels_last
def _up_sampling(build: Builder, layer: Any, x: str) -> str:
    return resize(build, x, layer.interpolation)


def _plain(resizing: Any) -> bool:
    """Whether TFLite has an operator for it."""
    special = resizing.antialias or resizing.crop_to_aspect_ratio or resizing.pad_to_aspect_ratio
    return not special and resizing.interpolation in INTERPOLATIONS


@register_bridge(layers.Resizing, when=_plain)
@channels_last
def _resizing(build: Builder, layer: Any, x: str) -> str:
    return resize(build, x, layer.interpolation)


@register_operation("Resize", when=_plain)
@channels_last
def _resize(build: Builder, operation: Any, x: str) -> str:
    return resize(build, x, operation.interpolation)


def resize(build: Builder, x: str, interpolation: str) -> str:
    """Append a change of an image's height and width to those of the layer's output."""
    return build.add("resize", x, interpolation=interpolation)


@register_operation("Reshape", "Ravel", "Squeeze", "ExpandDims", "View")
def _reshaped(build: Builder, operation: Any, x: str) -> str:
    if math.prod(build.shape) != math.prod(build.shape_of(x)):
        raise InputError("it reshapes the batch axis; a file holds one sample at a time, so leave that as it is")
    return build.reshape(x, build.shape)


@register_operation("Transpose")
def _transpose(build: Builder, operation: Any, x: str) -> str:
    rank = len(build.shape_of(x)) + 1
    axes = [axis % rank for axis in operation.axes or range(rank - 1, -1, -1)]
    return transpose(build, x, _keeping_batch(axes))


@register_operation("Swapaxes")
def _swapaxes(build: Builder, operation: Any, x: str) -> str:
    axes = list(range(len(build.shape_of(x)) + 1))
    axes[operation.axis1], axes[operation.axis2] = axes[operation.axis2], axes[operation.axis1]
    return transpose(build, x, _keeping_batch(axes))


@register_operation("Moveaxis")
def _moveaxis(build: Builder, operation: Any, x: str) -> str:
    order = np.moveaxis(np.empty(range(len(build.shape_of(x)) + 1)), operation.source, operation.destination).shape
    return transpose(build, x, _keeping_batch(list(order)))


def _keeping_batch(axes: list[int]) -> list[int]:
    if axes[0] != 0:
        raise InputError("it moves the batch axis; a file holds one sample at a time, so leave that first")
    return axes


@register_operation("Pad", when=lambda operation: operation.mode == "constant")
def _pad(build: Builder, operation: Any, x: str, constant_values: Any = None) -> str:
    """Zeros, or a constant around what is shifted by it."""
    rank = len(build.shape_of(x)) + 1
    pairs = [[pair[0], pair[-1]] for pair in operation.pad_width]
    pairs = pairs * rank if len(pairs) == 1 else pairs
    if any(pairs[0]):
        raise InputError("it pads the batch axis; give that (0, 0)")
    value = 0.0 if constant_values is None else float(build.constant(constant_values))
    x = build.add("pad", build.shift(x, -value) if value else x, padding=pairs[1:])
    return build.shift(x, value) if value else x


@register_operation("Concatenate")
def _concatenate(build: Builder, operation: Any, inputs: list[Any]) -> str:
    return concatenate(build, inputs, operation.axis)


def concatenate(build: Builder, inputs: Sequence[Any], axis: int) -> str:
    """Append a concatenation of tensors and constants along an axis that counts from the batch's."""
    tensors = [build.cast(build.ranked(each, len(build.shape)), build.dtype) for each in inputs]
    return build.add("concatenate", *tensors, axis=axis_of(build, axis, tensors[0]))


@register_operation("Stack")
def _stack(build: Builder, operation: Any, inputs: list[Any]) -> str:
    rank = len(build.shape)
    axis = operation.axis % (rank + 1)
    if axis == 0:
        raise InputError("it stacks samples; a file holds one at a time, so name another axis")
    single = [*build.shape[: axis - 1], 1, *build.shape[axis:]]
    parts = [build.cast(build.ranked(x, rank - 1), build.dtype) for x in inputs]
    return build.add("concatenate", *[build.reshape(x, single) for x in parts], axis=axis)


@register_operation("Split")
def _split(build: Builder, operation: Any, x: str) -> list[str]:
    shape = build.shape_of(x)
    axis = axis_of(build, operation.axis, x)
    size, sections = shape[axis - 1], operation.indices_or_sections
    inner = range(size // sections, size, size // sections) if isinstance(sections, int) else sections
    ends = [0, *(int(index) % size for index in inner), size]
    everything = [[None, None, 1]] * (axis - 1)
    return [
        build.add(
            "strided_slice",
            x,
            shape=[*shape[: axis - 1], stop - start, *shape[axis:]],
            slices=[*everything, [start, stop, 1]],
        )
        for start, stop in pairwise(ends)
    ]


@register_operation("GetItem")
def _get_item(build: Builder, operation: Any, x: str, key: Any) -> str:
    shape = build.shape_of(x)
    keys = list(key) if isinstance(key, tuple) else [key]
    if not any(each is Ellipsis for each in keys):
        keys.append(Ellipsis)
    place = next(index for index, each in enumerate(keys) if each is Ellipsis)
    named = [each for each in keys if each is not None and each is not Ellipsis]
    keys[place : place + 1] = [slice(None)] * (len(shape) + 1 - len(named))
    batch, *rest = [each for each in keys if each is not None]
    if keys[0] is None or not isinstance(batch, slice) or batch != slice(None):
        raise InputError("it takes a part of the batch; a file holds one sample at a time, so begin with [:, …]")
    slices, sizes = [], []
    for axis, (each, size) in enumerate(zip(rest, shape, strict=True), 1):
        if isinstance(each, str):
            raise InputError("it takes places that are computed; name constant ones")
        if not isinstance(each, int | np.integer | slice):
            x = take(build, x, np.asarray(build.constant(each, 1)), axis)
            each, size = slice(None), build.shape_of(x)[axis - 1]
        if not isinstance(each, slice):
            each = slice(int(each) % size, int(each) % size + 1)
        start, stop, step = each.indices(size)
        slices.append([start, None if stop < 0 else stop, step])
        sizes.append(len(range(start, stop, step)))
    whole = tuple(sizes) == build.shape_of(x) and all(step == 1 for *_, step in slices)
    x = x if whole else build.add("strided_slice", x, shape=sizes, slices=slices)
    return build.reshape(x, build.shape)
