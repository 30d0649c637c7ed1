"""Which channels of a graph may be scaled and shifted, by what they hold on real data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from export.client import Worker
from export.data.samples import Inputs
from export.ir.graph import Arrays, Graph
from export.quantization.channel_shift import absorbers, shift_channels, shiftable_operations
from export.quantization.cross_layer_equalization import (
    ChannelGroup,
    channel_factors,
    channel_groups,
    scale_channels,
)
from export.worker.protocol import ObserveChannels

# The power that `channel_factors` takes for each kind of group: of these, what is best on held-out samples is taken.
EQUALIZATIONS: Mapping[str, Mapping[str, float]] = {
    "depthwise": {"depthwise": 1.0},
    "linear": {"depthwise": 1.0, "linear": 0.75},
    "all": {"depthwise": 1.0, "linear": 0.75, "activated": 0.5},
}


@dataclass(frozen=True)
class ChannelChanges:
    """What may be changed of a graph's channels, and between what they lie.

    Attributes:
        groups: of tensors that can be scaled together.
        shiftable: operations whose outputs can be shifted.
        biases: operations whose biases may be changed.
        low, high: least and greatest value by operation, (samples, channels).
    """

    groups: list[ChannelGroup]
    shiftable: list[str]
    biases: list[str]
    low: Arrays
    high: Arrays

    @classmethod
    def of(cls, graph: Graph, worker: Worker, samples: Inputs, changeable: Collection[str]) -> ChannelChanges:
        """Those that change the weights of `changeable` operations alone."""
        free = set(changeable)
        groups = [group for group in channel_groups(graph) if {*group.sources, *group.sinks} <= free]
        shiftable = [name for name in shiftable_operations(graph) if {name, *absorbers(graph, name)} <= free]
        biases = [name for name in changeable if "bias" in graph.operations[name].weights]
        names = sorted({*shiftable, *(name for group in groups for name in group.tensors)})
        extremes = worker.run(ObserveChannels(graph, names, samples)).arrays if names else {}
        low, high = ({name: values[:, side] for name, values in extremes.items()} for side in (0, 1))
        return cls(groups, shiftable, biases, low, high)

    def equalizations(self) -> list[str]:
        """Names of `EQUALIZATIONS`, of those that do the same to the groups that there are the first."""
        kinds = {group.kind for group in self.groups}
        names: dict[frozenset[str], str] = {}
        for name, powers in EQUALIZATIONS.items():
            names.setdefault(frozenset(kinds & set(powers)), name)
        return [name for scaled, name in names.items() if scaled]

    def equalized(self, graph: Graph, equalization: str) -> Graph:
        """Another graph that computes the same, with scaled channels."""
        result, powers = graph.copy(), EQUALIZATIONS[equalization]
        magnitudes = {name: np.maximum(-low, self.high[name]) for name, low in self.low.items()}
        typical = {name: values.mean(axis=0) for name, values in magnitudes.items()}
        greatest = {name: values.max(axis=0) for name, values in magnitudes.items()}
        for group in self.groups:
            if group.kind in powers:
                factors = channel_factors(group, result, typical, greatest, powers[group.kind])
                scale_channels(result, group, factors)
        return result

    def centered(self, graph: Graph) -> Graph:
        """Another graph that computes the same, with channels shifted to lie around 0."""
        result = graph.copy()
        middles = {name: (self.low[name] + self.high[name]).mean(axis=0) / 2 for name in self.shiftable}
        shift_channels(result, middles)
        return result
