"""Samples for a model of which no data was given: noise, indices within the vocabulary, and steps that are masked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from export.data.samples import Inputs
from export.ir.graph import Graph

UNBOUNDED = 2  # what an index may be where no table tells how many there are
MASKED_SHARE = 4  # of the steps of every other sample one in so many, at the end, is zero


def probing_samples(graph: Graph, dtypes: Mapping[str, str], count: int) -> Inputs:
    """(count, …) for each input: numbers in [0, 1], bytes, or integers that are rows of every table they look up.

    Where something is compared, zeros at the end of every other sample stand for steps that are masked.

    Args:
        dtypes: of the model's inputs.
    """
    random = np.random.default_rng(0)
    masks = any(operation.kind == "compare" for operation in graph.operations.values())
    samples = []
    for name in graph.inputs:
        shape = (count, *graph.operations[name].shape)
        if dtypes[name] == "uint8":
            values = random.integers(256, size=shape).astype(np.float32)
        elif "int" in dtypes[name] or dtypes[name] == "bool":
            values = random.integers(_rows(graph, name), size=shape).astype(np.float32)
        else:
            values = random.random(shape, np.float32)
        if masks and len(shape) > 1:
            values[::2, shape[1] - shape[1] // MASKED_SHARE :] = 0
        samples.append(values)
    return samples


def _rows(graph: Graph, name: str) -> int:
    """The number of rows of the smallest table that an input's integers, moved about, are looked up in."""
    reached, least = {name}, 0
    for operation in graph.operations.values():
        if reached & set(operation.inputs):
            if operation.kind == "embedding":
                rows = len(operation.weights["table"])
                least = min(least, rows) if least else rows
            elif operation.dtype == "int32":
                reached.add(operation.name)
    return least or UNBOUNDED
