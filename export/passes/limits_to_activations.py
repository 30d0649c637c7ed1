"""Limits that the converter reads as activations, as what it reads.

    max(x, 0)             →   relu(x)
    min(relu(x), 6)       →   relu6(x)
    max(min(x, 6), 0)     →   relu6(x)
    min(max(x, −1), 1)    →   relu_limited(x + 1; 2) − 1,   and max(min(x, 1), −1) alike

It does so after ranges were set, and an activation that has none, since a maximum keeps the scale of its input, is
computed in float, as is all that follows. RELU_N1_TO_1, which it writes for limits of −1 and 1, has no int8 kernel in
XNNPACK and no range of ours; so these are moved away from zero, with operators that do.
"""

from __future__ import annotations

import numpy as np

from export.ir.graph import Graph, Operation, constant
from export.passes.fold import Absorption, Fold


def limits_to_activations(graph: Graph) -> list[Fold]:
    """Rewrite maxima and minima with constant limits, in place."""
    folds: list[Fold] = []
    for operation in list(graph.operations.values()):
        if _limit(operation) is None:
            continue
        source = graph.operations[operation.inputs[0]]
        alone = graph.sole_reader(source) is operation
        if (operation.kind, _limit(operation)) == ("maximum", 0):
            capped = alone and source.kind == "minimum" and _limit(source) == 6
            _become(operation, "relu6" if capped else "relu")
            if capped:
                folds.append(_joined(graph, source, operation))
        elif (operation.kind, _limit(operation)) == ("minimum", 6) and alone and source.function == "relu":
            _become(operation, "relu6")
            folds.append(_joined(graph, source, operation))
        elif alone and {(step.kind, _limit(step)) for step in (source, operation)} == {("maximum", -1), ("minimum", 1)}:
            folds.append(_moved(graph, source, operation))
    return folds


def _limit(operation: Operation) -> float | None:
    """The one number that an operation limits its input by; None if there is none."""
    array = operation.weights.get("limit")
    if array is None or not array.size or np.any(array != array.flat[0]):
        return None
    return float(array.flat[0])


def _become(operation: Operation, function: str) -> None:
    operation.kind, operation.attributes, operation.weights = "activation", {"function": function}, {}


def _joined(graph: Graph, source: Operation, operation: Operation) -> Absorption:
    graph.remove(source)
    return Absorption(operation, [source.name])


def _moved(graph: Graph, source: Operation, operation: Operation) -> Absorption:
    up, limited = graph.unused_name(f"{operation.name}/up"), graph.unused_name(f"{operation.name}/limited")
    shape = operation.shape
    down = Operation(operation.name, "add", [limited], shape, {}, {"term": constant(-1)})
    graph.replace(
        [source, operation],
        [
            Operation(up, "add", list(source.inputs), shape, {}, {"term": constant(1)}),
            Operation(limited, "activation", [up], shape, {"function": "relu_limited", "limit": 2.0}),
            down,
        ],
    )
    return Absorption(down, [source.name])
