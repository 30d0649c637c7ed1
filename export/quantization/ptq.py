"""Post-training quantization that keeps what the float model sees: the `tuned` way to int8.

Steps on the neutral graph, none of which needs labels or changes what the file costs to run:
cross-layer equalization of channels, a channel shift that centers them, calibration of ranges
(`export.quantization.ranges`), learned equalization, which takes all of these on towards the float model's logits
(`export.worker.learned_equalization`), and GPTQ, which rounds kernels so that their errors cancel
(`export.worker.gptq`). Each step is kept only if samples that it did not see say so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from export.client import Worker
from export.data.samples import InputRanges, Inputs, blended
from export.ir.graph import Graph, Operation
from export.quantization.channel_changes import ChannelChanges
from export.quantization.held_out import HeldOutScore, split
from export.quantization.ranges import calibrations
from export.quantization.scales import Ranges, learnable, runnable
from export.record import Record
from export.worker.protocol import Batch, LearnedGroup, LearnEqualization, RoundWeights, TrainingLength

MOST_FOR_ROUNDING = 64  # samples by which kernels are rounded
LEARNING_BATCH = 8  # samples in a step of learned equalization
LEARNING_STEPS = 160  # of learned equalization at most
# Multiply-accumulate operations that its steps may take in forward passes, what MobileNetV2 takes at 224 pixels for all
# of them. A model that leaves time for fewer than the least is not learned on.
LEARNING_WORK = 5e11
LEAST_LEARNING_STEPS = 50
# RMS of the quantization noise over that of the logits at which the learning rates are taken as they are: that of
# MobileNetV2 on photos, for which they were found. Where there is less noise, they are less in proportion.
NOISE_AT_FULL_LEARNING_RATE = 0.06


@dataclass(frozen=True)
class PostTraining:
    """Which steps are taken: see the module. The calibration of ranges always is."""

    equalize: bool = True
    center: bool = True
    learn: bool = True
    round_weights: bool = True


CALIBRATION_ALONE = PostTraining(equalize=False, center=False, learn=False, round_weights=False)


@dataclass(frozen=True)
class LearningData:
    """What weights are learned from.

    Attributes:
        steps: how many batches there are for learned equalization.
        batches: for that, without targets.
        rounding_samples: (N, …) for each input, to round kernels by.
    """

    steps: int
    batches: Iterator[Batch]
    rounding_samples: Inputs


@dataclass(frozen=True, eq=False)
class TuningRecord(Record):
    """What post-training quantization chose.

    Attributes:
        equalization: the name of the cross-layer equalization that was taken, or "none".
        ranges: which statistic of activations sets them.
        taken: the steps that made held-out samples better, and so were kept.
        held_out_sqnr_db: of the logits on these samples after each step, in dB.
    """

    equalization: str
    ranges: str
    taken: list[str]
    held_out_sqnr_db: dict[str, float | None]


@dataclass(frozen=True, eq=False)
class Tuned:
    """A graph that is ready for int8.

    Attributes:
        graph: with kernels on their grids.
        ranges: of its activations.
        unrounded: `graph` before its kernels were put on their grids.
        record: what was chosen.
    """

    graph: Graph
    ranges: Ranges
    unrounded: Graph | None = None
    record: TuningRecord | None = None


def tune(
    graph: Graph,
    worker: Worker,
    samples: Inputs,
    input_range: InputRanges,
    keep_float: Collection[str] = (),
    steps: PostTraining = PostTraining(),
    invertible: bool = False,
    data: LearningData | None = None,
) -> Tuned:
    """Prepare a graph for int8; `graph` itself is left as it is.

    Args:
        graph: with batch normalization folded.
        samples: representative inputs, (N, …) each.
        input_range: of the model's inputs, if known.
        keep_float: operations that stay in float.
        steps: which steps to take.
        invertible: change only weights from which a way leads back to the model's variables.
        data: what to learn from; by default the samples, as far as `learning_steps` goes, and 64 for kernels.
    """
    changeable = _changeable(graph, invertible)
    kernels = [name for name in changeable if name not in keep_float]
    held_out, seen = split(samples)
    score = HeldOutScore(worker, graph, held_out, keep_float)

    def calibrated(candidate: Graph) -> dict[str, Tuned]:
        ranges = calibrations(candidate, worker, seen, input_range, keep_float)
        return {statistic: Tuned(candidate, values) for statistic, values in ranges.items()}

    def rounded(inputs: Inputs) -> Tuned:
        result = start.graph.copy()
        result.set_weights(worker.run(RoundWeights(result, kernels, inputs)).arrays)
        return Tuned(result, start.ranges)

    starts = _keyed("none", calibrated(graph.copy()))
    channels = ChannelChanges.of(graph, worker, seen, changeable)
    if steps.equalize:
        for name in channels.equalizations():
            starts |= _keyed(name, calibrated(channels.equalized(graph, name)))
    (equalization, statistic), start = score.best(starts)
    scores = {"calibrated": score.reported(start)}
    taken = []

    def better(step: str, after: Tuned, before: Tuned) -> Tuned:
        scores[step] = score.reported(after)
        if score(after) <= score(before):
            return before
        taken.append(step)
        return after

    if steps.center and channels.shiftable:
        centered = channels.centered(graph)
        if equalization != "none":
            centered = ChannelChanges.of(centered, worker, seen, changeable).equalized(centered, equalization)
        start = better("centered", calibrated(centered)[statistic], start)
    data = data or _learning_data(graph, seen)
    if steps.learn and data.steps:
        noise = 10 ** (-score(start) / 20)
        start = better("learned", _learned(start, graph, worker, data, keep_float, channels, noise), start)
    result = start
    if steps != CALIBRATION_ALONE:
        result = rounded([])
        scores["nearest"] = score.reported(result)
    if steps.round_weights:
        result = better("rounded", rounded(data.rounding_samples), result)
    record = TuningRecord(equalization, statistic, taken, scores)
    return Tuned(result.graph, result.ranges, start.graph, record)


def _keyed(equalization: str, candidates: dict[str, Tuned]) -> dict[tuple[str, str], Tuned]:
    return {(equalization, statistic): candidate for statistic, candidate in candidates.items()}


def _changeable(graph: Graph, invertible: bool) -> list[str]:
    """Convolutions and dense layers whose weights may be changed."""
    return [
        name
        for name, operation in graph.operations.items()
        if operation.traits.scalable
        and not (invertible and (operation.tied or set(operation.weights) - set(operation.trainable)))
    ]


def learning_steps(graph: Graph, samples: int) -> int:
    """How many steps biases and ranges are learned for: fewer for large models, none where too few would be left."""
    work = sum(_multiplications(operation) for operation in graph.operations.values()) * LEARNING_BATCH
    steps = min(LEARNING_STEPS, int(LEARNING_WORK / max(work, 1)))
    return steps if steps >= LEAST_LEARNING_STEPS and samples >= 2 * LEARNING_BATCH else 0


def _multiplications(operation: Operation) -> int:
    if not operation.traits.scalable:
        return 0
    return int(np.prod(operation.shape[:-1]) * operation.weights["kernel"].size)


def _learned(
    start: Tuned,
    teacher: Graph,
    worker: Worker,
    data: LearningData,
    keep_float: Collection[str],
    channels: ChannelChanges,
    noise: float,
) -> Tuned:
    """`start` with channels, biases and ranges that bring its logits closer to the float graph's.

    Where there is little `noise`, of the signal, there is little to move, and large steps would add to it.
    """
    request = LearnEqualization(
        graph=start.graph,
        length=TrainingLength(data.steps, epochs=1),
        teacher=teacher,
        ranges=start.ranges,
        shared=learnable(start.graph, start.ranges, keep_float),
        keep_float=sorted(keep_float),
        groups=[LearnedGroup(group.sources, group.sinks) for group in channels.groups],
        shifted=channels.shiftable,
        biases=channels.biases,
        learning_rate_scale=min(1.0, noise / NOISE_AT_FULL_LEARNING_RATE),
    )
    trained = worker.run(request, data.batches)
    assert trained.ranges is not None
    graph = start.graph.copy()
    graph.set_weights(trained.weights)
    return Tuned(graph, runnable(graph, trained.ranges, keep_float))


def _learning_data(graph: Graph, samples: Inputs) -> LearningData:
    steps = learning_steps(graph, len(samples[0]))
    return LearningData(steps, _shuffled(samples, steps), [array[:MOST_FOR_ROUNDING] for array in samples])


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
