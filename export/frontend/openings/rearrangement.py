"""Moving numbers: flips, repetitions, windows and splits, by slices, reshapes and concatenations."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from export.frontend.opening import register_opening


@register_opening("Flip")
def _flip(operation: Any, x: Any) -> Any:
    axes = range(len(x.shape)) if operation.axis is None else np.atleast_1d(operation.axis)
    return functools.reduce(_reversed, [int(axis) for axis in axes], x)


@register_opening("Fliplr")
def _flip_left_right(operation: Any, x: Any) -> Any:
    return _reversed(x, 1)


def _reversed(x: Any, axis: int) -> Any:
    return x[(*[slice(None)] * (axis % len(x.shape)), slice(None, None, -1))]


@register_opening("Rot90")
def _rotate(operation: Any, x: Any) -> Any:
    first, second = operation.axes
    for _ in range(operation.k % 4):
        x = ops.swapaxes(_reversed(x, second), first, second)
    return x


@register_opening("Roll")
def _roll(operation: Any, x: Any) -> Any:
    if operation.axis is None:
        raise NotImplementedError("it rolls over the batch; name an axis")
    for shift, axis in zip(*np.broadcast_arrays(np.atleast_1d(operation.shift), operation.axis), strict=True):
        size = x.shape[axis]
        place = -int(shift) % size
        if place:
            x = ops.concatenate([_cut(x, axis, place, size), _cut(x, axis, 0, place)], axis=int(axis))
    return x


@register_opening("Repeat")
def _repeat(operation: Any, x: Any) -> Any:
    if operation.axis is None:
        raise NotImplementedError("it repeats over the batch; name an axis")
    axis, repeats = operation.axis % len(x.shape), np.asarray(operation.repeats)
    if repeats.size > 1:
        return ops.take(x, np.repeat(np.arange(x.shape[axis]), repeats), axis=axis)
    copies = ops.concatenate([ops.expand_dims(x, axis + 1)] * int(repeats), axis=axis + 1)
    return ops.reshape(copies, _sizes(x, {axis: x.shape[axis] * int(repeats)}))


@register_opening("Tile")
def _tile(operation: Any, x: Any) -> Any:
    repeats = np.atleast_1d(operation.repeats).tolist()
    repeats = [1] * (len(x.shape) - len(repeats)) + repeats
    x = ops.reshape(x, [*[1] * (len(repeats) - len(x.shape)), *_sizes(x, {})]) if len(repeats) > len(x.shape) else x
    for axis, count in enumerate(repeats):
        x = ops.concatenate([x] * int(count), axis=axis) if count != 1 else x
    return x


@register_opening("BroadcastTo")
def _broadcast_to(operation: Any, x: Any) -> Any:
    if len(operation.shape) != len(x.shape):
        raise NotImplementedError("it adds axes before the batch; use keras.ops.expand_dims first")
    for axis, (size, wanted) in enumerate(zip(x.shape, operation.shape, strict=True)):
        if axis and size != wanted:
            x = ops.concatenate([x] * wanted, axis=axis)
    return x


@register_opening("Hstack")
def _hstack(operation: Any, xs: Sequence[Any]) -> Any:
    return ops.concatenate(xs, axis=1)


@register_opening("Dstack")
def _dstack(operation: Any, xs: Sequence[Any]) -> Any:
    return ops.concatenate([ops.expand_dims(x, -1) if len(x.shape) == 2 else x for x in xs], axis=2)


@register_opening("Append")
def _append(operation: Any, a: Any, b: Any) -> Any:
    if operation.axis is None:
        raise NotImplementedError("it joins over the batch; name an axis")
    return ops.concatenate([a, b], axis=operation.axis)


@register_opening("Unstack")
def _unstack(operation: Any, x: Any) -> Any:
    axis = operation.axis % len(x.shape)
    return [x[(*[slice(None)] * axis, index)] for index in range(x.shape[axis])]


@register_opening("Hsplit")
def _hsplit(operation: Any, x: Any) -> Any:
    return ops.split(x, operation.indices_or_sections, axis=1)


@register_opening("Dsplit")
def _dsplit(operation: Any, x: Any) -> Any:
    return ops.split(x, operation.indices_or_sections, axis=2)


@register_opening("ArraySplit")
def _array_split(operation: Any, x: Any) -> Any:
    axis, sections = operation.axis % len(x.shape), operation.indices_or_sections
    if isinstance(sections, int):
        parts = np.array_split(np.arange(x.shape[axis]), sections)
        sections = np.cumsum([len(part) for part in parts])[:-1].tolist()
    return ops.split(x, sections, axis=axis)


@register_opening("Slice")
def _slice(operation: Any, x: Any, starts: Any) -> Any:
    begin = [int(each) for each in ops.convert_to_numpy(starts)]
    ends = [start + size for start, size in zip(begin[1:], operation.shape[1:], strict=True)]
    return x[(slice(None), *(slice(start, end) for start, end in zip(begin[1:], ends, strict=True)))]


@register_opening("SliceUpdate")
def _slice_update(operation: Any, x: Any, starts: Any, updates: Any) -> Any:
    """Zeros where the update goes, and the update among zeros."""
    begin = [int(each) for each in ops.convert_to_numpy(starts)]
    outside = [
        (start, whole - start - size)
        for start, whole, size in zip(begin[1:], x.shape[1:], updates.shape[1:], strict=True)
    ]
    kept = 1 - np.pad(np.ones(updates.shape[1:], np.float32), outside)
    return x * kept + ops.pad(updates, [(0, 0), *outside])


@register_opening("Tril")
def _lower_triangle(operation: Any, x: Any) -> Any:
    return x * np.tril(np.ones(x.shape[-2:], np.float32), operation.k)


@register_opening("Triu")
def _upper_triangle(operation: Any, x: Any) -> Any:
    return x * np.triu(np.ones(x.shape[-2:], np.float32), operation.k)


@register_opening("Diagonal")
def _diagonal(operation: Any, x: Any) -> Any:
    """What stands where a constant has ones, row by row."""
    axes = [axis % len(x.shape) for axis in (operation.axis1, operation.axis2)]
    x = ops.moveaxis(x, axes, (-2, -1))
    rows, columns = x.shape[-2:]
    offset = operation.offset
    first, count = max(0, -offset), min(rows + min(0, offset), columns - max(0, offset))
    kept = ops.sum(x * np.eye(rows, columns, offset, dtype=np.float32), axis=-1)
    return kept[..., first : first + count]


@register_opening("Trace")
def _trace(operation: Any, x: Any) -> Any:
    return ops.sum(ops.diagonal(x, operation.offset, operation.axis1, operation.axis2), axis=-1)


@register_opening("Pad")
def _pad(operation: Any, x: Any, constant_values: Any = None) -> Any:
    """With what stands at the border, or mirrored there; a constant goes around what is shifted by it."""
    if operation.mode == "constant":
        value = float(np.asarray(constant_values).reshape(()))
        return ops.pad(x - value, operation.pad_width) + value
    pairs = [[pair[0], pair[-1]] for pair in operation.pad_width]
    for axis, (before, after) in enumerate(pairs if len(pairs) > 1 else pairs * len(x.shape)):
        if before or after:
            x = ops.take(x, np.pad(np.arange(x.shape[axis]), (before, after), mode=operation.mode), axis=axis)
    return x


@register_opening("Rearrange")
def _rearrange(operation: Any, x: Any, pattern: str, **lengths: int) -> Any:
    """An einops pattern: split axes, put them in order, join them."""
    given, wanted = (
        [group.strip("()").split() for group in re.findall(r"\(.*?\)|\w+", side)] for side in pattern.split("->")
    )
    sizes = dict(lengths)
    for group, size in zip(given, x.shape, strict=True):
        unknown = [name for name in group if name not in sizes]
        sizes |= {name: size // math.prod(sizes[other] for other in group if other != name) for name in unknown if size}
    names = [name for group in given for name in group]
    order = [names.index(name) for group in wanted for name in group]
    parts = ops.transpose(ops.reshape(x, [-1, *(sizes[name] for name in names[1:])]), order)
    return ops.reshape(parts, [-1, *(math.prod(sizes[name] for name in group) for group in wanted[1:])])


@register_opening("DepthToSpace")
def _depth_to_space(operation: Any, x: Any) -> Any:
    block, last = operation.block_size, operation.data_format == "channels_last"
    x = x if last else ops.moveaxis(x, 1, -1)
    height, width, channels = x.shape[1:]
    inner = channels // block**2
    rows = ops.reshape(x, (-1, height, width, block, block * inner))
    rows = ops.transpose(rows, (0, 1, 3, 2, 4))
    result = ops.reshape(rows, (-1, height * block, width * block, inner))
    return result if last else ops.moveaxis(result, -1, 1)


@register_opening("SpaceToDepth")
def _space_to_depth(operation: Any, x: Any) -> Any:
    block, last = operation.block_size, operation.data_format == "channels_last"
    x = x if last else ops.moveaxis(x, 1, -1)
    height, width, channels = (x.shape[1] // block, x.shape[2] // block, x.shape[3])
    rows = ops.reshape(x, (-1, height, block, width, block * channels))
    rows = ops.transpose(rows, (0, 1, 3, 2, 4))
    result = ops.reshape(rows, (-1, height, width, block * block * channels))
    return result if last else ops.moveaxis(result, -1, 1)


@register_opening("ExtractSequences")
def _extract_sequences(operation: Any, x: Any) -> Any:
    length, stride = operation.sequence_length, operation.sequence_stride
    starts = range(0, x.shape[-1] - length + 1, stride)
    return ops.stack([x[..., start : start + length] for start in starts], axis=-2)


@register_opening("Unfold")
def _unfold(operation: Any, x: Any) -> Any:
    """Windows of channels-first images as columns."""
    kernel, dilation, padding, stride = (
        (each, each) if isinstance(each, int) else tuple(each)
        for each in (operation.kernel_size, operation.dilation, operation.padding, operation.stride)
    )
    x = ops.pad(x, [(0, 0), (0, 0), *((each, each) for each in padding)]) if any(padding) else x
    sizes = [
        (size - step * (width - 1) - 1) // jump + 1
        for size, width, step, jump in zip(x.shape[2:], kernel, dilation, stride, strict=True)
    ]
    windows = [
        x[:, :, top : top + stride[0] * sizes[0] : stride[0], left : left + stride[1] * sizes[1] : stride[1]]
        for top in range(0, kernel[0] * dilation[0], dilation[0])
        for left in range(0, kernel[1] * dilation[1], dilation[1])
    ]
    return ops.reshape(ops.stack(windows, axis=2), (-1, x.shape[1] * len(windows), math.prod(sizes)))


def _cut(x: Any, axis: int, start: int, stop: int) -> Any:
    return x[(*[slice(None)] * (axis % len(x.shape)), slice(start, stop))]


def _sizes(x: Any, changed: dict[int, int]) -> list[int]:
    """A shape to reshape to, with the batch open."""
    return [-1, *(changed.get(axis, size) for axis, size in enumerate(x.shape) if axis)]
