"""Constants by channel into the layer with a kernel that feeds them alone, past changes of shape that keep channels.

    a · (w·x + b) + c   →   (a w)·x + (a b + c)     a, c: by output channel

Besides the operations that it spares, this keeps a file valid: the converter itself fuses a constant into a transposed
convolution's bias, with as many numbers as the constant has; of one number built-in kernels refuse the file, and
XNNPACK reads past it. So where a factor of nearly zero would leave trained weights no way back, the constants stay,
with one number a channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from export.ir.channels import by_output
from export.ir.graph import Arrays, Graph, Operation, constant
from export.passes.fold import LEAST_FACTOR
from export.passes.linear import continues, linear, run_up_to, total


@dataclass
class FoldedBackwards:
    """A multiplication and an addition by channel that were folded into the operation before them.

    Attributes:
        factor, term: (outputs,).
    """

    operation: Operation
    absorbed: list[str]
    factor: np.ndarray
    term: np.ndarray

    def undone(self, weights: Arrays) -> Arrays:
        """The kernel is divided by the factor, and so is what of the bias is not the term."""
        result = {"kernel": weights["kernel"] / by_output(self.operation, self.factor)}
        if "bias" in weights:
            result["bias"] = (weights["bias"] - self.term) / self.factor
        return result


def fold_constants_backwards(graph: Graph) -> list[FoldedBackwards]:
    """Fold a multiply and an add by channel into the convolution or dense layer before them."""
    folds = []
    for last in list(graph.operations.values()):
        if last.name not in graph.operations or linear(graph, last) is None or continues(graph, last):
            continue
        run = run_up_to(graph, last)
        factor, term = total(graph, run)
        target = _source_with_kernel(graph, run[0], alike=factor.size == term.size == 1)
        if target is None:
            continue
        factor, term = (np.broadcast_to(values, target.shape[-1]) for values in (factor, term))
        if target.trainable and np.abs(factor).min() <= LEAST_FACTOR * np.abs(factor).max():
            for operation in run:
                ((role, array),) = operation.weights.items()
                operation.weights[role] = np.broadcast_to(array.reshape(-1), operation.shape[-1])
            continue
        kernel = target.weights["kernel"]
        target.weights["kernel"] = constant(kernel * by_output(target, factor))
        if np.any(term) or "bias" in target.weights:
            target.weights["bias"] = constant(target.weights.get("bias", np.float32(0)) * factor + term)
        for operation in run:
            graph.remove(operation)
        folds.append(FoldedBackwards(target, [operation.name for operation in run], factor, term))
    return folds


def _source_with_kernel(graph: Graph, operation: Operation, alike: bool) -> Operation | None:
    """The layer with a kernel whose output this operation alone reads, past changes of shape that keep channels.

    Args:
        alike: the operation does the same to all numbers, so that any change of layout may be between.
    """
    source = graph.operations[operation.inputs[0]]
    while graph.sole_reader(source) is not None:
        if source.traits.has_kernel:
            return source
        moves = source.kind == "reshape" or (alike and source.kind == "transpose")
        before = graph.operations[source.inputs[0]] if moves else source
        if before is source or (source.shape[-1] != before.shape[-1] and not alike):
            return None
        source = before
    return None
