"""Functions of each number, from those that TFLite has in 8 bits as far as they go."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from export.frontend.opening import register_opening

GREATEST = float(np.finfo(np.float32).max)
# Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: |error| ≤ 1.5e-7.
ERF_P = 0.3275911
ERF_COEFFICIENTS = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


@register_opening("Fabs")
def _absolute(operation: Any, x: Any) -> Any:
    return ops.abs(x)


@register_opening("Exp2")
def _exp2(operation: Any, x: Any) -> Any:
    return ops.exp(x * math.log(2))


@register_opening("Expm1")
def _expm1(operation: Any, x: Any) -> Any:
    return ops.exp(x) - 1.0


@register_opening("Log1p")
def _log1p(operation: Any, x: Any) -> Any:
    return ops.log(x + 1.0)


@register_opening("Log2")
def _log2(operation: Any, x: Any) -> Any:
    return ops.log(x) * (1 / math.log(2))


@register_opening("Log10")
def _log10(operation: Any, x: Any) -> Any:
    return ops.log(x) * (1 / math.log(10))


@register_opening("Logaddexp")
def _logaddexp(operation: Any, a: Any, b: Any) -> Any:
    return ops.maximum(a, b) + ops.log(ops.exp(-ops.abs(a - b)) + 1.0)


@register_opening("Logaddexp2")
def _logaddexp2(operation: Any, a: Any, b: Any) -> Any:
    return ops.maximum(a, b) + ops.log(ops.exp(ops.abs(a - b) * -math.log(2)) + 1.0) * (1 / math.log(2))


@register_opening("Cbrt")
def _cube_root(operation: Any, x: Any) -> Any:
    return ops.sign(x) * ops.power(ops.abs(x), 1 / 3)


@register_opening("Sinh")
def _sinh(operation: Any, x: Any) -> Any:
    return (ops.exp(x) - ops.exp(-x)) * 0.5


@register_opening("Cosh")
def _cosh(operation: Any, x: Any) -> Any:
    return (ops.exp(x) + ops.exp(-x)) * 0.5


@register_opening("Tan")
def _tan(operation: Any, x: Any) -> Any:
    return ops.sin(x) / ops.cos(x)


@register_opening("Arcsinh")
def _arcsinh(operation: Any, x: Any) -> Any:
    """Of |x|, since x + √(x² + 1) cancels below zero."""
    size = ops.abs(x)
    return ops.sign(x) * ops.log(size + ops.sqrt(size * size + 1.0))


@register_opening("Arccosh")
def _arccosh(operation: Any, x: Any) -> Any:
    return ops.log(x + ops.sqrt(x * x - 1.0))


@register_opening("Arctanh")
def _arctanh(operation: Any, x: Any) -> Any:
    return ops.log((x + 1.0) / (1.0 - x)) * 0.5


@register_opening("Arctan")
def _arctan(operation: Any, x: Any) -> Any:
    return ops.arctan2(x, ops.ones_like(x))


@register_opening("Arcsin")
def _arcsin(operation: Any, x: Any) -> Any:
    return ops.arctan2(x, ops.sqrt(1.0 - x * x))


@register_opening("Arccos")
def _arccos(operation: Any, x: Any) -> Any:
    return ops.arctan2(ops.sqrt(1.0 - x * x), x)


@register_opening("Sinc")
def _sinc(operation: Any, x: Any) -> Any:
    zero = ops.equal(x, 0.0)
    angle = ops.where(zero, 1.0, x * math.pi)
    return ops.where(zero, 1.0, ops.sin(angle) / angle)


@register_opening("Hypot")
def _hypot(operation: Any, a: Any, b: Any) -> Any:
    return ops.sqrt(a * a + b * b)


@register_opening("Deg2rad")
def _deg2rad(operation: Any, x: Any) -> Any:
    return x * (math.pi / 180)


@register_opening("Rad2deg")
def _rad2deg(operation: Any, x: Any) -> Any:
    return x * (180 / math.pi)


@register_opening("Trunc")
def _trunc(operation: Any, x: Any) -> Any:
    return ops.sign(x) * ops.floor(ops.abs(x))


@register_opening("FloorDivide")
def _floor_divide(operation: Any, a: Any, b: Any) -> Any:
    return ops.floor(a / b)


@register_opening("Mod")
def _mod(operation: Any, a: Any, b: Any) -> Any:
    return a - ops.floor(a / b) * b


@register_opening("Fmod")
def _fmod(operation: Any, a: Any, b: Any) -> Any:
    return a - ops.trunc(a / b) * b


@register_opening("Sign")
def _sign(operation: Any, x: Any) -> Any:
    return ops.where(ops.greater(x, 0.0), 1.0, ops.where(ops.less(x, 0.0), -1.0, 0.0))


@register_opening("Signbit")
def _signbit(operation: Any, x: Any) -> Any:
    return ops.less(x, 0.0)


@register_opening("Heaviside")
def _heaviside(operation: Any, x: Any, at_zero: Any) -> Any:
    return ops.where(ops.greater(x, 0.0), 1.0, ops.where(ops.less(x, 0.0), 0.0, at_zero))


@register_opening("Reciprocal")
def _reciprocal(operation: Any, x: Any) -> Any:
    return 1.0 / x


@register_opening("DivideNoNan")
def _divide_no_nan(operation: Any, a: Any, b: Any) -> Any:
    zero = ops.equal(b, 0.0)
    return ops.where(zero, 0.0, a / ops.where(zero, 1.0, b))


@register_opening("Ldexp")
def _ldexp(operation: Any, x: Any, exponent: Any) -> Any:
    return x * ops.exp(exponent * math.log(2))


@register_opening("Fmax")
def _fmax(operation: Any, a: Any, b: Any) -> Any:
    return ops.maximum(a, b)


@register_opening("Fmin")
def _fmin(operation: Any, a: Any, b: Any) -> Any:
    return ops.minimum(a, b)


@register_opening("Isclose")
def _isclose(operation: Any, a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8) -> Any:
    return ops.less_equal(ops.abs(a - b), ops.abs(b) * rtol + atol)


@register_opening("Isposinf")
def _isposinf(operation: Any, x: Any) -> Any:
    return ops.logical_and(ops.isinf(x), ops.greater(x, 0.0))


@register_opening("Isneginf")
def _isneginf(operation: Any, x: Any) -> Any:
    return ops.logical_and(ops.isinf(x), ops.less(x, 0.0))


@register_opening("NanToNum")
def _nan_to_num(operation: Any, x: Any) -> Any:
    high = GREATEST if operation.posinf is None else float(operation.posinf)
    low = -GREATEST if operation.neginf is None else float(operation.neginf)
    finite = ops.where(ops.isnan(x), float(operation.nan), x)
    return ops.where(ops.isposinf(x), high, ops.where(ops.isneginf(x), low, finite))


@register_opening("Isreal")
def _isreal(operation: Any, x: Any) -> Any:
    return ops.greater_equal(ops.abs(x), 0.0)


@register_opening("EmptyLike")
def _empty_like(operation: Any, x: Any) -> Any:
    return ops.zeros_like(x)


@register_opening("Select")
def _select(operation: Any, conditions: Any, choices: Any, default: Any = 0) -> Any:
    """The first choice whose condition holds."""
    result = default
    for condition, choice in zip(reversed(conditions), reversed(choices), strict=True):
        result = ops.where(condition, choice, result)
    return result


@register_opening("Digitize")
def _digitize(operation: Any, x: Any, bins: Any) -> Any:
    return _reached(x, bins, ops.greater_equal)


@register_opening("SearchSorted")
def _search_sorted(operation: Any, ordered: Any, values: Any) -> Any:
    return _reached(values, ordered, ops.greater if operation.side == "left" else ops.greater_equal)


def _reached(x: Any, bounds: Any, compare: Any) -> Any:
    """How many of constant bounds a number reaches."""
    reached = compare(ops.expand_dims(x, -1), np.asarray(bounds, np.float32))
    return ops.cast(ops.sum(ops.cast(reached, "float32"), axis=-1), "int32")


@register_opening("IsIn")
def _is_in(operation: Any, x: Any, members: Any) -> Any:
    found = ops.any(ops.equal(ops.expand_dims(x, -1), np.ravel(members)), axis=-1)
    return ops.logical_not(found) if operation.invert else found


@register_opening("MultiHot")
def _multi_hot(operation: Any, x: Any) -> Any:
    hot = ops.one_hot(x, operation.num_classes, axis=operation.axis)
    return ops.max(hot, axis=1) if len(x.shape) > 1 else hot


@register_opening("LogicalXor")
def _logical_xor(operation: Any, a: Any, b: Any) -> Any:
    """One of both, and not both."""
    return ops.logical_and(ops.logical_or(a, b), ops.logical_not(ops.logical_and(a, b)))


@register_opening("Erf")
def _erf(operation: Any, x: Any) -> Any:
    size = ops.abs(x)
    t = 1.0 / (size * ERF_P + 1.0)
    polynomial = t * ERF_COEFFICIENTS[-1]
    for coefficient in ERF_COEFFICIENTS[-2::-1]:
        polynomial = (polynomial + coefficient) * t
    return ops.sign(x) * (1.0 - polynomial * ops.exp(-(size * size)))


@register_opening("Erfc")
def _erfc(operation: Any, x: Any) -> Any:
    return 1.0 - ops.erf(x)


@register_opening("Celu")
def _celu(operation: Any, x: Any) -> Any:
    return ops.relu(x) + (ops.exp(ops.minimum(x, 0.0) * (1 / operation.alpha)) - 1.0) * operation.alpha


@register_opening("Glu")
def _glu(operation: Any, x: Any) -> Any:
    value, gate = ops.split(x, 2, axis=operation.axis)
    return value * ops.sigmoid(gate)


@register_opening("HardShrink")
def _hard_shrink(operation: Any, x: Any) -> Any:
    return ops.where(ops.greater(ops.abs(x), operation.threshold), x, 0.0)


@register_opening("SoftShrink")
def _soft_shrink(operation: Any, x: Any) -> Any:
    return ops.relu(x - operation.threshold) - ops.relu(-x - operation.threshold)


@register_opening("TanhShrink")
def _tanh_shrink(operation: Any, x: Any) -> Any:
    return x - ops.tanh(x)


@register_opening("Threshold")
def _threshold(operation: Any, x: Any) -> Any:
    return ops.where(ops.greater(x, operation.threshold), x, float(operation.default_value))


@register_opening("Squareplus")
def _squareplus(operation: Any, x: Any) -> Any:
    return (x + ops.sqrt(x * x + float(operation.b))) * 0.5


@register_opening("SparsePlus")
def _sparse_plus(operation: Any, x: Any) -> Any:
    """0 up to −1, x from 1, and a parabola between."""
    return ops.square(ops.clip(x, -1.0, 1.0) + 1.0) * 0.25 + ops.relu(x - 1.0)


@register_opening("SparseSigmoid")
def _sparse_sigmoid(operation: Any, x: Any) -> Any:
    return ops.clip((x + 1.0) * 0.5, 0.0, 1.0)
