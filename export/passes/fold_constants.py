"""Constants by channel into the layers with a kernel that read them, past padding and changes of shape.

    w·(a · x + b) + c   →   (a w)·x + (c + w·b)     a, b: by input channel

The factor goes into the kernel. The term goes into the bias where no padding stands between, which knows nothing
of it, and where training has a bias to change; otherwise it stays, divided by the factor:

    w·pad(a · x + b) + c   →   (a w)·pad(x + b / a) + c

Several layers may read them, as queries, keys and values read what a normalization gives, if nothing else does. Of that
the scales are then in the kernels, and what is quantized between is without the outliers that they make (Wei et al.
2022, "Outlier Suppression", section 4.1).
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
    """Fold a multiply and an add by channel into the convolutions or dense layers behind them."""
    folds = []
    for last in list(graph.operations.values()):
        if last.name not in graph.operations or linear(graph, last) is None or continues(graph, last):
            continue
        targets = _targets(graph, last)
        run = run_up_to(graph, last)
        factor, term = total(graph, run)
        if not targets or np.abs(factor).min() <= LEAST_FACTOR * np.abs(factor).max():
            continue
        padded = any(step.kind == "pad" for between, _ in targets for step in between)
        padded |= any(_pads(target) for _, target in targets)
        trained = any("kernel" in target.trainable and "bias" not in target.trainable for _, target in targets)
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
        for _, target in targets:
            folds.append(_folded(target, absorbed, *(np.broadcast_to(each, last.shape[-1]) for each in (factor, term))))
            absorbed = []
    return folds


def _folded(target: Operation, absorbed: list[str], factor: np.ndarray, term: np.ndarray) -> FoldedConstants:
    """Give a layer's weights, in place, the work of a factor and a term of its input channels."""
    factor, term = by_input(target, factor), by_input(target, term)
    kernel = target.weights["kernel"]
    if np.any(term):
        bias = target.weights.get("bias", np.float32(0)) + response(target, kernel, term)
        target.weights["bias"] = constant(bias)
    target.weights["kernel"] = constant(kernel * factor)
    return FoldedConstants(target, absorbed, factor, term)


def _targets(graph: Graph, operation: Operation) -> list[tuple[list[Operation], Operation]]:
    """The layers with a kernel that read this operation, past padding and changes of shape, each with these.

    Empty where something else reads it too, or the graph gives it out.
    """
    readers = graph.consumers()[operation.name]
    if operation.name in graph.outputs or len({id(reader) for reader in readers}) < len(readers):
        return []
    found = [_target(graph, operation, reader) for reader in readers]
    targets = [(between, target) for between, target in found if target is not None]
    return targets if len(targets) == len(readers) else []


def _target(graph: Graph, operation: Operation, reader: Operation) -> tuple[list[Operation], Operation | None]:
    """The layer with a kernel that alone reads the operation by way of this reader of it, and what is between."""
    between: list[Operation] = []
    following: Operation | None = reader
    while following is not None:
        if following.traits.has_kernel:
            return between, following
        zeros_around = following.kind == "pad" and len(following.attributes["padding"]) < len(following.shape)
        keeps_channels = following.kind == "reshape" and (
            len(following.shape) == 1 or following.shape[-1] == operation.shape[-1]
        )
        if not zeros_around and not keeps_channels:
            break
        between.append(following)
        operation, following = following, graph.sole_reader(following)
    return between, None


def _pads(operation: Operation) -> bool:
    """Whether some of what the kernel sees at a border is not of its input."""
    if operation.kind == "conv2d_transpose":
        return True
    return operation.attributes.get("padding") == "same" and operation.weights["kernel"].shape[:2] != (1, 1)
