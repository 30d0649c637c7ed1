"""Operations that do once more what one before them does.

    a = f(x),  b = f(x)   →   a = f(x), and who read b reads a

The converter does so too, after it was told a range for each: where training made these differ, the file would
compute in float.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from export.ir.graph import Graph, Operation
from export.worker.wire import Arrays


@dataclass
class MergedRepeats:
    """Operations that did once more what one before them does."""

    operation: Operation
    absorbed: list[str]

    def undone(self, weights: Arrays) -> Arrays:
        """They have no weights."""
        return weights


def merge_repeats(graph: Graph) -> list[MergedRepeats]:
    """Let operations without weights that do the same to the same inputs be one."""
    merged: dict[str, MergedRepeats] = {}
    for operation in list(graph.operations.values()):
        if operation.kind == "input" or operation.weights:
            continue
        key = json.dumps([operation.kind, operation.inputs, operation.attributes, operation.shape], sort_keys=True)
        first = merged.setdefault(key, MergedRepeats(operation, []))
        if first.operation is not operation:
            graph.redirect(operation.name, first.operation.name)
            first.absorbed.append(operation.name)
            del graph.operations[operation.name]
    return [repeats for repeats in merged.values() if repeats.absorbed]
