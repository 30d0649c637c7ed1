"""Average pools over the whole image, as what global pooling is.

    average_pool(x; height × width)   →   mean(x; height and width)

TFLite's average pool gives its output the scale of its input. A mean over many positions varies far less than they do,
so few of the 256 steps would be left to it; a MEAN has a scale of its own.
"""

from __future__ import annotations

from export.ir.graph import Graph
from export.passes.fold import Fold


def averages_to_means(graph: Graph) -> list[Fold]:
    """Rewrite average pools of one window, in place; zeros of padding are not averaged, so they need not count."""
    for operation in graph.operations.values():
        if operation.kind != "average_pool":
            continue
        sides = graph.operations[operation.inputs[0]].shape[:2]
        covered = all(size >= side for size, side in zip(operation.attributes["size"], sides, strict=True))
        if operation.shape[:2] == (1, 1) and covered:
            operation.kind, operation.attributes = "mean", {"axes": [1, 2], "keepdims": True}
    return []
