"""Functions of each number, and of two numbers at the same place: operations of `keras.ops` and operators.

Functions of operations get the operation, which holds its options, and the call's arguments: names for tensors, and
numbers or arrays for constants.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from export.errors import InputError
from export.frontend import activations
from export.frontend.builder import Builder, register_operation
from export.frontend.lowerings.activation_layers import rectify, softmax

MOST_FACTORS = 8  # powers up to this are products


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


def _commutative(build: Builder, kind: str, role: str, a: Any, b: Any) -> str:
    if isinstance(a, str) and isinstance(b, str):
        return build.combine(kind, a, b)
    tensor, value = (a, b) if isinstance(a, str) else (b, a)
    return _with_constant(build, kind, role, tensor, build.constant(value))


def _with_constant(build: Builder, kind: str, role: str, x: str, value: np.ndarray) -> str:
    x = build.cast(x, build.dtype)
    if build.dtype == "float32" and build.shape_of(x) == build.shape and kind in ("add", "multiply"):
        return build.shift(x, value) if kind == "add" else build.scale(x, value)
    missing = len(build.shape) - len(build.shape_of(x))
    return build.add(kind, build.reshape(x, (1,) * missing + build.shape_of(x)), weights={role: value})


@register_operation("Subtract")
def _subtract(build: Builder, operation: Any, a: Any, b: Any) -> str:
    if isinstance(a, str) and isinstance(b, str):
        return build.combine("subtract", a, b)
    if isinstance(a, str):
        return _with_constant(build, "add", "term", a, -build.constant(b))
    negative = build.add("multiply", build.cast(b, build.dtype), weights={"factor": -1.0}, shape=build.shape_of(b))
    return _with_constant(build, "add", "term", negative, build.constant(a))


@register_operation("Divide", "TrueDivide")
def _divide(build: Builder, operation: Any, a: Any, b: Any) -> str:
    if isinstance(a, str) and not isinstance(b, str):
        return _with_constant(build, "multiply", "factor", a, 1 / build.constant(b))
    return build.combine("divide", build.like(a, b), b)


@register_operation("Power")
def _power(build: Builder, operation: Any, x: Any, exponent: Any) -> str:
    if not isinstance(x, str):
        return activations.function(build, build.scale(exponent, np.log(build.constant(x))), "exponential")
    if isinstance(exponent, str):
        logarithm = activations.function(build, build.cast(x, "float32"), "log")
        return activations.function(build, build.combine("multiply", logarithm, exponent), "exponential")
    value = build.constant(exponent)
    if value.size != 1:
        logarithm = activations.function(build, build.cast(x, "float32"), "log")
        return activations.function(build, build.scale(logarithm, value), "exponential")
    return power(build, x, float(value.reshape(())))


def power(build: Builder, x: str, exponent: float) -> str:
    """Append a constant power, of positive numbers where it is not an integer."""
    if exponent == 0.5:
        return activations.function(build, x, "root")
    if exponent == -0.5:
        return activations.function(build, x, "reciprocal_root")
    if exponent < 0:
        return build.combine("divide", build.like(1.0, x), power(build, x, -exponent))
    if exponent != int(exponent) or exponent > MOST_FACTORS:
        logarithm = activations.function(build, build.cast(x, "float32"), "log")
        return activations.function(build, build.scale(logarithm, exponent), "exponential")
    if exponent == 0:
        return build.tensor(np.ones(build.shape, np.float32))
    result = x
    for _ in range(int(exponent) - 1):
        result = build.combine("multiply", result, x)
    return result


@register_operation("Negative")
def _negative(build: Builder, operation: Any, x: str) -> str:
    return build.add("multiply", x, weights={"factor": -1.0})


@register_operation("Square")
def _square(build: Builder, operation: Any, x: str) -> str:
    return build.combine("multiply", x, x)


@register_operation("Clip")
def _clip(build: Builder, operation: Any, x: str) -> str:
    low, high = (None if limit is None else float(limit) for limit in (operation.x_min, operation.x_max))
    return activations.clip(build, build.cast(x, build.dtype), low, high)


@register_operation("Arctan2")
def _arctangent2(build: Builder, operation: Any, a: Any, b: Any) -> str:
    return build.combine("arctangent2", build.like(a, b), build.like(b, a))


# What Keras calls by the names on the left.
OPERATORS = {
    "Sqrt": "root",
    "Rsqrt": "reciprocal_root",
    "Absolute": "absolute",
    "Abs": "absolute",
    "Sin": "sine",
    "Cos": "cosine",
    "Floor": "floor",
    "Ceil": "ceil",
}
NAMES = {
    "Exp": "exponential",
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
    "HardTanh": "hard_tanh",
    "LogSigmoid": "log_sigmoid",
}


@register_operation(*OPERATORS, *NAMES)
@register_operation("Relu", "Relu6", "Sigmoid", "Tanh", "Silu", "Selu", "Softplus", "Softsign", "Log")
def _activation(build: Builder, operation: Any, x: str) -> str:
    kind = type(operation).__name__
    x = build.cast(x, "float32")
    if kind in OPERATORS:
        return activations.function(build, x, OPERATORS[kind])
    return build.activation(x, NAMES.get(kind, kind.lower()))


@register_operation("Round")
def _round(build: Builder, operation: Any, x: str) -> str:
    if not operation.decimals:
        return activations.function(build, x, "round")
    unit = 10.0**operation.decimals
    return build.scale(activations.function(build, build.scale(x, unit), "round"), 1 / unit)


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


@register_operation("Identity", "StopGradient", "ConvertToTensor", "Copy", "Conjugate", "Real")
def _identity(build: Builder, operation: Any, x: str) -> str:
    return build.cast(x, build.dtype)


@register_operation("OnesLike", "ZerosLike", "FullLike")
def _filled(build: Builder, operation: Any, x: str, value: Any = None) -> str:
    value = {"OnesLike": 1.0, "ZerosLike": 0.0}.get(type(operation).__name__, value)
    if isinstance(value, str):
        raise InputError("it is filled with a tensor's number; fill it with a constant")
    return build.tensor(np.full(build.shape, build.constant(value), np.float32), build.dtype)
