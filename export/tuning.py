"""Post-training quantization that keeps what the float model sees: the `tuned` way to int8.

Four steps on the neutral graph, none of which needs labels or changes what the file costs to run:
equalize channels (`export.equalize`), calibrate ranges (`export.quantize`), round kernels so that
their errors cancel (`export.worker.rounding`), and learn biases and ranges from the float model's
logits (`export.worker.grid_training`). Each step is kept only if samples that it did not see say so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from export import equalize, quantize, verify
from export.client import Worker
from export.graph import Graph
from export.quantize import Ranges
from export.samples import Inputs
from export.wire import Arrays

Name = TypeVar("Name")
# What `equalize.channel_factors` takes for each kind of group; the best on held-out samples is taken.
EQUALIZATIONS: dict[str, dict[str, float]] = {
    "depthwise": {"depthwise": 1.0},
    "linear": {"depthwise": 1.0, "linear": 0.75},
    "all": {"depthwise": 1.0, "linear": 0.75, "activated": 0.5},
}
HELD_OUT = 4  # every fourth sample decides and sets nothing
MOST_FOR_ROUNDING = 64
LEARNING_STEPS = 200
LEARNING_BATCH = 8
LEAST_LEARNING_STEPS = 50
LEARNING_WORK = 5e11  # multiply-accumulates in forward passes: what MobileNetV2 takes for all steps


@dataclass(frozen=True)
class PostTraining:
    """Which steps are taken: see the module. The calibration of ranges always is."""

    equalize: bool = True
    round_weights: bool = True
    learn: bool = True


CALIBRATION_ALONE = PostTraining(equalize=False, round_weights=False, learn=False)


@dataclass
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
    input_range: tuple[float, float] | None,
    keep_float: Collection[str] = (),
    steps: PostTraining = PostTraining(),
    carried: bool = False,
) -> Tuned:
    """Prepare a graph for int8; `graph` itself is left as it is.

    Args:
        graph: with batch normalization folded.
        samples: representative inputs, (N, …) each.
        input_range: of the model's input, if known.
        keep_float: operations that stay in float.
        steps: which steps to take.
        carried: change only weights from which a way leads back to the model's variables.
    """
    free = _free(graph, carried)
    kernels = [name for name in free if name not in keep_float]
    held, seen = parted(samples)
    judge = _Judge(worker, graph, held, keep_float)

    def calibrated(equalization: str, candidate: Graph) -> dict[tuple[str, str], Tuned]:
        found = quantize.calibrations(candidate, worker, seen, input_range, keep_float)
        return {(equalization, statistic): Tuned(candidate, ranges) for statistic, ranges in found.items()}

    def rounded(start: Tuned, inputs: Inputs) -> Tuned:
        result = start.graph.copy()
        result.set_weights(worker.round_weights(result, kernels, inputs))
        return Tuned(result, start.ranges)

    starts = calibrated("none", graph.copy())
    if steps.equalize:
        scales = _channel_scales(graph, worker, seen, free)
        for name, powers in scales.distinct().items():
            starts |= calibrated(name, scales.applied(graph, powers))
    (equalization, statistic), start = judge.best(starts)
    record: dict[str, Any] = {"equalization": equalization, "ranges": statistic}
    if steps == CALIBRATION_ALONE:
        start.unrounded, start.record = start.graph, record
        return start
    candidates = {"nearest": rounded(start, [])}
    if steps.round_weights:
        candidates["rounded"] = rounded(start, [array[:MOST_FOR_ROUNDING] for array in seen])
    chosen, best = judge.best(candidates)
    count = learning_steps(graph, len(seen[0]))
    if steps.learn and count:
        biases = [name for name in free if "bias" in graph.operations[name].weights]
        candidates["learned"] = _learned(best, graph, worker, seen, keep_float, biases, count)
        chosen, best = judge.best({chosen: best, "learned": candidates["learned"]})
    scores = {name: judge(candidate) for name, candidate in candidates.items()}
    told = {name: round(score, 2) if np.isfinite(score) else None for name, score in scores.items()}
    best.unrounded = start.graph
    best.record = record | {"chosen": chosen, "held_out_sqnr_db": told}
    return best


def _free(graph: Graph, carried: bool) -> list[str]:
    """Convolutions and dense layers whose weights may be changed."""
    return [
        name
        for name, operation in graph.operations.items()
        if operation.kind in equalize.SCALABLE
        and not (carried and (operation.tied or set(operation.weights) - set(operation.trainable)))
    ]


def learning_steps(graph: Graph, samples: int) -> int:
    """How many steps biases and ranges are learned for: fewer for large models, none where too few would be left."""
    work = sum(_multiplications(operation) for operation in graph.operations.values()) * LEARNING_BATCH
    count = min(LEARNING_STEPS, int(LEARNING_WORK / max(work, 1)))
    return count if count >= LEAST_LEARNING_STEPS and samples >= 2 * LEARNING_BATCH else 0


def _multiplications(operation: Any) -> int:
    if operation.kind not in equalize.SCALABLE:
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
    """SQNR of a candidate's logits in simulated int8 against the float graph's, in dB."""

    def __init__(self, worker: Worker, graph: Graph, samples: Inputs, keep_float: Collection[str]) -> None:
        self._worker, self._samples, self._keep_float = worker, samples, keep_float
        self._names = [graph.logits(name) for name in graph.outputs]
        self._expected = worker.evaluate(graph, self._names, samples)
        self._scores: dict[int, float] = {}

    def __call__(self, candidate: Tuned) -> float:
        settings = (candidate.ranges, self._keep_float)
        if id(candidate) not in self._scores and not quantize.can_run(candidate.graph, *settings):
            self._scores[id(candidate)] = -np.inf
        if id(candidate) not in self._scores:
            found = self._worker.evaluate(candidate.graph, self._names, self._samples, *settings)
            noise = max(verify.relative_rms(self._expected, found), 1e-9)
            self._scores[id(candidate)] = -20 * float(np.log10(noise))
        return self._scores[id(candidate)]

    def best(self, candidates: dict[Name, Tuned]) -> tuple[Name, Tuned]:
        """The name of the best candidate, the earlier one of equals, and the candidate."""
        return max(candidates.items(), key=lambda item: self(item[1]))


@dataclass
class _ChannelScales:
    """The groups of a graph, and how great their channels are on real data."""

    groups: list[equalize.ChannelGroup]
    typical: Arrays
    greatest: Arrays

    def distinct(self) -> dict[str, dict[str, float]]:
        """Those of `EQUALIZATIONS` that differ for the groups that there are."""
        kinds = {group.kind for group in self.groups}
        found: dict[frozenset[str], str] = {frozenset(): ""}
        for name, powers in EQUALIZATIONS.items():
            found.setdefault(frozenset(kinds & set(powers)), name)
        return {name: EQUALIZATIONS[name] for name in found.values() if name}

    def applied(self, graph: Graph, powers: dict[str, float]) -> Graph:
        """Another graph that computes the same, with scaled channels."""
        result = graph.copy()
        for group in self.groups:
            power = powers.get(group.kind)
            if power:
                factors = equalize.channel_factors(group, result, self.typical, self.greatest, power)
                equalize.scale_channels(result, group, factors)
        return result


def _channel_scales(graph: Graph, worker: Worker, samples: Inputs, free: Collection[str]) -> _ChannelScales:
    groups = [group for group in equalize.channel_groups(graph) if {*group.sources, *group.sinks} <= set(free)]
    names = [name for group in groups for name in group.tensors]
    found = worker.observe_channels(graph, names, samples) if names else {}
    return _ChannelScales(
        groups,
        {name: values.mean(axis=0) for name, values in found.items()},
        {name: values.max(axis=0) for name, values in found.items()},
    )


def _learned(
    start: Tuned,
    teacher: Graph,
    worker: Worker,
    samples: Inputs,
    keep_float: Collection[str],
    biases: list[str],
    count: int,
) -> Tuned:
    """`start` with biases and ranges that bring its logits closer to the float graph's."""
    options = {"steps_per_epoch": count, "epochs": 1, "learning_rate": 0, "biases": biases}
    weights, result = worker.train(
        "train_on_grid",
        start.graph,
        options,
        _shuffled(samples, count),
        teacher=teacher,
        ranges=start.ranges,
        shared=quantize.learnable(start.graph, start.ranges, keep_float),
        keep_float=sorted(keep_float),
    )
    graph = start.graph.copy()
    graph.set_weights(weights)
    return Tuned(graph, {name: (low, high) for name, (low, high) in result["ranges"].items()})


def _shuffled(samples: Inputs, count: int) -> Iterator[Arrays]:
    """Batches in which every sample comes as often as any other."""
    random = np.random.default_rng(0)
    order: list[int] = []
    for _ in range(count):
        if len(order) < LEARNING_BATCH:
            order = list(random.permutation(len(samples[0])))
        chosen, order = order[:LEARNING_BATCH], order[LEARNING_BATCH:]
        yield {f"input:{index}": np.asarray(array[chosen], np.float32) for index, array in enumerate(samples)}
