"""What the float model gives: the measure of every file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from export.data.samples import Inputs, first
from export.ir.graph import Graph
from export.record import Record
from export.run import Run
from export.verification.metrics import Observed
from export.verification.output_errors import softmax
from export.verification.parity import keras_outputs, relative_rms

SELF_CHECKED_SAMPLES = 2
GRAPH_PARITY = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 8e-2}
"""What a graph may be off by, by the dtype that the model computes in: a mistake makes more.

Keras's own float32 is up to 1.9e-5 from float64 (ResNet50 on photos). The others are 20 times the rounding of one
number, which sums up over layers.
"""


@dataclass(frozen=True)
class Outputs:
    """A graph's outputs in float on the samples that are compared, (N, …) each."""

    before_softmax: list[np.ndarray]
    after_softmax: list[np.ndarray]


@dataclass(frozen=True, eq=False)
class SelfCheck(Record):
    """How far the graph, in float32 by TensorFlow, is from the Keras model under its own backend.

    Attributes:
        relative_rms: of the difference of the outputs.
        limit: up to which the graph counts as the same: what `compute_dtype` makes uncertain.
        compute_dtype: of the Keras model: of its layers' the least precise.
    """

    relative_rms: float
    limit: float
    compute_dtype: str


@dataclass(frozen=True)
class FloatModel:
    """What was measured on the Keras model before anything changed its weights.

    Attributes:
        self_check: how far the graph is from it.
        outputs: the graph's, as it was read.
        observed: what the metrics keep of it on each evaluation sample; empty without targets.
    """

    self_check: SelfCheck
    outputs: Outputs
    observed: Observed

    @classmethod
    def measured(cls, run: Run) -> FloatModel:
        """Check the graph against the model, and run the model over the evaluation samples."""
        outputs = float_outputs(run, run.source.graph)
        with run.clock("self-check"):
            checked = _self_check(run, outputs)
        with run.clock("evaluate float"):
            return cls(checked, outputs, observed_in_keras(run))


def float_outputs(run: Run, graph: Graph) -> Outputs:
    """What the graph gives in float for the samples that are compared."""
    before = [graph.logits(name) for name in graph.outputs]
    with run.clock("evaluate float"):
        values = run.worker.evaluate(graph, [*before, *graph.outputs], run.data.compared)
    return Outputs(values[: len(before)], values[len(before) :])


def observed_in_keras(run: Run) -> Observed:
    """What the metrics keep of the Keras model, as it is now, on each evaluation sample; empty without targets."""
    return observed(run, lambda batch: keras_outputs(run.source.model, batch))


def observed(run: Run, function: Callable[[Inputs], list[np.ndarray]]) -> Observed:
    """The same of what gives outputs for a batch of inputs."""
    return run.evaluation.observe(function) if run.evaluation else []


def accuracy(run: Run, observed: Observed) -> float | None:
    """In [0, 1]; None where that is not the metric."""
    return run.evaluation.accuracy(observed) if run.evaluation else None


def _self_check(run: Run, outputs: Outputs) -> SelfCheck:
    """Over the first samples; of several outputs the worst.

    A softmax turns an absolute error of its input into a relative one of its output: where one stands at the
    end, the difference is taken over its greatest input.
    """
    graph = run.source.graph
    samples = first(run.data.compared, SELF_CHECKED_SAMPLES)
    expected = keras_outputs(run.source.model, samples)
    found = [values[:SELF_CHECKED_SAMPLES] for values in outputs.after_softmax]
    logits = [values[:SELF_CHECKED_SAMPLES] for values in outputs.before_softmax]
    errors = []
    for name, cut, wanted, given, scores in zip(graph.outputs, run.source.cut, expected, found, logits, strict=True):
        error = relative_rms([wanted], [softmax(given) if cut else given])
        follows = cut or graph.logits(name) != name
        errors.append(error / max(1.0, float(np.abs(scores).max())) if follows else error)
    dtype = compute_dtype(run.source.model)
    return SelfCheck(max(errors), GRAPH_PARITY[dtype], dtype)


def compute_dtype(model: keras.Model) -> str:
    """The least precise dtype that a layer computes in: another than float32 under a mixed-precision policy."""
    layers = [layer for layer in model.layers if not isinstance(layer, keras.Model)]
    nested = [compute_dtype(layer) for layer in model.layers if isinstance(layer, keras.Model)]
    found = {*nested, *(str(layer.compute_dtype) for layer in layers)}
    return next((dtype for dtype in ("bfloat16", "float16") if dtype in found), "float32")
