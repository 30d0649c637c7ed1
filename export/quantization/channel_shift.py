"""Centering channels: an offset for each, so that a tensor's channels share one narrow range.

Between convolutions without an activation, a constant may be taken from a channel at its source and
given back through the bias of every layer that reads it. A tensor has one int8 range for all channels,
so channels around different means need a wide one. (The shift of Wei et al. 2023, "Outlier
Suppression+", section 3, over residual sums as well.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from export.ir.channels import by_input, response
from export.ir.graph import Graph, Operation
from export.quantization.cross_layer_equalization import carries


def shiftable_operations(graph: Graph) -> list[str]:
    """Convolutions and dense layers whose outputs can be shifted without changing what the graph computes."""
    readers = graph.consumers()
    takes: dict[str, bool] = {}
    for name in reversed(graph.operations):
        takes[name] = name not in graph.outputs and all(
            _passes(graph, reader) and takes[reader.name] if reader.traits.carries_offset else _absorbs(reader)
            for reader in readers[name]
        )
    return [
        name
        for name, operation in graph.operations.items()
        if operation.traits.scalable and "bias" in operation.weights and takes[name] and readers[name]
    ]


def _passes(graph: Graph, operation: Operation) -> bool:
    one_tensor = len({graph.operations[name].shape for name in operation.inputs}) == 1
    return carries(graph, operation) and one_tensor


def _absorbs(operation: Operation) -> bool:
    """Whether the bias can give an offset back: padded zeros would not be zero any more."""
    if not operation.traits.scalable or "bias" not in operation.weights:
        return False
    kernel = operation.weights["kernel"]
    return operation.kind == "dense" or kernel.shape[:2] == (1, 1) or operation.attributes["padding"] == "valid"


def absorbers(graph: Graph, name: str) -> list[str]:
    """The operations that give back what is taken from the output of a shiftable one."""
    readers = graph.consumers()
    absorbing: list[str] = []
    reached = [name]
    for tensor in reached:
        for reader in readers[tensor]:
            (reached if reader.traits.carries_offset else absorbing).append(reader.name)
    return absorbing


def offsets(graph: Graph, shifts: Mapping[str, Any]) -> dict[str, Any]:
    """How far each tensor is off when the outputs of `shifts`' operations are less by so much for each channel.

    Values are arrays or tensors of one number a channel; tensors that are not off are left out.
    """
    off: dict[str, Any] = {}
    for name, operation in graph.operations.items():
        if name in shifts:
            off[name] = shifts[name]
        elif operation.traits.carries_offset and any(source in off for source in operation.inputs):
            terms = [off.get(source, 0.0) for source in operation.inputs]
            if operation.kind == "subtract":
                terms[1:] = [-term for term in terms[1:]]
            off[name] = sum(terms[1:], terms[0])
    return off


def shift_channels(graph: Graph, shifts: Mapping[str, np.ndarray]) -> None:
    """Take `shifts` from the outputs of their operations, in place; what the graph computes stays the same."""
    off = offsets(graph, shifts)
    for name, operation in graph.operations.items():
        if not operation.traits.scalable:
            continue
        weights = operation.weights
        source = operation.inputs[0]
        if source in off:
            regained = response(operation, weights["kernel"], by_input(operation, off[source]))
            weights["bias"] = (weights["bias"] + regained).astype(np.float32)
        if name in shifts:
            weights["bias"] = (weights["bias"] - shifts[name]).astype(np.float32)
