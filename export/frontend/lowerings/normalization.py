"""Normalization, learned or fixed."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers

from export.frontend import activations
from export.frontend.builder import Builder, register_bridge, to_numpy
from export.frontend.lowerings.layout import move_axis
from export.frontend.lowerings.reductions import reduce


@register_bridge(layers.BatchNormalization)
def _batch_normalization(build: Builder, layer: Any, x: str, mask: Any = None) -> str:
    """Only training takes notice of a mask."""
    rank = len(build.shape_of(x))
    axis = (layer.axis if isinstance(layer.axis, int) else layer.axis[0]) % (rank + 1)
    x = move_axis(build, x, axis, rank)
    weights = {"gamma": layer.gamma, "beta": layer.beta, "mean": layer.moving_mean, "variance": layer.moving_variance}
    x = build.add("batch_normalization", x, weights=weights, shape=build.shape_of(x), epsilon=layer.epsilon)
    return move_axis(build, x, rank, axis)


def _is_last(layer: Any) -> bool:
    """Whether it normalizes the last axis alone."""
    return layer.axis in (-1, [-1])


@register_bridge(layers.LayerNormalization, when=_is_last)
def _layer_normalization(build: Builder, layer: Any, x: str) -> str:
    centered = build.combine("subtract", x, _mean(build, x))
    x = _over_root_mean_square(build, centered, layer.epsilon)
    x = x if layer.gamma is None else build.scale(x, layer.gamma)
    return x if layer.beta is None else build.shift(x, layer.beta)


@register_bridge(layers.RMSNormalization, when=_is_last)
def _rms_normalization(build: Builder, layer: Any, x: str) -> str:
    return build.scale(_over_root_mean_square(build, x, layer.epsilon), layer.scale)


def _over_root_mean_square(build: Builder, x: str, epsilon: float) -> str:
    power = build.shift(_mean(build, build.combine("multiply", x, x)), epsilon)
    return build.combine("multiply", x, activations.function(build, power, "reciprocal_root"))


def _mean(build: Builder, x: str) -> str:
    return reduce(build, "mean", x, -1, keepdims=True)


@register_bridge(layers.Rescaling)
def _rescaling(build: Builder, layer: Any, x: str) -> str:
    x = build.scale(x, layer.scale)
    return build.shift(x, layer.offset) if np.any(layer.offset) else x


@register_bridge(layers.Normalization)
def _normalization(build: Builder, layer: Any, x: str) -> str:
    mean, variance = (np.asarray(to_numpy(value), np.float64) for value in (layer.mean, layer.variance))
    mean, variance = (value.reshape(value.shape[1:]) for value in (mean, variance))
    deviation = np.maximum(np.sqrt(variance), 1e-7)
    if layer.invert:
        return build.shift(build.scale(x, deviation), mean)
    return build.shift(build.scale(x, 1 / deviation), -mean / deviation)
