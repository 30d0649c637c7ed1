"""Sums, moments, norms and orders, along axes."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from keras import ops

from export.frontend.opening import register_opening

GREATEST = float(np.finfo(np.float32).max)


@register_opening("Var")
def _variance(operation: Any, x: Any) -> Any:
    return _moments(x, operation.axis, operation.keepdims)[1]


@register_opening("Std")
def _deviation(operation: Any, x: Any) -> Any:
    return ops.sqrt(_moments(x, operation.axis, operation.keepdims)[1])


@register_opening("Moments")
def _mean_and_variance(operation: Any, x: Any) -> Any:
    axes = operation.axes if isinstance(operation.axes, int) else tuple(operation.axes)
    return _moments(x, axes, operation.keepdims)


def _moments(x: Any, axis: Any, keepdims: bool) -> tuple[Any, Any]:
    mean = ops.mean(x, axis=axis, keepdims=True)
    variance = ops.mean(ops.square(x - mean), axis=axis, keepdims=keepdims)
    return (mean if keepdims else ops.mean(x, axis=axis)), variance


@register_opening("Average")
def _average(operation: Any, x: Any, weights: Any = None) -> Any:
    if weights is None:
        return ops.mean(x, axis=operation.axis)
    if len(weights.shape) == 1:
        shape = [1] * len(x.shape)
        shape[operation.axis] = weights.shape[0]
        weights = ops.reshape(weights, shape)
    return ops.sum(x * weights, axis=operation.axis) / ops.sum(weights, axis=operation.axis)


@register_opening("Prod")
def _product(operation: Any, x: Any) -> Any:
    for axis in sorted(_axes(operation.axis, x), reverse=True):
        x = functools.reduce(ops.multiply, _slices(x, axis))
        x = ops.expand_dims(x, axis) if operation.keepdims else x
    return x


@register_opening("Ptp")
def _spread(operation: Any, x: Any) -> Any:
    options = {"axis": operation.axis, "keepdims": operation.keepdims}
    return ops.max(x, **options) - ops.min(x, **options)


@register_opening("CountNonzero")
def _count_nonzero(operation: Any, x: Any) -> Any:
    return ops.sum(ops.cast(ops.not_equal(x, 0.0), "float32"), axis=operation.axis)


@register_opening("Any")
def _any(operation: Any, x: Any) -> Any:
    truth = ops.max(_as_numbers(x), axis=operation.axis, keepdims=operation.keepdims)
    return ops.greater(truth, 0.5)


@register_opening("All")
def _all(operation: Any, x: Any) -> Any:
    truth = ops.min(_as_numbers(x), axis=operation.axis, keepdims=operation.keepdims)
    return ops.greater(truth, 0.5)


def _as_numbers(x: Any) -> Any:
    return ops.cast(x if x.dtype == "bool" else ops.not_equal(x, 0.0), "float32")


@register_opening("Logsumexp")
def _log_sum_exp(operation: Any, x: Any) -> Any:
    greatest = ops.max(x, axis=operation.axis, keepdims=True)
    total = ops.sum(ops.exp(x - greatest), axis=operation.axis, keepdims=True)
    result = ops.log(total) + greatest
    return result if operation.keepdims else ops.squeeze(result, axis=operation.axis)


@register_opening("LogSoftmax")
def _log_softmax(operation: Any, x: Any) -> Any:
    return x - ops.logsumexp(x, axis=operation.axis, keepdims=True)


@register_opening("Norm")
def _norm(operation: Any, x: Any) -> Any:
    """Of vectors, and the Frobenius norm of matrices."""
    order, options = operation.ord, {"axis": operation.axis, "keepdims": operation.keepdims}
    of_vectors = isinstance(operation.axis, int) or len(operation.axis or ()) == 1
    if order is None or order == "fro" or (order == 2 and of_vectors):
        return ops.sqrt(ops.sum(ops.square(x), **options))
    if not of_vectors:
        raise NotImplementedError(f"the matrix norm of order {order} is not supported")
    if order in (np.inf, -np.inf):
        return (ops.max if order > 0 else ops.min)(ops.abs(x), **options)
    if order == 0:
        return ops.sum(ops.cast(ops.not_equal(x, 0.0), "float32"), **options)
    if order == 1:
        return ops.sum(ops.abs(x), **options)
    return ops.power(ops.sum(ops.power(ops.abs(x), float(order)), **options), 1 / order)


@register_opening("Normalize")
def _normalize(operation: Any, x: Any) -> Any:
    """By the norm, or by ε where that is less."""
    axis, order = operation.axis, operation.order
    epsilon = 1e-7 if operation.epsilon is None else operation.epsilon
    if order == 2:
        return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=axis, keepdims=True), epsilon**2))
    return x / ops.maximum(ops.norm(x, ord=order, axis=axis, keepdims=True), epsilon)


@register_opening("RMSNorm")
def _rms_normalization(operation: Any, x: Any, scale: Any = None) -> Any:
    epsilon = 1e-7 if operation.epsilon is None else operation.epsilon
    x = x * ops.rsqrt(ops.mean(ops.square(x), axis=operation.axis, keepdims=True) + epsilon)
    return x if scale is None else x * _along(scale, operation.axis, x)


@register_opening("LayerNorm")
def _layer_normalization(operation: Any, x: Any, gamma: Any = None, beta: Any = None) -> Any:
    axis, epsilon = operation.axis, 1e-7 if operation.epsilon is None else operation.epsilon
    mean = ops.mean(x, axis=axis, keepdims=True)
    variance = ops.mean(ops.square(x - mean), axis=axis, keepdims=True)
    x = (x if operation.rms_scaling else x - mean) * ops.rsqrt(variance + epsilon)
    x = x if gamma is None else x * _along(gamma, axis, x)
    return x if beta is None else x + _along(beta, axis, x)


@register_opening("BatchNorm")
def _batch_normalization(
    operation: Any, x: Any, mean: Any, variance: Any, offset: Any = None, scale: Any = None
) -> Any:
    mean, variance = (_along(each, operation.axis, x) for each in (mean, variance))
    x = (x - mean) * ops.rsqrt(variance + operation.epsilon)
    x = x if scale is None else x * _along(scale, operation.axis, x)
    return x if offset is None else x + _along(offset, operation.axis, x)


def _along(values: Any, axis: Any, x: Any) -> Any:
    """Numbers for the positions on some axes, in a shape that repeats over the others."""
    axes = _axes(axis, x)
    if len(axes) == 1 and axes[0] == len(x.shape) - 1:
        return values
    return ops.reshape(values, [size if index in axes else 1 for index, size in enumerate(x.shape)])


@register_opening("Nansum", "Nanprod", "Nanmax", "Nanmin", "Nanargmax", "Nanargmin", "Nancumsum", "Nancumprod")
def _passing_over_nan(operation: Any, x: Any) -> Any:
    """What stands in for a number that is none leaves the result as it is."""
    name = type(operation).__name__.removeprefix("Nan")
    stand_in = {"sum": 0.0, "cumsum": 0.0, "max": -GREATEST, "argmax": -GREATEST, "min": GREATEST, "argmin": GREATEST}
    keepdims = {} if name.startswith("cum") else {"keepdims": operation.keepdims}
    return getattr(ops, name)(ops.where(ops.isnan(x), stand_in.get(name, 1.0), x), axis=operation.axis, **keepdims)


@register_opening("Nanmean")
def _mean_of_numbers(operation: Any, x: Any) -> Any:
    return _moments_of_numbers(x, operation.axis, operation.keepdims)[0]


@register_opening("Nanvar")
def _variance_of_numbers(operation: Any, x: Any) -> Any:
    return _moments_of_numbers(x, operation.axis, operation.keepdims)[1]


@register_opening("Nanstd")
def _deviation_of_numbers(operation: Any, x: Any) -> Any:
    return ops.sqrt(_moments_of_numbers(x, operation.axis, operation.keepdims)[1])


def _moments_of_numbers(x: Any, axis: Any, keepdims: bool) -> tuple[Any, Any]:
    """Mean and variance of what is a number."""
    missing = ops.isnan(x)
    counts = ops.where(missing, 0.0, ops.ones_like(x))

    def mean(values: Any, keep: bool) -> Any:
        total = ops.sum(values * counts, axis=axis, keepdims=keep)
        return total / ops.sum(counts, axis=axis, keepdims=keep)

    x = ops.where(missing, 0.0, x)
    return mean(x, keepdims), mean(ops.square(x - mean(x, True)), keepdims)


@register_opening("Cumsum")
def _cumulative_sum(operation: Any, x: Any) -> Any:
    """A product with a triangle of ones."""
    axis = _axis(operation.axis, x)
    triangle = np.triu(np.ones((x.shape[axis],) * 2, np.float32))
    return ops.moveaxis(ops.matmul(ops.moveaxis(x, axis, -1), triangle), -1, axis)


@register_opening("Cumprod")
def _cumulative_product(operation: Any, x: Any) -> Any:
    axis = _axis(operation.axis, x)
    products: list[Any] = []
    for part in _slices(x, axis):
        products.append(products[-1] * part if products else part)
    return ops.stack(products, axis=axis)


@register_opening("Diff")
def _difference(operation: Any, x: Any) -> Any:
    axis = _axis(operation.axis, x)
    for _ in range(operation.n):
        x = _cut(x, axis, 1, None) - _cut(x, axis, None, -1)
    return x


@register_opening("Trapezoid")
def _trapezoid(operation: Any, y: Any) -> Any:
    axis = _axis(operation.axis, y)
    means = (_cut(y, axis, 1, None) + _cut(y, axis, None, -1)) * 0.5
    if operation.x is None:
        return ops.sum(means * float(operation.dx), axis=axis)
    steps = np.diff(np.asarray(ops.convert_to_numpy(operation.x), np.float32))
    return ops.sum(means * steps.reshape([-1 if index == axis else 1 for index in range(len(y.shape))]), axis=axis)


@register_opening("Sort")
def _sort(operation: Any, x: Any) -> Any:
    """From the least, by the greatest of the negated numbers."""
    axis = _axis(operation.axis, x)
    rows = ops.moveaxis(-x, axis, -1)
    return ops.moveaxis(-ops.top_k(rows, rows.shape[-1])[0], -1, axis)


@register_opening("Argsort")
def _argsort(operation: Any, x: Any) -> Any:
    axis = _axis(operation.axis, x)
    rows = ops.moveaxis(-x, axis, -1)
    return ops.moveaxis(ops.top_k(rows, rows.shape[-1])[1], -1, axis)


@register_opening("Sparsemax")
def _sparsemax(operation: Any, x: Any) -> Any:
    """As Keras 3.15 computes it: its threshold is of the sum of all sums, not of the last one."""
    axis = _axis(operation.axis, x)
    rows = ops.moveaxis(x, axis, -1)
    count = rows.shape[-1]
    ordered = ops.top_k(rows, count)[0]
    sums = ops.cumsum(ordered, axis=-1)
    places = np.arange(1, count + 1, dtype=np.float32)
    support = ops.cast(ops.greater(ordered - (sums - 1.0) * (1 / places), 0.0), "float32")
    total = ops.sum(sums * support, axis=-1, keepdims=True) - 1.0
    threshold = total / ops.sum(support, axis=-1, keepdims=True)
    return ops.moveaxis(ops.relu(rows - threshold), -1, axis)


@register_opening("Median")
def _median(operation: Any, x: Any) -> Any:
    return _quantile(x, 0.5, operation.axis, operation.keepdims, "linear")


@register_opening("Quantile")
def _of_quantile(operation: Any, x: Any, q: Any) -> Any:
    return _quantile(x, q, operation.axis, operation.keepdims, operation.method)


@register_opening("Percentile")
def _percentile(operation: Any, x: Any, q: Any) -> Any:
    return _quantile(x, np.asarray(q) / 100, operation.axis, operation.keepdims, operation.method)


def _quantile(x: Any, q: Any, axis: Any, keepdims: bool, method: str) -> Any:
    """Between the two ordered numbers on either side; one quantile along one axis."""
    axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
    if np.ndim(q) or not isinstance(axis, int | np.integer) or method != "linear":
        raise NotImplementedError("only one quantile along one axis, by linear interpolation, is supported")
    axis = _axis(int(axis), x)
    place = float(q) * (x.shape[axis] - 1)
    low, high = int(np.floor(place)), int(np.ceil(place))
    ordered = ops.sort(x, axis=axis)
    below, above = (_cut(ordered, axis, each, each + 1) for each in (low, high))
    result = below if low == high else below * (high - place) + above * (place - low)
    return result if keepdims else ops.squeeze(result, axis=axis)


@register_opening("PSNR")
def _peak_signal_to_noise(operation: Any, a: Any, b: Any) -> Any:
    error = ops.mean(ops.square(a - b), axis=tuple(range(1, len(a.shape))))
    return ops.log(operation.max_val**2 / error) * (10 / np.log(10))


def _axes(axis: Any, x: Any) -> list[int]:
    """Axes as numbers from zero, in order."""
    rank = len(x.shape)
    given = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
    return sorted(each % rank for each in given)


def _axis(axis: int | None, x: Any) -> int:
    if axis is None:
        raise NotImplementedError("it works across the batch; name another axis")
    return axis % len(x.shape)


def _cut(x: Any, axis: int, start: int | None, stop: int | None) -> Any:
    return x[(*[slice(None)] * axis, slice(start, stop))]


def _slices(x: Any, axis: int) -> list[Any]:
    """What stands at each position along an axis, which they lack."""
    return [x[(*[slice(None)] * axis, index)] for index in range(x.shape[axis])]
