"""How a file's tensors are called: by the operations of the graph that compute them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from export.ir.graph import Graph


def scope(name: str) -> str:
    """An operation's name as TensorFlow allows it."""
    return re.sub(r"[^A-Za-z0-9_./-]", "_", name).lstrip("_/-") or "operation"


def operations_of(graph: Graph, tensor: str, outputs: Sequence[str]) -> list[str]:
    """The operations that a tensor's name tells of, in order of execution; several where the converter fused them.

    `outputs` are the tensors that the file gives out, which have names of their own.
    """
    if tensor in outputs:
        return [graph.outputs[outputs.index(tensor)]]
    by_scope = {scope(name): name for name in graph.operations}
    named = set()
    for part in tensor.split(";"):
        words = part.split("/")
        prefixes = ("/".join(words[:length]) for length in range(len(words), 0, -1))
        named.add(next((by_scope[prefix] for prefix in prefixes if prefix in by_scope), None))
    return [name for name in graph.operations if name in named]
