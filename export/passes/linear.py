"""Multiplications and additions of constants by channel, y = a · x + b: what several passes look for and write."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.ir.graph import Graph, Operation, constant


def linear(graph: Graph, operation: Operation) -> tuple[np.ndarray, np.ndarray] | None:
    """(factor, term), each for all channels or one for each, if that is what the operation does."""
    role = operation.traits.constant if operation.kind in ("multiply", "add") else ""
    array = operation.weights.get(role)
    if array is None or operation.shape != graph.operations[operation.inputs[0]].shape:
        return None
    if array.size > 1 and not array.size == array.shape[-1] == operation.shape[-1]:
        return None
    array = array.reshape(-1).astype(np.float64)
    return (array, np.zeros(1)) if operation.kind == "multiply" else (np.ones(1), array)


def continues(graph: Graph, operation: Operation) -> bool:
    """Whether what alone reads the operation is such a multiplication or addition too."""
    reader = graph.sole_reader(operation)
    return reader is not None and linear(graph, reader) is not None


def run_up_to(graph: Graph, last: Operation) -> list[Operation]:
    """Such operations in a row that end with this one."""
    run = [last]
    while True:
        source = graph.operations[run[0].inputs[0]]
        if linear(graph, source) is None or graph.sole_reader(source) is None:
            return run
        run.insert(0, source)


def total(graph: Graph, run: Sequence[Operation]) -> tuple[np.ndarray, np.ndarray]:
    """(factor, term) of such operations in a row together: a₂ (a₁ x + b₁) + b₂ = (a₁ a₂) x + (a₂ b₁ + b₂)."""
    factor, term = np.ones(1), np.zeros(1)
    for operation in run:
        step = linear(graph, operation)
        assert step is not None
        factor, term = factor * step[0], term * step[0] + step[1]
    return factor, term


def write(graph: Graph, run: Sequence[Operation], factor: np.ndarray, term: np.ndarray) -> None:
    """Put a multiplication and an addition, as far as they do something, in the place of operations in a row.

    Where they do nothing, nothing stays, unless an input would be given out as it is.
    """
    first, last = run[0], run[-1]
    source = graph.operations[first.inputs[0]]
    if np.all(factor == 1) and not np.any(term) and not (source.kind == "input" and last.name in graph.outputs):
        for operation in run:
            graph.remove(operation)
        return
    multiply = Operation(last.name, "multiply", list(first.inputs), last.shape, {}, {"factor": constant(factor)})
    add = Operation(last.name, "add", list(first.inputs), last.shape, {}, {"term": constant(term)})
    if not np.any(term):
        graph.replace(run, [multiply])
    elif np.all(factor == 1):
        graph.replace(run, [add])
    else:
        multiply.name = f"{last.name}/scaled"
        add.inputs = [multiply.name]
        graph.replace(run, [multiply, add])
