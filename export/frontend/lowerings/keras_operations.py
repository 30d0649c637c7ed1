"""Operations of `keras.ops` and operators between tensors, as they stand in a functional model.

Their functions get the operation, which holds axes and other options, and the call's arguments: names
for tensors, and numbers or arrays for constants.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from export.errors import InputError
from export.frontend import activations
from export.frontend.builder import Builder, register_operation, to_numpy
from export.frontend.lowerings.activation_layers import rectify, softmax
from export.frontend.lowerings.layout import channels_last, transpose
from export.frontend.lowerings.reductions import pool, reduce
from export.frontend.lowerings.shapes import resize


@register_operation("Add")
def _add(build: Builder, operation: Any, a: Any, b: Any) -> str:
    return _commutative(build, "add", "term", a, b)


@register_operation("Multiply")
def _multiply(build: Builder, operation: Any, a: Any, b: Any) -> str:
    return _commutative(build, "multiply", "factor", a, b)


@register_operation("Maximum")
def _maximum(build: Builder, operation: Any, a: Any, b: Any) -> str:
    return _commutative(build, "maximum", "limit", a, b)


@register_operation("Minimum")
def _minimum(build: Builder, operation: Any, a: Any, b: Any) -> str:
    return _commutative(build, "minimum", "limit", a, b)


@register_operation("Subtract")
def _subtract(build: Builder, operation: Any, a: Any, b: Any) -> str:
    if isinstance(a, str) and isinstance(b, str):
        return build.combine("subtract", a, b)
    if isinstance(a, str):
        return _with_constant(build, "add", "term", a, -_constant(b))
    return _with_constant(build, "add", "term", build.scale(b, -1.0), a)


@register_operation("Divide", "TrueDivide")
def _divide(build: Builder, operation: Any, a: Any, b: Any) -> str:
    if isinstance(a, str) and isinstance(b, str):
        return build.combine("divide", a, b)
    if isinstance(a, str):
        return _with_constant(build, "multiply", "factor", a, 1 / _constant(b))
    raise InputError("a constant divided by a tensor has no 8-bit form; use keras.ops.rsqrt")


@register_operation("Power")
def _power(build: Builder, operation: Any, x: Any, exponent: Any) -> str:
    if not isinstance(x, str) or isinstance(exponent, str) or np.size(_constant(exponent)) != 1:
        raise InputError("only powers with a constant exponent are supported")
    value = float(_constant(exponent).reshape(()))
    if value == 0.5:
        return activations.function(build, x, "root")
    if value not in (1, 2, 3, 4):
        raise InputError(f"the power {value:g} is not supported; use 0.5, 1, 2, 3 or 4")
    result = x
    for _ in range(int(value) - 1):
        result = build.combine("multiply", result, x)
    return result


@register_operation("Negative")
def _negative(build: Builder, operation: Any, x: str) -> str:
    return build.scale(x, -1.0)


@register_operation("Square")
def _square(build: Builder, operation: Any, x: str) -> str:
    return build.combine("multiply", x, x)


@register_operation("Clip")
def _clip(build: Builder, operation: Any, x: str) -> str:
    low, high = (None if limit is None else float(limit) for limit in (operation.x_min, operation.x_max))
    return activations.clip(build, x, low, high)


@register_operation("Mean", "Sum", "Max", "Min", "Amax", "Amin")
def _reduction(build: Builder, operation: Any, x: str) -> str:
    name = type(operation).__name__.lower().removeprefix("a")
    return reduce(build, name, x, operation.axis, operation.keepdims)


@register_operation("Relu", "Relu6", "Sigmoid", "Tanh", "Silu", "Selu", "Softplus", "Softsign")
@register_operation(
    "HardSigmoid", "HardSilu", "HardTanh", "LogSigmoid", "Log", "Exp", "Sqrt", "Rsqrt", "Absolute", "Abs"
)
def _activation(build: Builder, operation: Any, x: str) -> str:
    kind = type(operation).__name__
    if kind in OPERATORS:
        return activations.function(build, x, OPERATORS[kind])
    return build.activation(x, NAMES.get(kind, kind.lower()))


OPERATORS = {"Sqrt": "root", "Rsqrt": "reciprocal_root", "Absolute": "absolute", "Abs": "absolute"}
NAMES = {
    "Exp": "exponential",
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
    "HardTanh": "hard_tanh",
    "LogSigmoid": "log_sigmoid",
}


@register_operation("ReLU")
def _relu_with_options(build: Builder, operation: Any, x: str) -> str:
    return rectify(build, x, operation.negative_slope, operation.max_value, operation.threshold)


@register_operation("LeakyRelu")
def _leaky_relu(build: Builder, operation: Any, x: str) -> str:
    return activations.leaky_relu(build, x, operation.negative_slope)


@register_operation("Elu")
def _elu(build: Builder, operation: Any, x: str) -> str:
    return activations.elu(build, x, float(operation.alpha))


@register_operation("Gelu")
def _gelu(build: Builder, operation: Any, x: str) -> str:
    return activations.gelu(build, x, operation.approximate)


@register_operation("Softmax")
def _softmax(build: Builder, operation: Any, x: str) -> str:
    return softmax(build, x, operation.axis)


@register_operation("MaxPool")
@channels_last
def _max_pool(build: Builder, operation: Any, x: str) -> str:
    return _pool(build, operation, x, "max_pool")


@register_operation("AveragePool")
@channels_last
def _average_pool(build: Builder, operation: Any, x: str) -> str:
    return _pool(build, operation, x, "average_pool")


@register_operation("Resize")
@channels_last
def _resize(build: Builder, operation: Any, x: str) -> str:
    if operation.antialias or operation.crop_to_aspect_ratio or operation.pad_to_aspect_ratio:
        raise InputError("resizing with antialias, or to an aspect ratio, is not supported; resize plainly")
    return resize(build, x, operation.interpolation)


@register_operation("Reshape", "Ravel", "Squeeze", "ExpandDims")
def _reshape(build: Builder, operation: Any, x: str) -> str:
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


@register_operation("Pad")
def _pad(build: Builder, operation: Any, x: str, constant_values: Any = None) -> str:
    rank = len(build.shape_of(x)) + 1
    pairs = [[pair[0], pair[-1]] for pair in operation.pad_width]
    pairs = pairs * rank if len(pairs) == 1 else pairs
    if any(pairs[0]):
        raise InputError("it pads the batch axis; give that (0, 0)")
    if operation.mode != "constant" or (constant_values is not None and np.any(_constant(constant_values))):
        raise InputError("only padding with zeros is supported")
    return build.add("pad", x, padding=pairs[1:])


@register_operation("Concatenate")
def _concatenate(build: Builder, operation: Any, inputs: list[str]) -> str:
    return build.add("concatenate", *inputs, axis=_axis(operation.axis, len(build.shape)))


@register_operation("Stack")
def _stack(build: Builder, operation: Any, inputs: list[str]) -> str:
    axis = _axis(operation.axis, len(build.shape))
    single = [*build.shape[: axis - 1], 1, *build.shape[axis:]]
    return build.add("concatenate", *[build.reshape(x, single) for x in inputs], axis=axis)


@register_operation("Split")
def _split(build: Builder, operation: Any, x: str) -> list[str]:
    shape = build.shape_of(x)
    axis = _axis(operation.axis, len(shape))
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
    keys = list(key) if isinstance(key, tuple | list) else [key]
    if Ellipsis not in keys:
        keys.append(Ellipsis)
    place = keys.index(Ellipsis)
    named = [each for each in keys if each is not None and each is not Ellipsis]
    keys[place : place + 1] = [slice(None)] * (len(shape) + 1 - len(named))
    batch, *rest = [each for each in keys if each is not None]
    if keys[0] is None or batch != slice(None):
        raise InputError("it takes a part of the batch; a file holds one sample at a time, so begin with [:, …]")
    slices, sizes = [], []
    for each, size in zip(rest, shape, strict=True):
        if isinstance(each, int):
            each = slice(each % size, each % size + 1)
        start, stop, step = each.indices(size)
        slices.append([start, None if stop < 0 else stop, step])
        sizes.append(len(range(start, stop, step)))
    x = (
        x
        if tuple(sizes) == shape and all(step == 1 for *_, step in slices)
        else build.add("strided_slice", x, shape=sizes, slices=slices)
    )
    return build.reshape(x, build.shape)


@register_operation("Matmul")
def _matmul(build: Builder, operation: Any, a: Any, b: Any) -> str:
    if isinstance(a, str) and isinstance(b, str):
        if len(build.shape_of(a)) < 2 or len(build.shape_of(a)) != len(build.shape_of(b)):
            raise InputError("only products of two matrices for each sample are supported")
        return build.add("matmul", a, b)
    if not isinstance(a, str) or np.ndim(_constant(b)) != 2:
        raise InputError("only products of a tensor and a constant matrix on its right are supported")
    return build.add("dense", a, weights={"kernel": b})


@register_operation("Identity", "StopGradient")
def _identity(build: Builder, operation: Any, x: str) -> str:
    return x


def _pool(build: Builder, operation: Any, x: str, kind: str) -> str:
    rank = len(build.shape_of(x)) - 1
    size, strides = operation.pool_size, operation.strides
    strides = size if strides is None else strides
    size, strides = ([each] * rank if isinstance(each, int) else each for each in (size, strides))
    return pool(build, kind, x, size, strides, operation.padding)


def _axis(axis: int, rank: int) -> int:
    if axis % (rank + 1) == 0:
        raise InputError("it works along the batch; a file holds one sample at a time, so name another axis")
    return axis % (rank + 1)


def _commutative(build: Builder, kind: str, role: str, a: Any, b: Any) -> str:
    if isinstance(a, str) and isinstance(b, str):
        return build.combine(kind, a, b)
    tensor, value = (a, b) if isinstance(a, str) else (b, a)
    return _with_constant(build, kind, role, tensor, value)


def _with_constant(build: Builder, kind: str, role: str, x: str, value: Any) -> str:
    array = _constant(value)
    if array.ndim > len(build.shape):  # it has a batch axis
        array = array.reshape(array.shape[1:])
    return build.add(kind, x, weights={role: array})


def _constant(value: Any) -> np.ndarray:
    return np.asarray(to_numpy(value), np.float32)
