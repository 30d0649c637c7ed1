"""Operations that do once more what one before them does.

    a = f(x),  b = f(x)   →   a = f(x), and who read b reads a

The converter does so too, after it was told a range for each: where training made these differ, the file would
compute in float.
"""

from __future__ import annotations

import json

from export.ir.graph import Graph
from export.passes.fold import Absorption


def merge_repeats(graph: Graph) -> list[Absorption]:
    """Let operations without weights that do the same to the same inputs be one."""
    merged: dict[str, Absorption] = {}
    for operation in list(graph.operations.values()):
        if operation.kind == "input" or operation.weights:
            continue
        key = json.dumps([operation.kind, operation.inputs, operation.attributes, operation.shape], sort_keys=True)
        first = merged.setdefault(key, Absorption(operation, []))
        if first.operation is not operation:
            graph.redirect(operation.name, first.operation.name)
            first.absorbed.append(operation.name)
            del graph.operations[operation.name]
    return [repeats for repeats in merged.values() if repeats.absorbed]
