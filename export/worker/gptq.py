"""GPTQ: kernels on their 8-bit grids, rounded so that the layer's output on real data changes least.

Rounding each weight to its nearest step ignores that inputs are correlated and have a mean. Here
weights are rounded one after the other, and those that are still free make up for the error: the
procedure of Frantar et al. 2022, "GPTQ", section 3, for every kind of convolution. What remains of the
mean error goes into the bias. Steps are those that TFLite takes: one for each output channel, by the
greatest weight, which keeps its value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from scipy import linalg

from export.ir.graph import Arrays, Graph, Operation
from export.quantization.scales import GREATEST_WEIGHT
from export.worker.execute import BATCH_SIZE, run, weights
from export.worker.protocol import RoundWeights, Weights

# Positions of a layer's output that are drawn from each image to measure moments; neighbours tell little that is new.
POSITIONS = 256
# Input values of one output value up to which moments are measured: the matrix of more does not fit into memory.
MOST_INPUTS = 6000
# The share of the mean second moment that is added to the diagonal, so that the matrix can be inverted. The paper
# takes 0.01 ("dampening", step 3 of its algorithm) for language models with far more samples.
DAMPING = 0.02
# Inputs whose error is handed on together ("lazy batch-updates", step 2 of the paper's algorithm, with 128); it changes
# the time taken and, but for rounding, not the result.
BLOCK = 64


def round_weights(request: RoundWeights) -> Weights:
    """Kernels of the named operations on their grids, and the biases that go with them."""
    operations = [request.graph.operations[name] for name in request.names]
    measured = [each for each in operations if request.samples and _inputs(each) <= MOST_INPUTS]
    moments = _moments(request.graph, measured, request.samples) if measured else {}
    result: Arrays = {}
    for operation in operations:
        kernel = _by_group(operation)
        steps = _steps(kernel)
        if operation.name in moments:
            covariance, mean = moments.pop(operation.name).covariance_and_mean()
            if "bias" in operation.weights:  # takes the mean error, so that the kernel need not
                rounded = _rounded(kernel, steps, covariance) * steps
                error = np.einsum("gk,gko->go", mean, kernel - rounded).reshape(-1)
                result[f"{operation.name}:bias"] = (operation.weights["bias"] + error).astype(np.float32)
            else:
                rounded = _rounded(kernel, steps, covariance + mean[:, :, None] * mean[:, None]) * steps
        else:
            rounded = np.round(kernel / steps) * steps
        result[f"{operation.name}:kernel"] = _as_kernel(operation, rounded)
    return Weights(result)


def _inputs(operation: Operation) -> int:
    """How many input values an output value depends on."""
    kernel = operation.weights["kernel"]
    return int(np.prod(kernel.shape[:2] if operation.kind == "depthwise_conv2d" else kernel.shape[:-1]))


def _by_group(operation: Operation) -> np.ndarray:
    """The kernel as (groups, inputs, outputs)."""
    kernel: np.ndarray = operation.weights["kernel"].astype(np.float64)
    if operation.kind == "depthwise_conv2d":
        height, width, channels, multiplier = kernel.shape
        return kernel.transpose(2, 0, 1, 3).reshape(channels, height * width, multiplier)
    groups = operation.attributes.get("groups", 1)
    return kernel.reshape(-1, groups, kernel.shape[-1] // groups).transpose(1, 0, 2)


def _as_kernel(operation: Operation, grouped: np.ndarray) -> np.ndarray:
    """The inverse of `_by_group`."""
    shape = operation.weights["kernel"].shape
    if operation.kind == "depthwise_conv2d":
        grouped = grouped.reshape(shape[2], shape[0], shape[1], shape[3]).transpose(1, 2, 0, 3)
    else:
        grouped = grouped.transpose(1, 0, 2).reshape(shape)
    return grouped.astype(np.float32)


def kernel_steps(operation: Operation) -> np.ndarray:
    """What one unit of each weight of the 8-bit kernel is worth, in the kernel's shape."""
    grouped = _by_group(operation)
    return _as_kernel(operation, np.broadcast_to(_steps(grouped), grouped.shape))


def _steps(kernel: np.ndarray) -> np.ndarray:
    """(groups, 1, outputs): what one unit of the 8-bit kernel is worth."""
    greatest = np.abs(kernel).max(axis=1, keepdims=True)
    return np.where(greatest > 0, greatest, 1.0) / GREATEST_WEIGHT


