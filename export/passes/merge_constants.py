"""Constants in a row (Rescaling, Normalization, …) as one multiplication and one addition.

a₂ · (a₁ · x + b₁) + b₂   →   (a₁ a₂) · x + (a₂ b₁ + b₂)     a, b: by channel
"""

from __future__ import annotations

import numpy as np

from export.ir.graph import Graph
from export.passes.fold import Fold
from export.passes.linear import continues, linear, run_up_to, total, write


def merge_constants(graph: Graph) -> list[Fold]:
    """Make one multiply and one add, by channel, of more in a row; constants are not trained, so no way leads back."""
    for last in list(graph.operations.values()):
        if last.name in graph.operations and linear(graph, last) and not continues(graph, last):
            run = run_up_to(graph, last)
            factor, term = total(graph, run)
            if len(run) > max(1, int(np.any(factor != 1)) + int(np.any(term))):
                write(graph, run, factor, term)
    return []
