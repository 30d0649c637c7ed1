"""Batch normalization into the layer that feeds it.

    γ (w·x + b − μ) / √(σ² + ε) + β   →   (f w)·x + (f b + β − f μ)     f = γ / √(σ² + ε), by output channel

At inference it is linear, so the kernel takes the factor and the bias the rest. Those that follow nothing foldable, or
a second one behind the same layer, become a multiplication and an addition:

    γ (x − μ) / √(σ² + ε) + β   →   f · x + (β − f μ)
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import keras
import numpy as np

from export.ir.channels import by_output
from export.ir.graph import Arrays, Graph, Operation
from export.passes.fold import LEAST_FACTOR, assign
from export.passes.linear import write


@dataclass
class FoldedNormalization:
    """A batch normalization that was folded into the operation before it.

    One that is used in several places is not trained, unless it is with what it follows: what each place would
    give it differs.
    """

    operation: Operation
    normalization: Operation
    shared: bool

    @property
    def absorbed(self) -> list[str]:
        """The normalization's name."""
        return [self.normalization.name]

    def undone(self, weights: Arrays) -> Arrays:
        """γ, μ and σ² stay; the kernel is divided by their factor, and β takes the bias, or else the bias itself.

        A channel whose factor is zero gets γ back at √(σ² + ε), since nothing could pass through it otherwise.
        """
        fixed = self.normalization.weights
        holder = {} if self.shared else self.normalization.variables
        deviation = np.sqrt(fixed["variance"] + np.float32(self.normalization.attributes["epsilon"]))
        gamma = fixed.get("gamma", np.ones_like(deviation))
        if "gamma" in holder and "kernel" in self.operation.trainable:
            gamma = np.where(np.abs(gamma) < LEAST_FACTOR * deviation, deviation, gamma)
            assign(holder["gamma"], gamma)
        factor = gamma / deviation
        result = {"kernel": weights["kernel"] / by_output(self.operation, factor)}
        own_bias = self.operation.variables.get("bias")
        start = keras.ops.convert_to_numpy(own_bias) if own_bias is not None else np.float32(0)
        if "beta" in holder:
            assign(holder["beta"], weights["bias"] + (fixed["mean"] - start) * factor)
            return result | {"bias": np.broadcast_to(start, factor.shape)}
        return result | {"bias": (weights["bias"] - fixed.get("beta", np.float32(0))) / factor + fixed["mean"]}


def fold_batch_normalization(graph: Graph) -> list[FoldedNormalization]:
    """Fold each batch normalization into the convolution or dense layer that it alone reads."""
    uses = Counter(id(variable) for operation in graph.operations.values() for variable in operation.variables.values())
    ties = Counter(operation.tied or operation.name for operation in graph.operations.values())
    folds: list[FoldedNormalization] = []
    for normalization in [op for op in graph.operations.values() if op.kind == "batch_normalization"]:
        source = graph.operations[normalization.inputs[0]]
        once = source.name not in {fold.operation.name for fold in folds}
        if source.traits.has_kernel and graph.sole_reader(source) is not None and once:
            factor, offset = _factor(normalization), _offset(normalization)
            source.weights["kernel"] = source.weights["kernel"] * by_output(source, factor)
            source.weights["bias"] = source.weights.get("bias", np.float32(0)) * factor + offset
            places = ties[source.tied or source.name]
            shared = any(uses[id(variable)] > places for variable in normalization.variables.values())
            if "beta" in normalization.variables and not shared and "bias" not in source.trainable:
                source.trainable.append("bias")
            folds.append(FoldedNormalization(source, normalization, shared))
            graph.remove(normalization)
        else:
            write(graph, [normalization], _factor(normalization), _offset(normalization))
    return folds


def _factor(normalization: Operation) -> np.ndarray:
    weights = normalization.weights
    deviation = np.sqrt(weights["variance"].astype(np.float64) + normalization.attributes["epsilon"])
    return (weights.get("gamma", np.float32(1)) / deviation).astype(np.float32)


def _offset(normalization: Operation) -> np.ndarray:
    weights = normalization.weights
    return weights.get("beta", np.float32(0)) - weights["mean"] * _factor(normalization)
