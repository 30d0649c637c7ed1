"""Which tensors of a graph are quantized to 8 bits, and to which ranges."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from export.client import Worker
from export.ir.graph import Graph, Operation

Ranges = dict[str, tuple[float, float]]

STEPS = 255  # of an activation's range
GREATEST_WEIGHT = 127
MOST_STEPS_OF_OUTPUT = 256
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


def calibrations(
    graph: Graph,
    worker: Worker,
    samples: Sequence[np.ndarray],
    input_range: tuple[float, float] | None,
    keep_float: Collection[str] = (),
) -> dict[str, Ranges]:
    """Ranges from representative samples, (N, …) for each input, by the name of the statistic.

    "mean" takes the mean over the samples of each sample's minimum and maximum, which a single outlier
    cannot widen; "extremes" takes the least and the greatest value of all, which cuts nothing off. Outputs
    have these always, since clipped logits tie; the input has the range that its preprocessing defines,
    if it is known.
    """
    names = quantized_tensors(graph, keep_float)
    low, high = worker.observe(graph, names, list(samples))
    means: Ranges = {}
    extremes: Ranges = {}
    for index, name in enumerate(names):
        operation = graph.operations[name]
        fixed = FIXED_RANGES.get(operation.attributes.get("function", ""))
        if operation.kind == "input" and input_range:
            means[name] = extremes[name] = input_range
        elif fixed:
            means[name] = extremes[name] = fixed
        else:
            means[name] = _with_zero(low[index].mean(), high[index].mean())
            extremes[name] = _with_zero(low[index].min(), high[index].max())
            if operation.kind == "input" or _feeds_output(graph, name):
                means[name] = extremes[name]
    return {name: _shared(graph, ranges, keep_float) for name, ranges in (("mean", means), ("extremes", extremes))}


def _with_zero(low: float, high: float) -> tuple[float, float]:
    """Zero must be exact (padding, ReLU), and a range must not be empty: LiteRT ends the process on such scales."""
    low, high = min(0.0, float(low)), max(0.0, float(high))
    return (low, high) if high - low > 1e-12 else (low, low + 1.0)


def _feeds_output(graph: Graph, name: str) -> bool:
    """Whether the tensor is an output, or the logits of one that is a softmax."""
    softmax = [op for op in graph.consumers().get(name, []) if op.attributes.get("function") == "softmax"]
    return name in graph.outputs or any(op.name in graph.outputs for op in softmax)


def can_run(graph: Graph, ranges: Ranges, keep_float: Collection[str] = ()) -> bool:
    """Whether XNNPACK takes all scales: a step of input times kernel may be worth at most so many steps of output."""
    readers = graph.consumers()

    def step(name: str) -> float | None:
        while name not in ranges and graph.operations[name].kind in SAME_SCALE:
            name = graph.operations[name].inputs[0]
        while name not in ranges and len(readers[name]) == 1:
            name = readers[name][0].name
        return (ranges[name][1] - ranges[name][0]) / STEPS if name in ranges else None

    for operation in graph.operations.values():
        if "kernel" in operation.weights and operation.name not in keep_float:
            given, result = step(operation.inputs[0]), step(operation.name)
            if given and result:
                greatest = float(np.abs(operation.weights["kernel"]).max())
                if given * greatest / GREATEST_WEIGHT / result >= MOST_STEPS_OF_OUTPUT:
                    return False
    return True


def learnable(graph: Graph, ranges: Ranges, keep_float: Collection[str] = ()) -> dict[str, str]:
    """Operations whose range may be changed, each with the one that it shares its range with, or itself.

    Not inputs, outputs and what TFLite fixes.
    """
    result: dict[str, str] = {}
    for names in _of_one_scale(graph, ranges, keep_float):
        operations = [graph.operations[name] for name in names]
        fixed = any(each.kind == "input" or each.attributes.get("function") in FIXED_RANGES for each in operations)
        if not fixed and not any(_feeds_output(graph, name) for name in names):
            result |= dict.fromkeys(names, names[0])
    return result


def _shared(graph: Graph, ranges: Ranges, keep_float: Collection[str]) -> Ranges:
    """Give tensors that must have one scale the union of their ranges, so that nothing is requantized."""
    union: Ranges = {}
    for names in _of_one_scale(graph, ranges, keep_float):
        members = [ranges[name] for name in names]
        union |= dict.fromkeys(names, (min(low for low, _ in members), max(high for _, high in members)))
    return union


def _of_one_scale(graph: Graph, ranges: Ranges, keep_float: Collection[str]) -> list[list[str]]:
    """The operations of `ranges`, in order of execution, parted into those that TFLite gives one scale."""
    group = {name: {name} for name in graph.operations}
    for operation in graph.operations.values():
        if operation.kind in SAME_SCALE and operation.name not in keep_float:
            merged = group[operation.name].union(*(group[name] for name in operation.inputs))
            group |= dict.fromkeys(merged, merged)
    parts: dict[int, list[str]] = {}
    for name in ranges:
        parts.setdefault(id(group[name]), []).append(name)
    return list(parts.values())
