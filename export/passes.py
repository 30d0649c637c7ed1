"""Rewrites of the neutral graph that leave what it computes unchanged, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from export.graph import Graph, Operation

WEIGHTED = ("conv2d", "depthwise_conv2d", "dense")


@dataclass
class FoldedNormalization:
    """A batch normalization that was folded into the operation before it."""

    operation: Operation
    normalization: Operation

    @property
    def factor(self) -> np.ndarray:
        """What each output channel was multiplied by."""
        return _factor(self.normalization)


def fold_batch_normalization(graph: Graph) -> list[FoldedNormalization]:
    """Fold each batch normalization into the convolution or dense layer that alone feeds it.

    At inference y = γ(x − μ)/√(σ² + ε) + β is linear, so the kernel takes the factor and the
    bias the rest. Those that follow nothing foldable, or a second one, become a multiply and an add.
    """
    folds: list[FoldedNormalization] = []
    for normalization in [op for op in graph.operations.values() if op.kind == "batch_normalization"]:
        source = graph.operations[normalization.inputs[0]]
        alone = len(graph.consumers()[source.name]) == 1 and source.name not in graph.outputs
        once = source.name not in {fold.operation.name for fold in folds}
        if source.kind in WEIGHTED and alone and once:
            factor, offset = _factor(normalization), _offset(normalization)
            kernel = source.weights["kernel"]
            shaped = factor.reshape(kernel.shape[2:]) if source.kind == "depthwise_conv2d" else factor
            source.weights["kernel"] = kernel * shaped
            source.weights["bias"] = source.weights.get("bias", np.float32(0)) * factor + offset
            if "beta" in normalization.variables and "bias" not in source.trainable:
                source.trainable.append("bias")
            folds.append(FoldedNormalization(source, normalization))
            graph.remove(normalization)
        else:
            _as_multiply_add(graph, normalization)
    return folds


def _factor(normalization: Operation) -> np.ndarray:
    weights = normalization.weights
    deviation = np.sqrt(weights["variance"].astype(np.float64) + normalization.attributes["epsilon"])
    return (weights.get("gamma", np.float32(1)) / deviation).astype(np.float32)


def _offset(normalization: Operation) -> np.ndarray:
    weights = normalization.weights
    return weights.get("beta", np.float32(0)) - weights["mean"] * _factor(normalization)


def _as_multiply_add(graph: Graph, normalization: Operation) -> None:
    scaled = f"{normalization.name}/scaled"
    multiply = Operation(
        scaled, "multiply", normalization.inputs, normalization.shape, {}, {"factor": _factor(normalization)}
    )
    add = Operation(normalization.name, "add", [scaled], normalization.shape, {}, {"term": _offset(normalization)})
    operations: dict[str, Operation] = {}
    for name, operation in graph.operations.items():
        if name == normalization.name:
            operations[scaled] = multiply
            operations[name] = add
        else:
            operations[name] = operation
    graph.operations = operations


def cut_softmax(graph: Graph) -> bool:
    """Let the graph end in logits: drop a softmax that is an output. True if there was one."""
    cut = False
    for name in list(graph.outputs):
        operation = graph.operations[name]
        if operation.attributes.get("function") == "softmax":
            graph.remove(operation)
            cut = True
    return cut


def carry_back(graph: Graph, folds: list[FoldedNormalization]) -> None:
    """Write the graph's (trained) weights into the Keras variables that they came from.

    A folded normalization keeps its γ, μ and σ²; the kernel is divided by its factor and β takes
    the bias, so the model computes what the graph does. A channel whose factor is zero gets γ
    back at √(σ² + ε), since nothing could pass through it otherwise.
    """
    folded = {fold.operation.name: fold for fold in folds}
    for operation in graph.operations.values():
        if not operation.variables:
            continue
        values = dict(operation.weights)
        if operation.name in folded:
            normalization = folded[operation.name].normalization
            values |= _unfolded(operation, normalization)
        for role, variable in operation.variables.items():
            variable.assign(keras.ops.convert_to_tensor(values[role].reshape(variable.shape)))


def _unfolded(operation: Operation, normalization: Operation) -> dict[str, np.ndarray]:
    weights = normalization.weights
    deviation = np.sqrt(weights["variance"] + np.float32(normalization.attributes["epsilon"]))
    gamma = weights.get("gamma", np.ones_like(deviation))
    dead = np.abs(gamma) < 1e-6 * deviation
    gamma = np.where(dead, deviation, gamma)
    factor = gamma / deviation
    kernel = operation.weights["kernel"]
    shaped = factor.reshape(kernel.shape[2:]) if operation.kind == "depthwise_conv2d" else factor
    bias, mean = operation.weights["bias"], weights["mean"]
    result = {"kernel": kernel / shaped}
    holder = normalization.variables
    if "gamma" in holder:
        holder["gamma"].assign(keras.ops.convert_to_tensor(gamma.astype(np.float32)))
    if "beta" in holder:
        own_bias = operation.variables.get("bias")
        start = keras.ops.convert_to_numpy(own_bias) if own_bias is not None else np.float32(0)
        holder["beta"].assign(keras.ops.convert_to_tensor((bias + (mean - start) * factor).astype(np.float32)))
        result["bias"] = np.broadcast_to(start, bias.shape)
    elif "bias" in operation.variables:
        result["bias"] = bias / factor + mean
    return result
