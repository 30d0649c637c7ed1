"""Ranges of activations that training can move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from export.ir.graph import Graph
from export.quantization.scales import ACTIVATION_STEPS, Ranges, step_of

LEAST_STEP = 1e-6 / ACTIVATION_STEPS  # of a constant tensor, in whose units a bias could not move at all


class LearnedRanges:
    """Ranges by operation, some of them variables: the logarithms of how far they reach on both sides of 0."""

    def __init__(self, ranges: Ranges, shared: Mapping[str, str]) -> None:
        """`shared`: for each operation whose range is learned, the one that it shares it with, or itself."""
        self._ranges = {name: (float(low), float(high)) for name, (low, high) in ranges.items()}
        self._shared = shared
        self._logarithms = {
            root: [tf.Variable(np.log(abs(end)), dtype=tf.float32) if end else None for end in ranges[root]]
            for root in set(shared.values())
        }

    @property
    def variables(self) -> list[tf.Variable]:
        """What is trained."""
        return [each for pair in self._logarithms.values() for each in pair if each is not None]

    def of(self, name: str) -> tuple[Any, Any]:
        """The range of an operation's output."""
        if name not in self._shared:
            return self._ranges[name]
        low, high = self._logarithms[self._shared[name]]
        return (0.0 if low is None else -tf.exp(low)), (0.0 if high is None else tf.exp(high))

    def tensors(self) -> dict[str, tuple[Any, Any]]:
        """All ranges, for `execute.run`."""
        return {name: self.of(name) for name in self._ranges}

    def values(self) -> dict[str, tuple[float, float]]:
        """All ranges as they are now."""
        return {name: (float(low), float(high)) for name, (low, high) in self.tensors().items()}


def output_step(graph: Graph, ranges: Ranges, name: str) -> float:
    """What a bias is learned in units of: a step of the tensor that it is added to.

    In float there are no steps; then it is the 255th part of the operation's greatest weight.
    """
    step = step_of(graph, ranges, name)
    if step is None:
        step = max(float(np.abs(array).max()) for array in graph.operations[name].weights.values()) / ACTIVATION_STEPS
    return max(step, LEAST_STEP)


@tf.custom_gradient
def fake_quantize(values: tf.Tensor, low: Any, high: Any) -> Any:
    """8 bits over a range, nudged so that zero is exact, as TFLite will have it.

    TensorFlow's own operation tells a range only what it cuts off, so that it can but widen. Here the step
    also learns from what rounding costs (Esser et al. 2020, "Learned Step Size Quantization", section 2.1).
    """
    rounded = tf.quantization.fake_quant_with_min_max_vars(values, low, high)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        operation = tf.quantization.fake_quant_with_min_max_vars_gradient
        inside, below, above = operation(upstream, values, low, high)
        span = high - low
        step = span / ACTIVATION_STEPS
        zero = tf.round(-low / step)
        # A value within the range changes with the step by its rounding error, one beyond it with the range's end.
        of_ends = ((ACTIVATION_STEPS - zero) * above - zero * below) * step
        of_span = (tf.reduce_sum(inside * (rounded - values)) + of_ends) / span
        return inside, -of_span, of_span

    return rounded, gradient
