"""Ranges of a graph's 8-bit tensors from representative samples."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from export.client import Worker
from export.data.samples import InputRanges, limits_of
from export.errors import InputError
from export.ir.graph import Graph
from export.quantization.scales import (
    ACTIVATION_STEPS,
    MOST_STEPS_OF_OUTPUT,
    Ranges,
    feeds_output,
    of_one_scale,
    quantized_tensors,
    runnable,
    step_of,
)
from export.worker.protocol import Observe

# The converter makes a kernel's steps coarser until the greatest bias is at most so many of the accumulator's units.
MOST_UNITS_OF_BIAS = 2**30


def calibrations(
    graph: Graph,
    worker: Worker,
    samples: Sequence[np.ndarray],
    input_range: InputRanges,
    keep_float: Collection[str] = (),
) -> dict[str, Ranges]:
    """Ranges from representative samples, (N, …) for each input, by the name of the statistic.

    "mean" takes the mean over the samples of each sample's minimum and maximum, which a single outlier
    cannot widen; "extremes" takes the least and the greatest value of all, which cuts nothing off. Outputs
    have these always, since clipped logits tie; the input has the range that its preprocessing defines,
    if it is known.

    Raises:
        InputError: a bias is too large for a layer in 8 bits.
    """
    names = quantized_tensors(graph, keep_float)
    observed = worker.run(Observe(graph, names, list(samples)))
    low, high = observed.low, observed.high
    means: dict[str, tuple[float, float]] = {}
    extremes: dict[str, tuple[float, float]] = {}
    for index, name in enumerate(names):
        operation = graph.operations[name]
        fixed = operation.traits.fixed_range
        if operation.kind == "input" and (limits := limits_of(input_range, name)):
            means[name] = extremes[name] = limits
        elif fixed:
            means[name] = extremes[name] = fixed
        else:
            means[name] = _with_zero(low[index].mean(), high[index].mean())
            extremes[name] = _with_zero(low[index].min(), high[index].max())
            if operation.kind == "input" or feeds_output(graph, name):
                means[name] = extremes[name]
    _check_biases(graph, _shared(graph, extremes, keep_float), keep_float)
    return {
        name: runnable(graph, _shared(graph, ranges, keep_float), keep_float)
        for name, ranges in (("mean", means), ("extremes", extremes))
    }


def _with_zero(low: float, high: float) -> tuple[float, float]:
    """Zero must be exact (padding, ReLU), and a range must not be empty: LiteRT ends the process on such scales."""
    low, high = min(0.0, float(low)), max(0.0, float(high))
    return (low, high) if high - low > 1e-12 else (low, low + 1.0)


def _shared(graph: Graph, ranges: Ranges, keep_float: Collection[str]) -> Ranges:
    """Give tensors that must have one scale the union of their ranges, so that nothing is requantized.

    An input that is what an operation gave at the step before has the range that TFLite prescribes for that.
    """
    union: dict[str, tuple[float, float]] = {}
    for names in of_one_scale(graph, ranges, keep_float):
        members = [ranges[name] for name in names]
        if all(graph.operations[name].kind == "input" or graph.operations[name].traits.fixed_range for name in names):
            prescribed = [limits for name in names if (limits := graph.operations[name].traits.fixed_range)]
            members = prescribed or members
        union |= dict.fromkeys(names, (min(low for low, _ in members), max(high for _, high in members)))
    return union


def _check_biases(graph: Graph, ranges: Ranges, keep_float: Collection[str] = ()) -> None:
    """Raise InputError, naming the layer, where a bias is so far beyond what comes out that XNNPACK refuses it."""
    for operation in graph.operations.values():
        bias = operation.weights.get("bias")
        if bias is None or not operation.traits.has_kernel or operation.name in keep_float:
            continue
        before, after = (step_of(graph, ranges, name) for name in (operation.inputs[0], operation.name))
        greatest = float(np.abs(bias).max(initial=0))
        if before and after and greatest / MOST_UNITS_OF_BIAS >= after * MOST_STEPS_OF_OUTPUT:
            raise InputError(
                f"layer {operation.name!r} has a bias of {greatest:.2g} after its normalization is folded, and what "
                f"comes out of it on the calibration data is within {after * ACTIVATION_STEPS:.2g}: no 8-bit kernel "
                f"holds both; train or load that layer again, or keep it in float (--keep-float {operation.name})"
            )
