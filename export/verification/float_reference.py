"""What the float model gives: the measure of every file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from export.data.samples import Inputs, first
from export.ir.graph import Graph
from export.run import Run
from export.verification import accuracy
from export.verification.parity import keras_outputs, relative_rms

SELF_CHECKED_SAMPLES = 2


@dataclass(frozen=True)
class Outputs:
    """A graph's outputs in float on the samples that are compared, (N, …) each."""

    before_softmax: list[np.ndarray]
    after_softmax: list[np.ndarray]


@dataclass(frozen=True)
class FloatModel:
    """What was measured on the Keras model before anything changed its weights.

    Attributes:
        graph_error: how far the graph, computed by TensorFlow, is from it under its own backend (relative RMS).
        outputs: the graph's, as it was read.
        correct: whether it is right on each evaluation sample: bool (N,), empty without labels.
    """

    graph_error: float
    outputs: Outputs
    correct: np.ndarray

    @classmethod
    def measured(cls, run: Run) -> FloatModel:
        """Check the graph against the model, and run the model over the evaluation samples."""
        outputs = float_outputs(run, run.source.graph)
        with run.clock("self-check"):
            error = _graph_error(run, outputs)
        with run.clock("evaluate float"):
            return cls(error, outputs, correct_in_keras(run))


def float_outputs(run: Run, graph: Graph) -> Outputs:
    """What the graph gives in float for the samples that are compared."""
    before = [graph.logits(name) for name in graph.outputs]
    with run.clock("evaluate float"):
        values = run.worker.evaluate(graph, [*before, *graph.outputs], run.data.compared)
    return Outputs(values[: len(before)], values[len(before) :])


def correct_in_keras(run: Run) -> np.ndarray:
    """Whether the Keras model, as it is now, is right on each evaluation sample: bool (N,), empty without labels."""
    return correct(run, lambda batch: keras_outputs(run.source.model, batch))


def correct(run: Run, function: Callable[[Inputs], list[np.ndarray]]) -> np.ndarray:
    """The same of what gives outputs for a batch of inputs."""
    if run.data.labels is None:
        return np.zeros(0, bool)
    return accuracy.correct(function, run.data.evaluation, run.data.labels)


def share(correct: np.ndarray) -> float | None:
    """The accuracy; None without labels."""
    return float(correct.mean()) if len(correct) else None


def _graph_error(run: Run, outputs: Outputs) -> float:
    """Relative RMS, over the first samples.

    A softmax turns an absolute error of its input into a relative one of its output: where one stands at the
    end, the difference is taken over its greatest input.
    """
    graph, cut = run.source.graph, run.source.softmax_cut
    samples = first(run.data.compared, SELF_CHECKED_SAMPLES)
    expected = keras_outputs(run.source.model, samples)
    found = [values[:SELF_CHECKED_SAMPLES] for values in outputs.after_softmax]
    if cut:
        found = [np.asarray(keras.ops.convert_to_numpy(keras.ops.softmax(output))) for output in found]
    softmax = cut or any(graph.logits(name) != name for name in graph.outputs)
    logits = [values[:SELF_CHECKED_SAMPLES] for values in outputs.before_softmax]
    greatest = max(float(np.abs(values).max()) for values in logits) if softmax else 1.0
    return relative_rms(expected, found) / max(1.0, greatest)
