"""Channels-first layers: TFLite computes on channels-last tensors, so they are transposed around each."""

from __future__ import annotations

import functools
from typing import Any

from export.frontend.builder import Bridge, Builder


def channels_last(bridge: Bridge) -> Bridge:
    """Decorator for bridges of layers with a `data_format`: the bridge itself sees channels-last tensors only.

    What stands between two layers is transposed back and forth; `export.passes.sink_layouts` removes that.
    """

    @functools.wraps(bridge)
    def either(build: Builder, layer: Any, x: str, *rest: Any) -> str:
        rank = len(build.shape_of(x))
        if getattr(layer, "data_format", None) != "channels_first" or rank < 2:
            found: str = bridge(build, layer, x, *rest)
            return found
        keeps_rank = len(build.shape) == rank
        if keeps_rank:
            build.shape = (*build.shape[1:], build.shape[0])
        result: str = bridge(build, layer, move_axis(build, x, 1, rank), *rest)
        return move_axis(build, result, rank, 1) if keeps_rank else result

    return either


def move_axis(build: Builder, x: str, source: int, destination: int) -> str:
    """Append a transposition that moves one axis; axes count from the batch's, which is 0."""
    axes = list(range(len(build.shape_of(x)) + 1))
    axes.insert(destination, axes.pop(source))
    return transpose(build, x, axes)


def transpose(build: Builder, x: str, axes: list[int]) -> str:
    """Append a transposition, unless it changes nothing; `axes` begins with 0, the batch."""
    if axes == sorted(axes):
        return x
    shape = build.shape_of(x)
    return build.add("transpose", x, shape=[shape[axis - 1] for axis in axes[1:]], axes=axes)
