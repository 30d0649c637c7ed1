"""Which tensors of a graph are quantized to 8 bits, and to which ranges."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from export.client import Worker
from export.graph import Graph, Operation

Ranges = dict[str, tuple[float, float]]

# TFLite fixes the output scale of these: 1/256 from 0, and 1/128 around 0.
FIXED_RANGES = {"softmax": (0.0, 255 / 256), "sigmoid": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}
# Activations that TFLite fuses into the operation before them: only their output is stored.
FUSED = ("relu", "relu6")
FUSING = ("conv2d", "depthwise_conv2d", "dense", "add", "subtract", "multiply")
# TFLite's kernels for these give their output the scale of their input.
SAME_SCALE = (
    "max_pool", "average_pool", "maximum_over", "minimum_over", "maximum", "minimum",
    "reshape", "transpose", "pad", "strided_slice", "concatenate", "resize",
)  # fmt: skip


def quantized_tensors(graph: Graph, keep_float: Collection[str] = ()) -> list[str]:
    """Operations whose output gets a range of its own, in order of execution.

    Not those that are fused with the activation after them, and not those that keep their
    input's scale (of which a concatenation needs one range for all its inputs). Of operations that
    stay in float, those whose output is stored in int8 all the same.
    """
    consumers = graph.consumers()
    return [
        name
        for name, operation in graph.operations.items()
        if (
            name in graph.outputs or any(reader.name not in keep_float for reader in consumers[name])
            if name in keep_float
            else operation.kind not in SAME_SCALE and not is_fused(operation, consumers[name], graph)
        )
    ]


def is_fused(operation: Operation, readers: Sequence[Operation], graph: Graph) -> bool:
    """Whether TFLite computes the operation in one with the activation that alone reads it."""
    return (
        operation.kind in FUSING
        and operation.name not in graph.outputs
        and len(readers) == 1
        and readers[0].attributes.get("function") in FUSED
    )


def calibrate(
    graph: Graph,
    worker: Worker,
    samples: Sequence[np.ndarray],
    input_range: tuple[float, float] | None,
    keep_float: Collection[str] = (),
) -> Ranges:
    """Ranges from representative samples, (N, …) for each input.

    The range of an activation is the mean over the samples of each sample's minimum and maximum,
    which a single outlier cannot widen as it widens the global ones. Outputs keep the global range,
    since clipped logits tie; the input has the range that its preprocessing defines, if it is known.
    """
    names = quantized_tensors(graph, keep_float)
    low, high = worker.observe(graph, names, list(samples))
    ranges: Ranges = {}
    for index, name in enumerate(names):
        operation = graph.operations[name]
        fixed = FIXED_RANGES.get(operation.attributes.get("function", ""))
        if operation.kind == "input" and input_range:
            ranges[name] = input_range
        elif fixed:
            ranges[name] = fixed
        elif operation.kind == "input" or _feeds_output(graph, name):
            ranges[name] = _with_zero(low[index].min(), high[index].max())
        else:
            ranges[name] = _with_zero(low[index].mean(), high[index].mean())
    return _shared(graph, ranges, keep_float)


def _with_zero(low: float, high: float) -> tuple[float, float]:
    """Zero must be exact (padding, ReLU), and a range must not be empty: LiteRT ends the process on such scales."""
    low, high = min(0.0, float(low)), max(0.0, float(high))
    return (low, high) if high - low > 1e-6 else (low, low + 1.0)


def _feeds_output(graph: Graph, name: str) -> bool:
    """Whether the tensor is an output, or the logits of one that is a softmax."""
    softmax = [op for op in graph.consumers().get(name, []) if op.attributes.get("function") == "softmax"]
    return name in graph.outputs or any(op.name in graph.outputs for op in softmax)


def _shared(graph: Graph, ranges: Ranges, keep_float: Collection[str]) -> Ranges:
    """Give tensors that must have one scale the union of their ranges, so that nothing is requantized."""
    group = {name: {name} for name in graph.operations}
    for operation in graph.operations.values():
        if operation.kind in SAME_SCALE and operation.name not in keep_float:
            merged = group[operation.name].union(*(group[name] for name in operation.inputs))
            group |= dict.fromkeys(merged, merged)
    union = {}
    for name in ranges:
        members = [ranges[member] for member in group[name] if member in ranges]
        union[name] = (min(low for low, _ in members), max(high for _, high in members))
    return union


def describe(ranges: Ranges) -> dict[str, Any]:
    """The ranges as JSON, rounded for reading."""
    return {name: [round(low, 6), round(high, 6)] for name, (low, high) in ranges.items()}
