"""Pooling to a given size, and means of sequences some of whose steps are masked."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers, ops

from export.frontend.opening import register_opening


@register_opening("AdaptiveAveragePool")
def _adaptive_average(operation: Any, x: Any) -> Any:
    """A product with a constant matrix along each axis, which has the shares of each window."""
    for axis, size in _axes(operation, x):
        matrix = np.zeros((x.shape[axis], size), np.float32)
        for index, (start, stop) in enumerate(_windows(x.shape[axis], size)):
            matrix[start:stop, index] = 1 / (stop - start)
        x = ops.moveaxis(ops.matmul(ops.moveaxis(x, axis, -1), matrix), -1, axis)
    return x


@register_opening("AdaptiveMaxPool")
def _adaptive_maximum(operation: Any, x: Any) -> Any:
    for axis, size in _axes(operation, x):
        before = [slice(None)] * axis
        parts = [
            ops.max(x[(*before, slice(start, stop))], axis=axis, keepdims=True)
            for start, stop in _windows(x.shape[axis], size)
        ]
        x = ops.concatenate(parts, axis=axis)
    return x


def _axes(operation: Any, x: Any) -> list[tuple[int, int]]:
    """Each axis that changes, and the size that it gets."""
    rank = len(x.shape) - 2
    sizes = [operation.output_size] * rank if isinstance(operation.output_size, int) else list(operation.output_size)
    first = 2 if operation.data_format == "channels_first" else 1
    return [(axis, size) for axis, size in enumerate(sizes, first) if x.shape[axis] != size]


def _windows(whole: int, count: int) -> list[tuple[int, int]]:
    """Where each window starts and stops; they overlap where the sizes do not divide."""
    return [(index * whole // count, -(-(index + 1) * whole // count)) for index in range(count)]


@register_opening(layers.GlobalAveragePooling1D)
def _masked_average(layer: Any, x: Any, mask: Any = None) -> Any:
    """Over the steps that count; over none of them it is zero, by which TFLite's 8-bit division would fail."""
    axis = 1 if layer.data_format == "channels_last" else 2
    counts = ops.expand_dims(ops.cast(mask, "float32"), 3 - axis)
    total = ops.sum(x * counts, axis=axis, keepdims=layer.keepdims)
    return total / ops.maximum(ops.sum(counts, axis=axis, keepdims=layer.keepdims), 1.0)
