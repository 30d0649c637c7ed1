"""What a pass returns, so that weights which are trained after it find back to the model's variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import keras
import numpy as np

from export.ir.graph import Arrays, Graph, Operation, constant

# Share of the greatest factor of a channel. What is multiplied by less has no way back in float32, whose rounding
# errors of about 1e-7 would come back as numbers of the weights' own size.
LEAST_FACTOR = 1e-6


class Fold(Protocol):
    """Operations whose work another one does as well."""

    @property
    def operation(self) -> Operation:
        """The one that does it."""
        ...

    @property
    def absorbed(self) -> list[str]:
        """Their names, which the graph no longer has."""
        ...

    def undone(self, weights: Arrays) -> Arrays:
        """The operation's weights before it, from (trained) weights after it."""
        ...


@dataclass
class Absorption:
    """Operations without trained weights whose work another one does as well, or that had none to do."""

    operation: Operation
    absorbed: list[str]

    def undone(self, weights: Arrays) -> Arrays:
        """What was absorbed has no weights to lead back."""
        return weights


def absorbing_operations(folds: Sequence[Fold]) -> dict[str, str]:
    """For each absorbed operation, the one of the graph that does its work after all folds, given in their order."""
    homes: dict[str, str] = {}
    for fold in reversed(folds):
        homes |= {name: homes.get(fold.operation.name, fold.operation.name) for name in fold.absorbed}
    return homes


Pass = Callable[[Graph], Sequence[Fold]]
"""Rewrites a graph in place, and returns what leads trained weights back."""


def assign(variable: keras.Variable, value: np.ndarray) -> None:
    """Give a Keras variable, under any backend, the numbers of an array that has as many."""
    variable.assign(keras.ops.convert_to_tensor(constant(value).reshape(variable.shape)))
