"""Ranges of a graph's 8-bit tensors from representative samples."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from export.client import Worker
from export.data.samples import InputRanges, limits_of
from export.ir.graph import Graph
from export.quantization.scales import Ranges, check_biases, feeds_output, of_one_scale, quantized_tensors, runnable
from export.worker.protocol import Observe


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
    check_biases(graph, _shared(graph, extremes, keep_float), keep_float)
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
