"""Cross-layer equalization: scale channels so that they share their tensor's 8 bits evenly.

Between two convolutions a channel may be multiplied by any positive factor and divided again: ReLU,
pooling and addition carry the factor through. A tensor has one int8 scale for all of its channels,
so a channel that is small beside another keeps few of the 256 values; a factor gives it more.
(Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section
4.1, with ranges from data and over residual sums as well.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from export.ir.channels import by_input, by_output, is_depthwise
from export.ir.graph import Graph, Operation

MARGIN_BELOW_LIMIT = 1.05  # over the greatest value seen, so that a ReLU6 cuts nothing off on other images
GREATEST_FACTOR = 100.0  # of a channel; its inverse is the least


@dataclass
class ChannelGroup:
    """Tensors that must have the same factor for each channel.

    Attributes:
        tensors: the operations whose outputs these are, in order of execution.
        sources: convolutions and dense layers that produce them, whose outputs take the factor.
        sinks: those that read them, whose kernels take its inverse.
        limit: the least at which one of the tensors is cut off (6 by ReLU6): a factor may only fill the room below.
        depthwise: every sink is depthwise, so its per-channel scales take any factor without loss.
        linear: no activation is among the tensors.
    """

    tensors: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    sinks: list[str] = field(default_factory=list)
    limit: float | None = None
    depthwise: bool = True
    linear: bool = True

    @property
    def kind(self) -> str:
        """What its tensors feed: `depthwise`, or `linear` or `activated` channels into convolutions."""
        return "depthwise" if self.depthwise else "linear" if self.linear else "activated"


def channel_groups(graph: Graph) -> list[ChannelGroup]:
    """The groups whose channels can be scaled without changing what the graph computes."""
    parents = {name: name for name in graph.operations}

    def root(name: str) -> str:
        while parents[name] != name:
            parents[name] = parents[parents[name]]
            name = parents[name]
        return name

    fixed = set(graph.inputs) | set(graph.outputs)
    for operation in graph.operations.values():
        if carries(graph, operation):
            for first, second in pairwise([operation.name, *operation.inputs]):
                parents[root(first)] = root(second)
        elif operation.traits.scalable:
            if is_depthwise(operation) and operation.weights["kernel"].shape[3] > 1:
                fixed.update(operation.inputs)
        else:
            fixed.update([operation.name, *operation.inputs])
    groups: dict[str, ChannelGroup] = defaultdict(ChannelGroup)
    for operation in graph.operations.values():
        group = groups[root(operation.name)]
        group.tensors.append(operation.name)
        if operation.traits.scalable:
            group.sources.append(operation.name)
            sink = groups[root(operation.inputs[0])]
            sink.sinks.append(operation.name)
            sink.depthwise &= is_depthwise(operation)
        limits = [limit for limit in (group.limit, operation.traits.limit) if limit is not None]
        group.limit = min(limits, default=None)
        group.linear &= operation.kind != "activation"
    closed = {root(name) for name in fixed}

    def scalable(group: ChannelGroup) -> bool:
        channels = {graph.operations[name].shape[-1] for name in group.sources}
        return len(channels) == 1 and bool(group.sinks)  # flattened tensors of several sizes may have met

    return [group for name, group in groups.items() if name not in closed and scalable(group)]


def carries(graph: Graph, operation: Operation) -> bool:
    """Whether a factor of a channel passes from the operation's inputs to its output."""
    attributes = operation.attributes
    channels = [graph.operations[name].shape[-1:] for name in operation.inputs]
    rank = len(graph.operations[operation.inputs[0]].shape) if operation.inputs else 0
    if not operation.traits.carries_factor or operation.traits.constant in operation.weights:
        return False
    if operation.kind == "reshape":  # a flattened tensor keeps the channel as its fastest axis
        return len(operation.shape) == 1
    if "axes" in attributes and rank in attributes["axes"]:
        return False
    along = attributes.get("padding") if operation.kind == "pad" else attributes.get("slices", [])
    return len(along or []) < rank and len(set(channels)) == 1


def channel_factors(
    group: ChannelGroup,
    graph: Graph,
    typical: Mapping[str, np.ndarray],
    greatest: Mapping[str, np.ndarray],
    power: float,
) -> np.ndarray:
    """The factor of each channel.

    Args:
        typical, greatest: for each tensor, (channels,): the mean over images of a channel's greatest
            magnitude in an image, and the greatest of all.
        power: 0 leaves channels as they are, 1 gives all of them the same range.
    """
    channels = graph.operations[group.sources[0]].shape[-1]
    members = [name for name in group.tensors if typical[name].size == channels]
    size = np.max([typical[name] for name in members], axis=0)
    size = np.where(size > 0, size, size.max() or 1.0)
    if group.limit is None:
        return np.clip((size.max() / size) ** power, 1 / GREATEST_FACTOR, GREATEST_FACTOR)
    reached = np.max([greatest[name] for name in members if name not in group.sources] or [size], axis=0)
    room = group.limit / (MARGIN_BELOW_LIMIT * np.where(reached > 0, reached, group.limit))
    return np.clip(room, 1.0, GREATEST_FACTOR) ** power


def scale_channels(graph: Graph, group: ChannelGroup, factors: np.ndarray) -> None:
    """Multiply the group's channels by `factors`, in place; what the graph computes stays the same."""
    factors = factors.astype(np.float32)
    for name in group.sources:
        weights = graph.operations[name].weights
        weights["kernel"] = weights["kernel"] * by_output(graph.operations[name], factors)
        if "bias" in weights:
            weights["bias"] = weights["bias"] * factors
    for name in group.sinks:
        weights = graph.operations[name].weights
        weights["kernel"] = weights["kernel"] / by_input(graph.operations[name], factors)
