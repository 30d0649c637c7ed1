"""Samples that decide which candidate is taken, and what a candidate scores on them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol, TypeVar

import numpy as np

from export.client import Worker
from export.data.samples import Inputs
from export.ir.graph import Graph
from export.quantization.scales import Ranges

HELD_OUT_PERIOD = 4  # of so many samples in a row the last one is held out
LEAST_SIGNAL = 1e-30  # power of a sample's outputs that are all zero, whose ratio to the noise is taken all the same
LEAST_NOISE = 1e-12  # share of the signal's power: 120 dB, which float32 does not exceed


class Scored(Protocol):
    """What has a score: a graph with the ranges of its activations, told from others by its identity."""

    @property
    def graph(self) -> Graph:
        """What is computed."""
        ...

    @property
    def ranges(self) -> Ranges:
        """In which 8 bits."""
        ...


Name = TypeVar("Name")
Candidate = TypeVar("Candidate", bound=Scored)


def split(samples: Inputs) -> tuple[Inputs, Inputs]:
    """Samples that are held out to decide, and samples that set ranges and weights; few samples do both."""
    count = len(samples[0])
    if count < 2 * HELD_OUT_PERIOD:
        return samples, samples
    held_out = np.arange(count) % HELD_OUT_PERIOD == HELD_OUT_PERIOD - 1
    return [array[held_out] for array in samples], [array[~held_out] for array in samples]


class HeldOutScore:
    """SQNR of a candidate's logits in simulated int8 against the float graph's: the mean over samples, in dB."""

    def __init__(self, worker: Worker, graph: Graph, samples: Inputs, keep_float: Collection[str]) -> None:
        self._worker, self._samples, self._keep_float = worker, samples, keep_float
        self._names = [graph.logits(name) for name in graph.outputs]
        self._expected = worker.evaluate(graph, self._names, samples)
        self._scores: dict[Scored, float] = {}

    def __call__(self, candidate: Scored) -> float:
        """The score; it is computed once, and -inf where the outputs are not finite."""
        if candidate not in self._scores:
            settings = (candidate.ranges, self._keep_float)
            outputs = self._worker.evaluate(candidate.graph, self._names, self._samples, *settings)
            self._scores[candidate] = mean_sqnr(self._expected, outputs)
        return self._scores[candidate]

    def reported(self, candidate: Scored) -> float | None:
        """The score as the report gives it: None where the outputs are not finite."""
        score = self(candidate)
        return round(score, 2) if np.isfinite(score) else None

    def best(self, candidates: dict[Name, Candidate]) -> tuple[Name, Candidate]:
        """The name of the best candidate, the earlier one of equals, and the candidate."""
        return max(candidates.items(), key=lambda item: self(item[1]))


def mean_sqnr(expected: Inputs, outputs: Inputs) -> float:
    """SQNR of the outputs of each sample, in dB, the mean over samples, so that one odd sample does not decide.

    Args:
        expected, outputs: (samples, …) for each output.
    """

    def power(arrays: Inputs) -> np.ndarray:
        return sum(np.square(array, dtype=np.float64).reshape(len(array), -1).sum(axis=1) for array in arrays)

    noise = power([a - b for a, b in zip(expected, outputs, strict=True)])
    signal = np.maximum(power(expected), LEAST_SIGNAL)
    ratios = 10 * np.log10(signal / np.maximum(noise, LEAST_NOISE * signal))
    return float(np.nan_to_num(ratios.mean(), nan=-np.inf))
