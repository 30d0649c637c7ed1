"""Activation functions that are layers."""

from __future__ import annotations

from typing import Any

from keras import layers

from export.errors import InputError
from export.frontend import activations
from export.frontend.builder import Builder, register_bridge, to_numpy
from export.frontend.lowerings.layout import move_axis


@register_bridge(layers.Activation)
def _activation(build: Builder, layer: Any, x: str) -> str:
    return build.activation(x, layer.activation)


@register_bridge(layers.ReLU)
def _relu(build: Builder, layer: Any, x: str) -> str:
    return rectify(build, x, layer.negative_slope, layer.max_value, layer.threshold)


def rectify(build: Builder, x: str, slope: float, limit: float | None, threshold: float) -> str:
    """Append a ReLU with Keras's options."""
    if threshold:
        raise InputError("ReLU with a threshold is not supported; use threshold=0")
    if slope:
        return activations.clip(build, activations.leaky_relu(build, x, slope), high=limit)
    return activations.clip(build, x, 0.0, limit)


@register_bridge(layers.LeakyReLU)
def _leaky_relu(build: Builder, layer: Any, x: str) -> str:
    return activations.leaky_relu(build, x, layer.negative_slope)


@register_bridge(layers.PReLU)
def _prelu(build: Builder, layer: Any, x: str) -> str:
    return build.add("prelu", x, weights={"slope": to_numpy(layer.alpha)})


@register_bridge(layers.ELU)
def _elu(build: Builder, layer: Any, x: str) -> str:
    return activations.elu(build, x, float(layer.alpha))


@register_bridge(layers.Softmax)
def _softmax(build: Builder, layer: Any, x: str) -> str:
    return softmax(build, x, layer.axis)


def softmax(build: Builder, x: str, axis: int | tuple[int, ...]) -> str:
    """Append a softmax over one axis, which is moved to the end and back."""
    rank = len(build.shape_of(x))
    if not isinstance(axis, int) or axis % (rank + 1) == 0:
        raise InputError("softmax over several axes, or across the batch, is not supported; use axis=-1")
    axis %= rank + 1
    return move_axis(build, activations.function(build, move_axis(build, x, axis, rank), "softmax"), rank, axis)
