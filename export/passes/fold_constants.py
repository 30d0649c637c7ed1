"""Constants by channel into the layer with a kernel that alone reads them, past padding and changes of shape.

    w·(a · x + b) + c   →   (a w)·x + (c + w·b)     a, b: by input channel

The factor goes into the kernel. The term goes into the bias where no padding stands between, which knows nothing
of it, and where training has a bias to change; otherwise it stays, divided by the factor:

    w·pad(a · x + b) + c   →   (a w)·pad(x + b / a) + c
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from export.ir.channels import by_input, response
from export.ir.graph import Arrays, Graph, Operation, constant
from export.passes.fold import LEAST_FACTOR
from export.passes.linear import continues, linear, run_up_to, total, write


@dataclass
class FoldedConstants:
    """A multiplication and an addition by channel that were folded into the operation behind them.

    Attributes:
        factor, term: in the shape that multiplies the operation's kernel.
    """

    operation: Operation
    absorbed: list[str]
    factor: np.ndarray
    term: np.ndarray

    def undone(self, weights: Arrays) -> Arrays:
        """The kernel is divided by the factor, and the bias loses what the term gave it."""
        kernel = weights["kernel"] / self.factor
        result = {"kernel": kernel}
        if "bias" in weights:
            result["bias"] = weights["bias"] - response(self.operation, kernel, self.term)
        return result


def fold_constants(graph: Graph) -> list[FoldedConstants]:
    """Fold a multiply and an add by channel into the convolution or dense layer behind them."""
    folds = []
    for last in list(graph.operations.values()):
        if last.name not in graph.operations or linear(graph, last) is None or continues(graph, last):
            continue
        between, target = _target(graph, last)
        run = run_up_to(graph, last)
        factor, term = total(graph, run)
        if target is None or np.abs(factor).min() <= LEAST_FACTOR * np.abs(factor).max():
            continue
        padded = any(operation.kind == "pad" for operation in between) or _pads(target)
        trained = "kernel" in target.trainable and "bias" not in target.trainable
        if np.any(term) and (padded or trained):
            if np.all(factor == 1):
                continue
            absorbed = [operation.name for operation in run[:-1]]
            write(graph, run, np.ones(1), term / factor)
            term = np.zeros(1)
        else:
            absorbed = [operation.name for operation in run]
            for operation in run:
                graph.remove(operation)
        factor, term = (by_input(target, np.broadcast_to(values, last.shape[-1])) for values in (factor, term))
        kernel = target.weights["kernel"]
        if np.any(term):
            bias = target.weights.get("bias", np.float32(0)) + response(target, kernel, term)
            target.weights["bias"] = constant(bias)
        target.weights["kernel"] = constant(kernel * factor)
        folds.append(FoldedConstants(target, absorbed, factor, term))
    return folds


def _target(graph: Graph, operation: Operation) -> tuple[list[Operation], Operation | None]:
    """The layer with a kernel that alone reads this operation, past padding and changes of shape, and these."""
    between: list[Operation] = []
    while (reader := graph.sole_reader(operation)) is not None:
        if reader.traits.has_kernel:
            return between, reader
        zeros_around = reader.kind == "pad" and len(reader.attributes["padding"]) < len(reader.shape)
        keeps_channels = reader.kind == "reshape" and (
            len(reader.shape) == 1 or reader.shape[-1] == operation.shape[-1]
        )
        if not zeros_around and not keeps_channels:
            break
        between.append(reader)
        operation = reader
    return between, None


def _pads(operation: Operation) -> bool:
    """Whether some of what the kernel sees at a border is not of its input."""
    if operation.kind == "conv2d_transpose":
        return True
    return operation.attributes.get("padding") == "same" and operation.weights["kernel"].shape[:2] != (1, 1)
