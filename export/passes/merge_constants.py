"""Constants in a row (Rescaling, Normalization, …) as one multiplication and one addition.

a₂ · (a₁ · x + b₁) + b₂   →   (a₁ a₂) · x + (a₂ b₁ + b₂)     a, b: by channel

What cancels, as −(−x), leaves nothing.
"""

from __future__ import annotations

import numpy as np

from export.ir.graph import Graph
from export.passes.fold import Absorption, Fold
from export.passes.linear import continues, linear, run_up_to, total, write


def merge_constants(graph: Graph) -> list[Fold]:
    """Make one multiply and one add, by channel, of more in a row."""
    folds: list[Fold] = []
    for last in list(graph.operations.values()):
        if last.name in graph.operations and linear(graph, last) and not continues(graph, last):
            run = run_up_to(graph, last)
            factor, term = total(graph, run)
            if len(run) > int(np.any(factor != 1)) + int(np.any(term)):
                source, readers = graph.operations[run[0].inputs[0]], graph.consumers()[last.name]
                write(graph, run, factor, term)
                home = graph.operations.get(last.name) or (readers[0] if source.kind == "input" and readers else source)
                absorbed = [operation.name for operation in run if operation.name not in graph.operations]
                folds.append(Absorption(home, absorbed))
    return folds
