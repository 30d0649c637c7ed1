"""The way back of all passes: trained weights of the graph into the Keras variables that they came from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from export.ir.graph import Graph
from export.passes.fold import Fold, assign


def carry_back(graph: Graph, folds: Sequence[Fold]) -> None:
    """Write the graph's trained weights into the model's variables.

    The folds are undone, the last one first, so that the model computes what the graph does.
    """
    by_operation: dict[str, list[Fold]] = defaultdict(list)
    for fold in folds:
        by_operation[fold.operation.name].insert(0, fold)
    for operation in graph.operations.values():
        if not operation.trainable:
            continue
        values = dict(operation.weights)
        for fold in by_operation[operation.name]:
            values |= fold.undone(values)
        for role in operation.trainable:
            if role in operation.variables:
                variable = operation.variables[role]
                order = operation.axes.get(role, range(len(variable.shape)))
                value = values[role].reshape([variable.shape[axis] for axis in order])
                assign(variable, value.transpose(np.argsort(order)))
