"""Comparisons, choices by them, and places: greatest, least, first in order, by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from export.errors import InputError
from export.frontend.builder import DTYPES, Builder, register_operation
from export.frontend.lowerings.layout import move_axis
from export.frontend.opening import snake_case


@register_operation("Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual")
def _compare(build: Builder, operation: Any, a: Any, b: Any) -> str:
    function = snake_case(type(operation).__name__)
    if isinstance(a, str) and isinstance(b, str):
        dtype = "int32" if {build.dtype_of(a), build.dtype_of(b)} == {"int32"} else "float32"
        shape = np.broadcast_shapes(build.shape_of(a), build.shape_of(b))
        a, b = (build.cast(each, dtype) for each in (a, b))
        if function == "not_equal" and dtype == "float32":
            return differs(build, build.add("subtract", a, b, shape=shape))
        return build.add("compare", a, b, shape=shape, dtype="bool", function=function)
    if not isinstance(a, str):
        a, b = b, a
        function = function.replace("less", "#").replace("greater", "less").replace("#", "greater")
    value, dtype = build.constant(b), build.dtype_of(a)
    if dtype != "int32" or np.any(value != value.astype(np.int32)):
        a = build.cast(a, "float32")
        if function == "not_equal":
            return differs(build, build.shift(a, -value) if np.any(value) else a)
    return build.add("compare", a, weights={"other": value}, dtype="bool", function=function)


def differs(build: Builder, x: str) -> str:
    """Append whether a number is not zero, in operators that TFLite has in 8 bits: its NOT_EQUAL is none of them."""
    return build.cast(x, "bool")


@register_operation("Isnan")
def _is_nan(build: Builder, operation: Any, x: str) -> str:
    return _not(build, build.add("is_number", x, dtype="bool", finite=False))


@register_operation("Isfinite")
def _is_finite(build: Builder, operation: Any, x: str) -> str:
    return build.add("is_number", x, dtype="bool", finite=True)


@register_operation("Isinf")
def _is_infinite(build: Builder, operation: Any, x: str) -> str:
    finite = build.add("is_number", x, dtype="bool", finite=True)
    number = build.add("is_number", x, dtype="bool", finite=False)
    return build.add("logical", number, _not(build, finite), dtype="bool", function="and")


def _not(build: Builder, x: str) -> str:
    return build.add("logical", x, dtype="bool", function="not")


@register_operation("LogicalAnd", "LogicalOr")
def _logical(build: Builder, operation: Any, a: Any, b: Any) -> str:
    function = type(operation).__name__.removeprefix("Logical").lower()
    a, b = (build.cast(build.like(each, other), "bool") for each, other in ((a, b), (b, a)))
    shape = np.broadcast_shapes(build.shape_of(a), build.shape_of(b))
    return build.add("logical", a, b, shape=shape, dtype="bool", function=function)


@register_operation("LogicalNot")
def _logical_not(build: Builder, operation: Any, x: str) -> str:
    return _not(build, build.cast(x, "bool"))


@register_operation("Where")
def _where(build: Builder, operation: Any, condition: Any, a: Any = None, b: Any = None) -> str:
    if a is None or b is None:
        raise InputError("it finds places, whose number is not known before; give both values to choose from")
    rank = len(build.shape)
    chosen = [build.ranked(each, rank) for each in (condition, a, b)]
    condition, *values = (
        build.cast(each, dtype) for each, dtype in zip(chosen, ("bool", build.dtype, build.dtype), strict=True)
    )
    return build.add("select", condition, *values, dtype=build.dtype)


@register_operation("Cast", "SaturateCast")
def _cast(build: Builder, operation: Any, x: str) -> str:
    return build.cast(x, DTYPES[str(operation.dtype)])


@register_operation("Argmax", "Argmin")
def _place(build: Builder, operation: Any, x: str) -> str:
    axis = axis_of(build, operation.axis, x)
    shape = build.shape_of(x)
    left = [*shape[: axis - 1], *shape[axis:]]
    kind = "arg_max" if type(operation).__name__ == "Argmax" else "arg_min"
    return build.reshape(build.add(kind, x, shape=left, dtype="int32", axis=axis), build.shape)


@register_operation("TopK")
def _top_k(build: Builder, operation: Any, x: str) -> list[str]:
    shape = (*build.shape_of(x)[:-1], operation.k)
    values = build.add("top_k", x, shape=shape, count=int(operation.k))
    return [values, build.add("top_k_places", x, shape=shape, dtype="int32", count=int(operation.k))]


@register_operation("OneHot")
def _one_hot(build: Builder, operation: Any, x: str) -> str:
    rank, count = len(build.shape_of(x)) + 1, operation.num_classes
    table = np.eye(count, dtype=np.float32)
    hot = build.add(
        "embedding", build.cast(x, "int32"), weights={"table": table}, shape=(*build.shape_of(x), count),
        dtype="float32",
    )  # fmt: skip
    return build.cast(move_axis(build, hot, rank, operation.axis % (rank + 1)), build.dtype)


@register_operation("Take")
def _take(build: Builder, operation: Any, x: Any, indices: Any) -> str:
    if isinstance(x, str) and isinstance(indices, str):
        raise InputError("it takes places that are computed from a tensor that is computed; make one of them constant")
    if isinstance(x, str):
        axis = axis_of(build, operation.axis, x)
        return take(build, x, np.asarray(build.constant(indices, np.ndim(indices))), axis)
    if operation.axis not in (0, None):
        raise InputError("it takes from another axis of a constant than the first; put that axis first")
    return build.add("embedding", build.cast(indices, "int32"), weights={"table": x}, dtype="float32")


def take(build: Builder, x: str, indices: np.ndarray, axis: int) -> str:
    """Append what stands at constant places along an axis, which counts from the batch's."""
    shape = build.shape_of(x)
    places = np.asarray(indices).astype(int) % shape[axis - 1]
    return build.add(
        "gather", x, shape=[*shape[: axis - 1], *places.shape, *shape[axis:]], indices=places.tolist(), axis=axis
    )


def axis_of(build: Builder, axis: int | None, x: str) -> int:
    """An axis counted from the batch's, which it must not be."""
    rank = len(build.shape_of(x)) + 1
    if axis is None or axis % rank == 0:
        raise InputError("it works along the batch; a file holds one sample at a time, so name another axis")
    return axis % rank
