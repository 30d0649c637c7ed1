"""Ties that hold no longer: places of one layer that took in different things.

    w · x,  w · y                        trained as one w, as Keras has it
    (w·γ₁) · x,  (w·γ₂) · y   γ₁ ≠ γ₂   one w for both is no more in the graph, so neither is trained

Nothing else changes: what the graph computes stays the same.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from export.ir.graph import Graph, Operation
from export.passes.fold import Fold


def loosen_ties(graph: Graph) -> list[Fold]:
    """Leave tied operations untrained whose weights are no longer the same."""
    tied: dict[str, list[Operation]] = defaultdict(list)
    for operation in graph.operations.values():
        if operation.tied:
            tied[operation.tied].append(operation)
    for places in tied.values():
        if not all(_alike(places[0], place) for place in places[1:]):
            for place in places:
                place.tied, place.trainable = "", []
    return []


def _alike(one: Operation, other: Operation) -> bool:
    same_roles = one.trainable == other.trainable and one.weights.keys() == other.weights.keys()
    return same_roles and not any(np.any(array != other.weights[role]) for role, array in one.weights.items())
