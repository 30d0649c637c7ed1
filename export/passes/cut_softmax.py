"""Logits in place of class probabilities, for who asks for them. It stands outside of `simplify`: outputs change.

output = softmax(x)   →   output = x
"""

from __future__ import annotations

from export.ir.graph import Graph


def cut_softmax(graph: Graph) -> bool:
    """Let the graph end in logits: drop a softmax that is an output. True if there was one."""
    cut = False
    for name in dict.fromkeys(graph.outputs):
        operation = graph.operations[name]
        if operation.function == "softmax":
            graph.remove(operation)
            cut = True
    return cut
