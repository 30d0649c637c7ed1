"""What each kind of the neutral graph computes, in TensorFlow. Both emitters use this one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from export.ir.graph import Operation

Compute = Callable[..., tf.Tensor]
Weights = Mapping[str, tf.Tensor]
OPERATIONS: dict[str, Compute] = {}
"""What each kind of `export.ir.kinds` computes; inputs are given, and batch normalization is folded before."""


def compute(operation: Operation, inputs: list[tf.Tensor], weights: Weights) -> tf.Tensor:
    """The output of one operation; tensors are channels-last with the batch first.

    Raises:
        RuntimeError: it cannot be computed; the message names the operation, which is called as its layer.
    """
    try:
        attributes = operation.attributes | ({"shape": operation.shape} if operation.traits.takes_shape else {})
        attributes |= {"dtype": operation.dtype} if operation.traits.takes_dtype else {}
        if inputs and inputs[0].dtype == tf.int32 and operation.kind not in ("constant", "embedding"):
            weights = {role: tf.cast(weight, tf.int32) for role, weight in weights.items()}
        return OPERATIONS[operation.kind](*inputs, **weights, **attributes)
    except Exception as error:
        raise RuntimeError(f"layer {operation.name!r} ({operation.kind}): {error}") from error


def _operation(kind: str) -> Callable[[Compute], Compute]:
    def register(function: Compute) -> Compute:
        OPERATIONS[kind] = function
        return function

    return register


@_operation("conv2d")
def _conv2d(x, kernel, strides, padding, dilation, groups, bias=None):
    del groups  # the kernel's third axis says it
    return _with_bias(tf.nn.conv2d(x, kernel, strides, padding.upper(), dilations=dilation), bias)


@_operation("depthwise_conv2d")
def _depthwise_conv2d(x, kernel, strides, padding, dilation, bias=None):
    y = tf.nn.depthwise_conv2d(x, kernel, [1, *strides, 1], padding.upper(), dilations=dilation)
    return _with_bias(y, bias)


@_operation("conv2d_transpose")
def _conv2d_transpose(x, kernel, strides, padding, groups, shape, bias=None):
    del groups
    whole = [x.shape[0] or tf.shape(x)[0], *shape]
    return _with_bias(
        tf.nn.conv2d_transpose(x, tf.transpose(kernel, [0, 1, 3, 2]), whole, strides, padding.upper()), bias
    )


@_operation("dense")
def _dense(x, kernel, bias=None):
    y = tf.matmul(x, kernel) if x.shape.rank == 2 else tf.tensordot(x, kernel, 1)
    return _with_bias(y, bias)


def _with_bias(y, bias):
    return y if bias is None else tf.nn.bias_add(y, bias)


FUNCTIONS = {
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "relu_limited": lambda x, limit: tf.minimum(tf.nn.relu(x), limit),
    "leaky_relu": lambda x, slope: tf.nn.leaky_relu(x, slope),
    "gelu": tf.nn.gelu,
    "exponential": tf.exp,
    "log": tf.math.log,
    "root": tf.sqrt,
    "reciprocal_root": tf.math.rsqrt,
    "absolute": tf.abs,
    "sigmoid": tf.sigmoid,
    "tanh": tf.tanh,
    "softmax": tf.nn.softmax,
    "sine": tf.sin,
    "cosine": tf.cos,
    "floor": tf.floor,
    "ceil": tf.math.ceil,
    "round": tf.round,
    "hard_silu": lambda x: x * tf.nn.relu6(x + 3.0) * (1 / 6),
}


@_operation("activation")
def _activation(x, function, **parameters):
    return FUNCTIONS[function](x, **parameters)


@_operation("prelu")
def _prelu(x, slope):
    return tf.nn.relu(x) + (-slope) * tf.nn.relu(-x)  # the form that the converter takes for one operator


@_operation("max_pool")
def _max_pool(x, size, strides, padding):
    return tf.nn.max_pool2d(x, size, strides, padding.upper())


@_operation("average_pool")
def _average_pool(x, size, strides, padding):
    return tf.nn.avg_pool2d(x, size, strides, padding.upper())


@_operation("mean")
def _mean(x, axes, keepdims):
    return tf.reduce_mean(x, axes, keepdims=keepdims)


@_operation("sum_over")
def _sum_over(x, axes, keepdims):
    return tf.reduce_sum(x, axes, keepdims=keepdims)


@_operation("maximum_over")
def _maximum_over(x, axes, keepdims):
    return tf.reduce_max(x, axes, keepdims=keepdims)


@_operation("minimum_over")
def _minimum_over(x, axes, keepdims):
    return tf.reduce_min(x, axes, keepdims=keepdims)


@_operation("reshape")
def _reshape(x, shape):
    return tf.reshape(x, [x.shape[0] or -1, *shape])


@_operation("pad")
def _pad(x, padding):
    rest = [[0, 0]] * (x.shape.rank - 1 - len(padding))
    return tf.pad(x, [[0, 0], *padding, *rest])


@_operation("strided_slice")
def _strided_slice(x, slices):
    return x[(slice(None), *(slice(*each) for each in slices))]


@_operation("transpose")
def _transpose(x, axes):
    return tf.transpose(x, axes)


@_operation("resize")
def _resize(x, interpolation, shape):
    return tf.image.resize(x, shape[:2], interpolation)


@_operation("add")
def _add(x, y=None, term=None):
    return x + (term if y is None else y)


@_operation("subtract")
def _subtract(x, y):
    return x - y


@_operation("multiply")
def _multiply(x, y=None, factor=None):
    return x * (factor if y is None else y)


@_operation("divide")
def _divide(x, y):
    return x / y


@_operation("maximum")
def _maximum(x, y=None, limit=None):
    return tf.maximum(x, limit if y is None else y)


@_operation("minimum")
def _minimum(x, y=None, limit=None):
    return tf.minimum(x, limit if y is None else y)


@_operation("matmul")
def _matmul(x, y):
    return tf.matmul(x, y)


@_operation("concatenate")
def _concatenate(*inputs, axis):
    return tf.concat(inputs, axis)


@_operation("constant")
def _constant(x, value, dtype):
    batch = x.shape[0] or tf.shape(x)[0]
    return tf.repeat(tf.cast(value, dtype)[None], batch, axis=0)


@_operation("cast")
def _cast(x, dtype):
    return tf.cast(x, dtype)


@_operation("embedding")
def _embedding(x, table):
    return tf.gather(table, x)


@_operation("gather")
def _gather(x, indices, axis):
    return tf.gather(x, indices, axis=axis)


_COMPARISONS = {
    "equal": tf.equal,
    "not_equal": tf.not_equal,
    "less": tf.less,
    "less_equal": tf.less_equal,
    "greater": tf.greater,
    "greater_equal": tf.greater_equal,
}


@_operation("compare")
def _compare(x, y=None, other=None, *, function):
    return _COMPARISONS[function](x, other if y is None else y)


@_operation("is_number")
def _is_number(x, finite):
    return tf.abs(x) <= tf.float32.max if finite else tf.equal(x, x)


@_operation("logical")
def _logical(x, y=None, *, function):
    if function == "not":
        return tf.logical_not(x)
    return (tf.logical_and if function == "and" else tf.logical_or)(x, y)


@_operation("select")
def _select(condition, x, y):
    return tf.where(condition, x, y)


@_operation("arg_max")
def _arg_max(x, axis):
    return tf.argmax(x, axis, output_type=tf.int32)


@_operation("arg_min")
def _arg_min(x, axis):
    return tf.argmin(x, axis, output_type=tf.int32)


@_operation("top_k")
def _top_k(x, count):
    return tf.math.top_k(x, count).values


@_operation("top_k_places")
def _top_k_places(x, count):
    return tf.math.top_k(x, count).indices


@_operation("arctangent2")
def _arctangent2(y, x):
    return tf.math.atan2(y, x)
