"""Post-training quantization that keeps what the float model sees: the `tuned` way to int8.

Steps on the neutral graph, none of which needs labels or changes what the file costs to run:
cross-layer equalization of channels, a channel shift that centers them, calibration of ranges
(`export.quantization.ranges`), learned equalization, which takes all of these on towards the float model's logits
(`export.worker.learned_equalization`), and GPTQ, which rounds kernels so that their errors cancel
(`export.worker.gptq`). Each step is kept only if samples that it did not see say so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from export.client import Worker
from export.data.samples import InputRanges, Inputs, blended
from export.ir.graph import Graph
from export.quantization.channel_shift import absorbers, shift_channels, shiftable_operations
from export.quantization.cross_layer_equalization import (
    ChannelGroup,
    channel_factors,
    channel_groups,
    scale_channels,
)
from export.quantization.ranges import calibrations
from export.quantization.scales import Ranges, can_run, learnable
from export.worker.protocol import Batch, LearnedGroup, LearnEqualization, ObserveChannels, RoundWeights, TrainingLength
from export.worker.wire import Arrays

Name = TypeVar("Name")
# What `channel_factors` takes for each kind of group; the best on held-out samples is taken.
EQUALIZATIONS: dict[str, dict[str, float]] = {
    "depthwise": {"depthwise": 1.0},
    "linear": {"depthwise": 1.0, "linear": 0.75},
    "all": {"depthwise": 1.0, "linear": 0.75, "activated": 0.5},
}
LEAST_POWER = 1e-30
LEAST_NOISE = 1e-12  # of the signal: what float32 would give is no better
HELD_OUT = 4  # every fourth sample decides and sets nothing
MOST_FOR_ROUNDING = 64
LEARNING_STEPS = 160
LEARNING_BATCH = 8
NOISE_AT_FULL_PACE = 0.06  # of MobileNetV2 on photos, for which the learning rates were found
LEAST_LEARNING_STEPS = 50
LEARNING_WORK = 5e11  # multiply-accumulates in forward passes: what MobileNetV2 takes for all steps


@dataclass(frozen=True)
class PostTraining:
    """Which steps are taken: see the module. The calibration of ranges always is."""

    equalize: bool = True
    center: bool = True
    learn: bool = True
    round_weights: bool = True


CALIBRATION_ALONE = PostTraining(equalize=False, center=False, learn=False, round_weights=False)


@dataclass(frozen=True)
class Lessons:
    """What weights are learned from.

    Attributes:
        count: of the batches.
        batches: to learn channels from, without targets.
        samples: (N, …) for each input, to round kernels by.
    """

    count: int
    batches: Iterator[Batch]
    samples: Inputs


@dataclass(eq=False)
class Tuned:
    """A graph that is ready for int8.

    Attributes:
        graph: with kernels on their grids.
        ranges: of its activations.
        unrounded: `graph` before its kernels were put on their grids.
        record: SQNR of the logits on held-out samples after each step, in dB (None where XNNPACK would not
            take the scales), and what was chosen.
    """

    graph: Graph
    ranges: Ranges
    unrounded: Graph | None = None
    record: dict[str, Any] = field(default_factory=dict)


def tune(
    graph: Graph,
    worker: Worker,
    samples: Inputs,
    input_range: InputRanges,
    keep_float: Collection[str] = (),
    steps: PostTraining = PostTraining(),
    carried: bool = False,
    lessons: Lessons | None = None,
) -> Tuned:
    """Prepare a graph for int8; `graph` itself is left as it is.

    Args:
        graph: with batch normalization folded.
        samples: representative inputs, (N, …) each.
        input_range: of the model's inputs, if known.
        keep_float: operations that stay in float.
        steps: which steps to take.
        carried: change only weights from which a way leads back to the model's variables.
        lessons: what to learn from; by default the samples, as far as `learning_steps` goes, and 64 for kernels.
    """
    free = _free(graph, carried)
    kernels = [name for name in free if name not in keep_float]
    held, seen = parted(samples)
    judge = _Judge(worker, graph, held, keep_float)

    def calibrated(candidate: Graph) -> dict[str, Tuned]:
        found = calibrations(candidate, worker, seen, input_range, keep_float)
        return {statistic: Tuned(candidate, ranges) for statistic, ranges in found.items()}

    def rounded(inputs: Inputs) -> Tuned:
        result = start.graph.copy()
        result.set_weights(worker.run(RoundWeights(result, kernels, inputs)).arrays)
        return Tuned(result, start.ranges)

    starts = _keyed("none", calibrated(graph.copy()))
    channels = _Channels.of(graph, worker, seen, free)
    if steps.equalize:
        for name, powers in channels.equalizations().items():
            starts |= _keyed(name, calibrated(channels.equalized(graph, powers)))
    (equalization, statistic), start = judge.best(starts)
    record: dict[str, Any] = {"equalization": equalization, "ranges": statistic}
    scores = {"calibrated": judge.told(start)}
    taken = []

    def better(name: str, other: Tuned, one: Tuned) -> Tuned:
        scores[name] = judge.told(other)
        if judge(other) <= judge(one):
            return one
        taken.append(name)
        return other

    if steps.center and channels.shiftable:
        centered = channels.centered(graph)
        if equalization in EQUALIZATIONS:
            again = _Channels.of(centered, worker, seen, free)
            centered = again.equalized(centered, EQUALIZATIONS[equalization])
        start = better("centered", calibrated(centered)[statistic], start)
    lessons = lessons or _lessons(graph, seen)
    if steps.learn and lessons.count:
        noise = 10 ** (-judge(start) / 20)
        start = better("learned", _learned(start, graph, worker, lessons, keep_float, channels, noise), start)
    result = start
    if steps != CALIBRATION_ALONE:
        result = rounded([])
        scores["nearest"] = judge.told(result)
    if steps.round_weights:
        result = better("rounded", rounded(lessons.samples), result)
    result.unrounded = start.graph
    result.record = record | {"taken": taken, "held_out_sqnr_db": scores}
    return result


def _keyed(name: str, candidates: dict[str, Tuned]) -> dict[tuple[str, str], Tuned]:
    return {(name, statistic): candidate for statistic, candidate in candidates.items()}


def _free(graph: Graph, carried: bool) -> list[str]:
    """Convolutions and dense layers whose weights may be changed."""
    return [
        name
        for name, operation in graph.operations.items()
        if operation.traits.scalable
        and not (carried and (operation.tied or set(operation.weights) - set(operation.trainable)))
    ]


def learning_steps(graph: Graph, samples: int) -> int:
    """How many steps biases and ranges are learned for: fewer for large models, none where too few would be left."""
    work = sum(_multiplications(operation) for operation in graph.operations.values()) * LEARNING_BATCH
    count = min(LEARNING_STEPS, int(LEARNING_WORK / max(work, 1)))
    return count if count >= LEAST_LEARNING_STEPS and samples >= 2 * LEARNING_BATCH else 0


def _multiplications(operation: Any) -> int:
    if not operation.traits.scalable:
        return 0
    return int(np.prod(operation.shape[:-1]) * operation.weights["kernel"].size)


def parted(samples: Inputs) -> tuple[Inputs, Inputs]:
    """Samples that decide, and samples that set ranges and weights; few samples do both."""
    count = len(samples[0])
    if count < 2 * HELD_OUT:
        return samples, samples
    decides = np.arange(count) % HELD_OUT == HELD_OUT - 1
    return [array[decides] for array in samples], [array[~decides] for array in samples]


class _Judge:
    """SQNR of a candidate's logits in simulated int8 against the float graph's: the mean over samples, in dB."""

    def __init__(self, worker: Worker, graph: Graph, samples: Inputs, keep_float: Collection[str]) -> None:
        self._worker, self._samples, self._keep_float = worker, samples, keep_float
        self._names = [graph.logits(name) for name in graph.outputs]
        self._expected = worker.evaluate(graph, self._names, samples)
        self._scores: dict[Tuned, float] = {}

    def __call__(self, candidate: Tuned) -> float:
        settings = (candidate.ranges, self._keep_float)
        if candidate not in self._scores and not can_run(candidate.graph, *settings):
            self._scores[candidate] = -np.inf
        if candidate not in self._scores:
            found = self._worker.evaluate(candidate.graph, self._names, self._samples, *settings)
            self._scores[candidate] = _mean_sqnr(self._expected, found)
        return self._scores[candidate]

    def told(self, candidate: Tuned) -> float | None:
        """The score for the report."""
        score = self(candidate)
        return round(score, 2) if np.isfinite(score) else None

    def best(self, candidates: dict[Name, Tuned]) -> tuple[Name, Tuned]:
        """The name of the best candidate, the earlier one of equals, and the candidate."""
        return max(candidates.items(), key=lambda item: self(item[1]))


def _mean_sqnr(expected: Inputs, found: Inputs) -> float:
    """Of the outputs of each sample, in dB, the mean over samples, so that one odd sample does not decide."""

    def power(outputs: Inputs) -> np.ndarray:
        return sum(np.square(output, dtype=np.float64).reshape(len(output), -1).sum(axis=1) for output in outputs)

    noise = power([a - b for a, b in zip(expected, found, strict=True)])
    signal = np.maximum(power(expected), LEAST_POWER)
    ratios = 10 * np.log10(signal / np.maximum(noise, LEAST_NOISE * signal))
    return float(np.nan_to_num(ratios.mean(), nan=-np.inf))


@dataclass
class _Channels:
    """What may be scaled and shifted in a graph, and between what its channels lie on real data.

    Attributes:
        groups: what can be scaled.
        shiftable: operations whose outputs can be shifted.
        biases: operations whose biases may be changed.
        low, high: by operation, (samples, channels).
    """

    groups: list[ChannelGroup]
    shiftable: list[str]
    biases: list[str]
    low: Arrays
    high: Arrays

    @classmethod
    def of(cls, graph: Graph, worker: Worker, samples: Inputs, free: Collection[str]) -> _Channels:
        """Those whose weights are all `free`."""
        groups = [group for group in channel_groups(graph) if {*group.sources, *group.sinks} <= set(free)]
        shiftable = [name for name in shiftable_operations(graph) if {name, *absorbers(graph, name)} <= set(free)]
        biases = [name for name in free if "bias" in graph.operations[name].weights]
        names = sorted({*shiftable, *(name for group in groups for name in group.tensors)})
        found = worker.run(ObserveChannels(graph, names, samples)).arrays if names else {}
        low, high = ({name: values[:, side] for name, values in found.items()} for side in (0, 1))
        return cls(groups, shiftable, biases, low, high)

    def equalizations(self) -> dict[str, dict[str, float]]:
        """Those of `EQUALIZATIONS` that differ for the groups that there are."""
        kinds = {group.kind for group in self.groups}
        found: dict[frozenset[str], str] = {frozenset(): ""}
        for name, powers in EQUALIZATIONS.items():
            found.setdefault(frozenset(kinds & set(powers)), name)
        return {name: EQUALIZATIONS[name] for name in found.values() if name}

    def equalized(self, graph: Graph, powers: dict[str, float]) -> Graph:
        """Another graph that computes the same, with scaled channels."""
        result = graph.copy()
        magnitudes = {name: np.maximum(-low, self.high[name]) for name, low in self.low.items()}
        typical = {name: values.mean(axis=0) for name, values in magnitudes.items()}
        greatest = {name: values.max(axis=0) for name, values in magnitudes.items()}
        for group in self.groups:
            power = powers.get(group.kind)
            if power:
                factors = channel_factors(group, result, typical, greatest, power)
                scale_channels(result, group, factors)
        return result

    def centered(self, graph: Graph) -> Graph:
        """Another graph that computes the same, with channels shifted to lie around 0."""
        result = graph.copy()
        middles = {name: (self.low[name] + self.high[name]).mean(axis=0) / 2 for name in self.shiftable}
        shift_channels(result, middles)
        return result


def _learned(
    start: Tuned,
    teacher: Graph,
    worker: Worker,
    lessons: Lessons,
    keep_float: Collection[str],
    channels: _Channels,
    noise: float,
) -> Tuned:
    """`start` with channels, biases and ranges that bring its logits closer to the float graph's.

    Where there is little `noise`, of the signal, there is little to move, and large steps would add to it.
    """
    request = LearnEqualization(
        graph=start.graph,
        length=TrainingLength(lessons.count, epochs=1),
        teacher=teacher,
        ranges=start.ranges,
        shared=learnable(start.graph, start.ranges, keep_float),
        keep_float=sorted(keep_float),
        groups=[LearnedGroup(group.sources, group.sinks) for group in channels.groups],
        shifted=channels.shiftable,
        biases=channels.biases,
        learning_rate_scale=min(1.0, noise / NOISE_AT_FULL_PACE),
    )
    trained = worker.run(request, lessons.batches)
    assert trained.ranges is not None
    graph = start.graph.copy()
    graph.set_weights(trained.weights)
    return Tuned(graph, dict(trained.ranges))


def _lessons(graph: Graph, samples: Inputs) -> Lessons:
    count = learning_steps(graph, len(samples[0]))
    return Lessons(count, _shuffled(samples, count), [array[:MOST_FOR_ROUNDING] for array in samples])


def _shuffled(samples: Inputs, count: int) -> Iterator[Batch]:
    """Batches in which every sample comes as often as any other."""
    random = np.random.default_rng(0)
    order: list[int] = []
    for _ in range(count):
        if len(order) < LEARNING_BATCH:
            order = list(random.permutation(len(samples[0])))
        chosen, order = order[:LEARNING_BATCH], order[LEARNING_BATCH:]
        batch = blended([np.asarray(array[chosen], np.float32) for array in samples], random)
        yield Batch(batch)
