"""Operators of an int8 file that compute in float though nobody asked for it."""

from __future__ import annotations

from collections.abc import Set

from export.ir.graph import Graph
from export.ir.tensor_names import operations_of
from export.tflite_file.audit import Audit


def unexpected_islands(graph: Graph, found: Audit, keep_float: Set[str]) -> list[str]:
    """The file's operators that compute in float and should not."""
    outputs = [port["name"] for port in found.outputs]
    tensors = {island: island.partition(" ")[2] for island in found.float_islands}
    return [
        island
        for island, tensor in tensors.items()
        if not keep_float >= set(operations_of(graph, tensor, outputs) or [island])
    ]
