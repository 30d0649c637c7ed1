"""Operations on images: grayscale, windows, resizing in every interpolation, and fixed filters."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from export.frontend.opening import register_opening

GRAYSCALE = (0.2989, 0.5870, 0.1140)  # what Keras and TensorFlow take, of ITU-R BT.601


@register_opening("RGBToGrayscale")
def _rgb_to_grayscale(operation: Any, x: Any) -> Any:
    last = operation.data_format != "channels_first"
    gray = ops.matmul(x if last else ops.moveaxis(x, 1, -1), np.asarray(GRAYSCALE, np.float32)[:, None])
    return gray if last else ops.moveaxis(gray, -1, 1)


@register_opening("Resize")
def _resize(operation: Any, x: Any) -> Any:
    """A product with a constant matrix along each of the two axes, whatever the interpolation."""
    if operation.fill_mode != "constant":
        raise NotImplementedError(f"fill_mode={operation.fill_mode!r} is not supported")
    last = operation.data_format != "channels_first"
    axes = (1, 2) if last else (2, 3)
    sizes = tuple(operation.size)
    if operation.crop_to_aspect_ratio:
        x = _cropped(x, axes, sizes)
    if operation.pad_to_aspect_ratio:
        x = _padded(x, axes, sizes, float(operation.fill_value))
    for axis, size in zip(axes, sizes, strict=True):
        if x.shape[axis] != size:
            matrix = _matrix(x.shape[axis], size, operation.interpolation, operation.antialias)
            x = ops.moveaxis(ops.matmul(ops.moveaxis(x, axis, -1), matrix), -1, axis)
    return x


def _matrix(size: int, wanted: int, interpolation: str, antialias: bool) -> np.ndarray:
    """How much each of `size` pixels gives to each of `wanted`: what Keras makes of images with one bright pixel."""
    images = np.eye(size, dtype=np.float32)[:, :, None, None]
    options = {"interpolation": interpolation, "antialias": antialias, "data_format": "channels_last"}
    return np.asarray(ops.convert_to_numpy(ops.image.resize(images, (wanted, 1), **options)))[:, :, 0, 0]


def _cropped(x: Any, axes: tuple[int, int], sizes: tuple[int, int]) -> Any:
    """The middle, of the shape that is wanted."""
    height, width = (x.shape[axis] for axis in axes)
    kept = (min(height, int(width * sizes[0] / sizes[1])), min(width, int(height * sizes[1] / sizes[0])))
    for axis, whole, part in zip(axes, (height, width), kept, strict=True):
        start = int((whole - part) / 2)
        x = x[(*[slice(None)] * axis, slice(start, start + part))]
    return x


def _padded(x: Any, axes: tuple[int, int], sizes: tuple[int, int], value: float) -> Any:
    height, width = (x.shape[axis] for axis in axes)
    wanted = (max(height, int(width * sizes[0] / sizes[1])), max(width, int(height * sizes[1] / sizes[0])))
    pairs = [[0, 0] for _ in x.shape]
    for axis, whole, part in zip(axes, wanted, (height, width), strict=True):
        before = int((whole - part) / 2)
        pairs[axis] = [before, whole - part - before]
    return ops.pad(x, pairs, constant_values=value) if value else ops.pad(x, pairs)


@register_opening("ExtractPatches")
def _extract_patches(operation: Any, x: Any) -> Any:
    """Windows side by side are a reshape; others are slices with the windows' stride."""
    if operation.is_3d:
        raise NotImplementedError("only patches of images are supported")
    last = operation.data_format != "channels_first"
    x = x if last else ops.moveaxis(x, 1, -1)
    size, dilation = (_pair(each) for each in (operation.size, operation.dilation_rate))
    strides = size if operation.strides is None else _pair(operation.strides)
    reach = [each * (width - 1) + 1 for each, width in zip(dilation, size, strict=True)]
    if operation.padding == "same":
        x = _same(x, reach, strides)
    counts = [(whole - width) // step + 1 for whole, width, step in zip(x.shape[1:3], reach, strides, strict=True)]
    if strides == size and max(dilation) == 1:
        x = x[:, : counts[0] * size[0], : counts[1] * size[1]]
        rows = ops.reshape(x, (-1, counts[0], size[0], counts[1], size[1] * x.shape[3]))
        result = ops.reshape(ops.transpose(rows, (0, 1, 3, 2, 4)), (-1, *counts, size[0] * size[1] * x.shape[3]))
    else:
        windows = [
            x[:, top : top + counts[0] * strides[0] : strides[0], left : left + counts[1] * strides[1] : strides[1]]
            for top in range(0, reach[0], dilation[0])
            for left in range(0, reach[1], dilation[1])
        ]
        result = ops.concatenate([window[:, : counts[0], : counts[1]] for window in windows], axis=-1)
    return result if last else ops.moveaxis(result, -1, 1)


def _same(x: Any, reach: list[int], strides: tuple[int, int]) -> Any:
    """Zeros around, as TensorFlow's SAME puts them."""
    pairs = []
    for whole, width, step in zip(x.shape[1:3], reach, strides, strict=True):
        lacking = max(0, (-(-whole // step) - 1) * step + width - whole)
        pairs.append([lacking // 2, lacking - lacking // 2])
    return ops.pad(x, [[0, 0], *pairs, [0, 0]])


@register_opening("PadImages")
def _pad_images(operation: Any, x: Any) -> Any:
    pairs = [[0, 0] for _ in x.shape]
    for axis, pair in _borders(operation, x, "padding", 1):
        pairs[axis] = pair
    return ops.pad(x, pairs)


@register_opening("CropImages")
def _crop_images(operation: Any, x: Any) -> Any:
    for axis, (before, after) in _borders(operation, x, "cropping", -1):
        x = x[(*[slice(None)] * axis, slice(before, x.shape[axis] - after))]
    return x


def _borders(operation: Any, x: Any, what: str, sign: int) -> list[tuple[int, list[int]]]:
    """How much is put on, or taken off, on both sides of height and width; what is not given follows."""
    first = 1 if operation.data_format != "channels_first" else 2
    found = []
    for axis, (name, other, whole) in enumerate((("top", "bottom", "height"), ("left", "right", "width")), first):
        before, after = (getattr(operation, f"{side}_{what}") for side in (name, other))
        target = getattr(operation, f"target_{whole}")
        change = None if target is None else sign * (target - x.shape[axis])
        if before is None:
            before = 0 if change is None or after is None else change - after
        if after is None:
            after = 0 if change is None else change - before
        found.append((axis, [int(before), int(after)]))
    return found


@register_opening("GaussianBlur")
def _gaussian_blur(operation: Any, x: Any) -> Any:
    """Keras takes size and width across before those down."""
    across, down = (
        _bell(size, float(sigma)) for size, sigma in zip(_pair(operation.kernel_size), operation.sigma, strict=True)
    )
    return _filtered(operation, x, np.outer(down, across)[:, :, None])


def _bell(size: int, sigma: float) -> np.ndarray:
    shape = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / sigma) ** 2)
    return shape / shape.sum()


@register_opening("SobelEdges")
def _sobel_edges(operation: Any, x: Any) -> Any:
    down = np.outer([-1, 0, 1], [1, 2, 1])
    last = operation.data_format != "channels_first"
    x = x if last else ops.moveaxis(x, 1, -1)
    reflects = keras.backend.backend() == "tensorflow"  # Keras 3.15 pads with zeros under the others
    x, padding = (_reflected(x), "valid") if reflects else (x, "same")
    edges = [_depthwise(x, np.asarray(each)[:, :, None], padding) for each in (down, down.T)]
    result = ops.stack(edges, axis=-1)
    return result if last else ops.moveaxis(result, -2, 1)


def _reflected(x: Any) -> Any:
    return ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="reflect")


def _filtered(operation: Any, x: Any, kernel: np.ndarray) -> Any:
    last = operation.data_format != "channels_first"
    result = _depthwise(x if last else ops.moveaxis(x, 1, -1), kernel, "same")
    return result if last else ops.moveaxis(result, -1, 1)


def _depthwise(x: Any, kernel: np.ndarray, padding: str) -> Any:
    """The same filters (height, width, count) on each channel."""
    whole = np.repeat(kernel[:, :, None], x.shape[-1], axis=2).astype(np.float32)
    return ops.depthwise_conv(x, whole, padding=padding, data_format="channels_last")


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))
