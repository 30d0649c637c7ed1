"""Operations that change nothing, or nothing but the shape.

    x · 1, x + 0, relu(relu(x)), pad(x; 0), resize(x) to its own size, concat(x), …   →   x
    mean(x; axes of size one), and sum, maximum, minimum                              →   reshape(x)

The converter takes them out too, but only after each was told a range of its own: then two ranges are left for one
tensor, which an operator that keeps its input's scale, such as a pool, does not stand.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from export.ir.graph import Graph, Operation
from export.passes.fold import Absorption, Fold

REDUCTIONS = ("mean", "sum_over", "maximum_over", "minimum_over")


def remove_identities(graph: Graph) -> list[Fold]:
    """Let readers of such an operation read what it reads."""
    folds: list[Fold] = []
    for operation in list(graph.operations.values()):
        if not operation.inputs:
            continue
        source = graph.operations[operation.inputs[0]]
        if operation.kind in REDUCTIONS and all(source.shape[axis - 1] == 1 for axis in operation.attributes["axes"]):
            operation.kind, operation.attributes = "reshape", {}
        changes_nothing = IDENTITIES.get(operation.kind)
        if operation.shape != source.shape or changes_nothing is None or not changes_nothing(operation, source):
            continue
        readers = graph.consumers()[operation.name]
        if source.kind == "input" and (operation.name in graph.outputs or not readers):
            continue  # a file gives out no input as it is
        graph.remove(operation)
        folds.append(Absorption(readers[0] if source.kind == "input" else source, [operation.name]))
    return folds


def _activation(operation: Operation, source: Operation) -> bool:
    if operation.function == "leaky_relu":
        return operation.attributes["slope"] == 1
    if operation.function == "relu6":
        return source.function == "relu6"
    return operation.function == "relu" and source.traits.nonnegative


def _window_of_one(operation: Operation, source: Operation) -> bool:
    return set(operation.attributes["size"]) == {1} == set(operation.attributes["strides"])


# Whether an operation whose output has the shape of its first input gives that input.
IDENTITIES: dict[str, Callable[[Operation, Operation], bool]] = {
    "multiply": lambda operation, source: bool(np.all(operation.weights.get("factor", 0) == 1)),
    "add": lambda operation, source: not np.any(operation.weights.get("term", 1)),
    "prelu": lambda operation, source: bool(np.all(operation.weights["slope"] == 1)),
    "activation": _activation,
    "max_pool": _window_of_one,
    "average_pool": _window_of_one,
    "reshape": lambda operation, source: True,
    "resize": lambda operation, source: True,
    "pad": lambda operation, source: True,
    "concatenate": lambda operation, source: len(operation.inputs) == 1,
    "transpose": lambda operation, source: operation.attributes["axes"] == sorted(operation.attributes["axes"]),
    "strided_slice": lambda operation, source: all(part[2] in (None, 1) for part in operation.attributes["slices"]),
}