def _rounded(kernel: np.ndarray, steps: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whole numbers of steps, (groups, inputs, outputs), given the inputs' second moments (groups, inputs, inputs)."""
    inputs = kernel.shape[1]
    nearest = np.round(kernel / steps)
    order = np.argsort(-np.diagonal(second, axis1=1, axis2=2).mean(axis=0))
    second = second[:, order][:, :, order]
    damping = DAMPING * np.trace(second, axis1=1, axis2=2) / inputs + 1e-9
    second = second + damping[:, None, None] * np.eye(inputs)
    try:
        factor = np.stack([_inverse_factor(each) for each in second])
    except np.linalg.LinAlgError:  # inputs that hardly vary tell nothing
        return nearest
    nearest = nearest[:, order]
    free = kernel[:, order].copy()
    whole = np.zeros_like(free)
    fixed = np.abs(free) >= np.abs(free).max(axis=1, keepdims=True)  # it defines the grid
    for start in range(0, inputs, BLOCK):
        end = min(start + BLOCK, inputs)
        errors = np.zeros_like(free[:, start:end])
        for index in range(start, end):
            value = np.clip(np.round(free[:, index] / steps[:, 0]), -GREATEST_WEIGHT, GREATEST_WEIGHT)
            whole[:, index] = np.where(fixed[:, index], nearest[:, index], value)
            error = (free[:, index] - whole[:, index] * steps[:, 0]) / factor[:, index, index, None]
            free[:, index + 1 : end] -= factor[:, index, index + 1 : end, None] * error[:, None]
            errors[:, index - start] = error
        free[:, end:] -= factor[:, start:end, end:].transpose(0, 2, 1) @ errors
    result = np.empty_like(whole)
    result[:, order] = whole
    return result


def _inverse_factor(matrix: np.ndarray) -> np.ndarray:
    """The upper triangle U of the matrix's inverse, Uᵀ U, without the inverse itself, which would take longer.

    The lower factor of the matrix in reverse order is, in reverse order, the inverse of U.
    """
    factor = linalg.cholesky(matrix[::-1, ::-1], lower=True, check_finite=False)
    return linalg.lapack.dtrtri(factor, lower=1)[0][::-1, ::-1]


class _Moments:
    """Sums over positions of what a kernel sees, about an origin close to its mean.

    Sums of squares far from the mean would lose the variance.
    """

    def __init__(self, origin: np.ndarray) -> None:
        groups, inputs = origin.shape
        self._origin, self._count = origin, 0
        self._sum, self._squares = np.zeros((groups, inputs)), np.zeros((groups, inputs, inputs))

    def add(self, squares: np.ndarray, total: np.ndarray, count: int) -> None:
        """Take the sums over some more positions."""
        self._squares += squares
        self._sum += total
        self._count += count

    def covariance_and_mean(self) -> tuple[np.ndarray, np.ndarray]:
        """(groups, inputs, inputs) and (groups, inputs); the sums are used up."""
        mean = self._sum / self._count
        self._squares /= self._count
        self._squares -= mean[:, :, None] * mean[:, None]
        return self._squares, self._origin + mean


def _moments(graph: Graph, operations: list[Operation], samples: Sequence[np.ndarray]) -> dict[str, _Moments]:
    """Of what the kernel of each operation sees, by its name."""
    constants = weights(graph)

    def seen(inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        values = run(graph, inputs, constants=constants)
        return [_patches(operation, values[operation.inputs[0]]) for operation in operations]

    @tf.function(reduce_retracing=True, autograph=False)
    def means(inputs):
        return [tf.reduce_mean(x, 1) for x in seen(inputs)]

    @tf.function(reduce_retracing=True, autograph=False)
    def sums(inputs, origins):
        away = [x - origin[:, None] for x, origin in zip(seen(inputs), origins, strict=True)]
        return [(tf.matmul(x, x, transpose_a=True), tf.reduce_sum(x, 1), tf.shape(x)[1]) for x in away]

    batches = [
        [tf.constant(array[start : start + BATCH_SIZE], tf.float32) for array in samples]
        for start in range(0, len(samples[0]), BATCH_SIZE)
    ]
    origins = means(batches[0])
    result = {each.name: _Moments(origin.numpy()) for each, origin in zip(operations, origins, strict=True)}
    for batch in batches:
        for moments, parts in zip(result.values(), sums(batch, origins), strict=True):
            moments.add(*(part.numpy() for part in parts))
    return result


def _patches(operation: Operation, x: tf.Tensor) -> tf.Tensor:
    """(groups, positions, inputs): what the kernel is multiplied by at some of its positions."""
    kernel = operation.weights["kernel"]
    if operation.kind == "dense":
        return tf.reshape(x, [-1, kernel.shape[0]])[None]
    height, width = kernel.shape[:2]
    attributes = operation.attributes
    patches = tf.image.extract_patches(
        x, [1, height, width, 1], [1, *attributes["strides"], 1], [1, *attributes["dilation"], 1],
        attributes["padding"].upper(),
    )  # fmt: skip
    count = patches.shape[1] * patches.shape[2]
    patches = tf.reshape(patches, [-1, count, patches.shape[3]])
    if count > POSITIONS:
        chosen = np.sort(np.random.default_rng(0).permutation(count)[:POSITIONS])
        patches = tf.gather(patches, chosen, axis=1)
    channels = x.shape[-1]
    groups = channels if operation.kind == "depthwise_conv2d" else attributes["groups"]
    split = tf.reshape(patches, [-1, height * width, groups, channels // groups])
    return tf.reshape(tf.transpose(split, [2, 0, 1, 3]), [groups, -1, height * width * (channels // groups)])
