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

from export.ir.graph import Graph, Operation

SCALABLE = ("conv2d", "depthwise_conv2d", "dense")
# Operations that carry a positive factor for each channel from their inputs to their output.
CARRYING = (
    "add", "subtract", "maximum", "minimum", "max_pool", "average_pool", "mean", "sum_over", "maximum_over",
    "minimum_over", "pad", "strided_slice", "resize", "prelu",
)  # fmt: skip
CARRYING_ACTIVATIONS = ("relu", "relu6", "leaky_relu")
RELU6_MARGIN = 1.05  # over the greatest value seen, so that the fixed limit cuts nothing off
GREATEST_FACTOR = 100.0


@dataclass
class ChannelGroup:
    """Tensors that must have the same factor for each channel.

    Attributes:
        tensors: the operations whose outputs these are, in order of execution.
        sources: convolutions and dense layers that produce them, whose outputs take the factor.
        sinks: those that read them, whose kernels take its inverse.
        limited: ReLU6 is among the tensors: a factor may only fill the room below 6.
        depthwise: every sink is depthwise, so its per-channel scales take any factor without loss.
        linear: no activation is among the tensors.
    """

    tensors: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    sinks: list[str] = field(default_factory=list)
    limited: bool = False
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
        elif operation.kind in SCALABLE:
            if operation.kind == "depthwise_conv2d" and operation.weights["kernel"].shape[3] > 1:
                fixed.update(operation.inputs)
        else:
            fixed.update([operation.name, *operation.inputs])
    groups: dict[str, ChannelGroup] = defaultdict(ChannelGroup)
    for operation in graph.operations.values():
        group = groups[root(operation.name)]
        group.tensors.append(operation.name)
        if operation.kind in SCALABLE:
            group.sources.append(operation.name)
            sink = groups[root(operation.inputs[0])]
            sink.sinks.append(operation.name)
            sink.depthwise &= operation.kind == "depthwise_conv2d"
        function = operation.attributes.get("function")
        group.limited |= function == "relu6"
        group.linear &= function is None
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
    if operation.kind == "activation":
        return attributes["function"] in CARRYING_ACTIVATIONS
    if operation.kind == "reshape":  # a flattened tensor keeps the channel as its fastest axis
        return len(operation.shape) == 1
    if operation.kind not in CARRYING or {"term", "limit"} & set(operation.weights):
        return False
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
    if not group.limited:
        return np.clip((size.max() / size) ** power, 1 / GREATEST_FACTOR, GREATEST_FACTOR)
    limit = np.max([greatest[name] for name in members if name not in group.sources] or [size], axis=0)
    room = 6 / (RELU6_MARGIN * np.where(limit > 0, limit, 6.0))
    return np.clip(room, 1.0, GREATEST_FACTOR) ** power


def scale_channels(graph: Graph, group: ChannelGroup, factors: np.ndarray) -> None:
    """Multiply the group's channels by `factors`, in place; what the graph computes stays the same."""
    factors = factors.astype(np.float32)
    for name in group.sources:
        weights = graph.operations[name].weights
        weights["kernel"] = weights["kernel"] * factors[output_channels(graph.operations[name])]
        if "bias" in weights:
            weights["bias"] = weights["bias"] * factors
    for name in group.sinks:
        weights = graph.operations[name].weights
        weights["kernel"] = weights["kernel"] / factors[input_channels(graph.operations[name], len(factors))]


def output_channels(operation: Operation) -> np.ndarray:
    """Which output channel each weight of the kernel belongs to, in a shape that broadcasts to the kernel."""
    kernel = operation.weights["kernel"]
    outputs = kernel.shape[2:] if operation.kind == "depthwise_conv2d" else kernel.shape[-1:]
    return np.arange(np.prod(outputs)).reshape(outputs)


def input_channels(operation: Operation, count: int) -> np.ndarray:
    """Which of `count` input channels each weight of the kernel meets, in a shape that broadcasts to the kernel."""
    kernel = operation.weights["kernel"]
    channels = np.arange(count)
    if operation.kind == "depthwise_conv2d":
        return channels[:, None]
    if operation.kind == "dense":
        return np.tile(channels, kernel.shape[0] // count)[:, None]
    groups = operation.attributes["groups"]
    return np.repeat(channels.reshape(groups, -1).T, kernel.shape[3] // groups, axis=1)
