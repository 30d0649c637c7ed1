"""Does the calibration data look to the first batch normalization as the training data did?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from export.client import Worker
from export.data.samples import Inputs
from export.ir.graph import Graph

SAMPLES = 32
GREATEST_VARIANCE_RATIO = 3.0
GREATEST_SHIFT = 1.0  # in standard deviations


@dataclass
class FirstNormalization:
    """What training recorded before the first batch normalization, and the part of the graph that leads to it."""

    name: str
    mean: np.ndarray
    variance: np.ndarray
    before: Graph

    def fits(self, worker: Worker, samples: Inputs) -> bool:
        """Whether samples, (N, …) for each input, have about the moments that training recorded."""
        return self.warning(worker, samples) is None

    def warning(self, worker: Worker, samples: Inputs) -> str | None:
        """What is wrong if the data's scale is not that of the training data; None if nothing is.

        Data in the right range that is scaled otherwise, such as [0, 1] for a model trained on [-1, 1],
        gives other moments than the moving statistics.

        Args:
            samples: (N, …) for each input.
        """
        step = -(-len(samples[0]) // SAMPLES)
        values = worker.evaluate(self.before, self.before.outputs, [array[::step] for array in samples])[0]
        axes = tuple(range(values.ndim - 1))
        shift = float(np.median(np.abs(values.mean(axes) - self.mean) / np.sqrt(self.variance)))
        ratio = float(np.median(values.var(axes) / self.variance))
        if shift <= GREATEST_SHIFT and 1 / GREATEST_VARIANCE_RATIO <= ratio <= GREATEST_VARIANCE_RATIO:
            return None
        return (
            f"the calibration data seems to be scaled otherwise than the training data: before {self.name!r} its "
            f"variance is {ratio:.2g} times what training recorded, and its mean {shift:.2g} deviations away; "
            "check the model's input range"
        )


def first_normalization(graph: Graph) -> FirstNormalization | None:
    """The first batch normalization that was trained, of a graph in which it is not yet folded."""
    first = next((each for each in graph.operations.values() if each.kind == "batch_normalization"), None)
    if first is None:
        return None
    mean, variance = first.weights["mean"], first.weights["variance"]
    if not mean.any() and (variance == 1).all():  # as it starts
        return None
    return FirstNormalization(
        first.name, mean, variance + np.float32(first.attributes["epsilon"]), up_to(graph, first.inputs[0])
    )


def up_to(graph: Graph, name: str) -> Graph:
    """A copy of what computes one operation's output, and of all inputs."""
    needed = {name, *graph.inputs}
    for operation in reversed(graph.operations.values()):
        if operation.name in needed:
            needed.update(operation.inputs)
    operations = {
        each.name: replace(each, weights=dict(each.weights))
        for each in graph.operations.values()
        if each.name in needed
    }
    return Graph(graph.name, operations, graph.inputs, [name])
