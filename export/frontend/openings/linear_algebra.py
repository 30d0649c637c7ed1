"""Products of tensors beyond a plain matrix product."""

from __future__ import annotations

import string
from typing import Any

from keras import ops

from export.frontend.opening import register_opening


@register_opening("Dot")
def _dot(operation: Any, a: Any, b: Any) -> Any:
    """Over the last axis of the first and the last but one of the second."""
    return ops.tensordot(a, b, axes=[[len(a.shape) - 1], [max(0, len(b.shape) - 2)]])


@register_opening("Inner")
def _inner(operation: Any, a: Any, b: Any) -> Any:
    return ops.tensordot(a, b, axes=[[len(a.shape) - 1], [len(b.shape) - 1]])


@register_opening("Tensordot")
def _tensordot(operation: Any, a: Any, b: Any) -> Any:
    axes, ranks = operation.axes, (len(a.shape), len(b.shape))
    if isinstance(axes, int):
        axes = [range(ranks[0] - axes, ranks[0]), range(axes)]
    first, second = ([each] if isinstance(each, int) else list(each) for each in axes)
    letters = iter(string.ascii_lowercase)
    left = [next(letters) for _ in range(ranks[0])]
    right = [next(letters) for _ in range(ranks[1])]
    for one, other in zip(first, second, strict=True):
        right[other] = left[one]
    common = set(left) & set(right)
    result = [letter for letter in (*left, *right) if letter not in common]
    return ops.einsum(f"{''.join(left)},{''.join(right)}->{''.join(result)}", a, b)


@register_opening("Cross")
def _cross(operation: Any, a: Any, b: Any) -> Any:
    """Of vectors of three numbers along the last axis."""
    if {operation.axisa, operation.axisb, operation.axisc} != {-1}:
        raise NotImplementedError("only the product along the last axis is supported")
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        raise NotImplementedError("only the product of vectors of three numbers is supported")
    following, before = [1, 2, 0], [2, 0, 1]
    return ops.take(a, following, axis=-1) * ops.take(b, before, axis=-1) - ops.take(a, before, axis=-1) * ops.take(
        b, following, axis=-1
    )


@register_opening("CDist")
def _pairwise_distances(operation: Any, a: Any, b: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(ops.expand_dims(a, -2) - ops.expand_dims(b, -3)), axis=-1))
