"""Layers that move numbers and leave them as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from keras import layers

from export.errors import InputError
from export.frontend.builder import Builder, register_bridge
from export.frontend.lowerings.layout import channels_last, transpose

INTERPOLATIONS = ("nearest", "bilinear")


@register_bridge(layers.Flatten)
@channels_last
def _flatten(build: Builder, layer: Any, x: str) -> str:
    return build.reshape(x, (math.prod(build.shape_of(x)),))


@register_bridge(layers.Reshape)
def _reshape(build: Builder, layer: Any, x: str) -> str:
    return build.reshape(x, build.shape)


@register_bridge(layers.Permute)
def _permute(build: Builder, layer: Any, x: str) -> str:
    return transpose(build, x, [0, *layer.dims])


@register_bridge(layers.RepeatVector)
def _repeat_vector(build: Builder, layer: Any, x: str) -> str:
    return build.add("concatenate", *[build.reshape(x, (1, *build.shape_of(x)))] * layer.n, axis=1)


@register_bridge(layers.ZeroPadding2D, layers.ZeroPadding1D)
@channels_last
def _zero_padding(build: Builder, layer: Any, x: str) -> str:
    return build.add("pad", x, padding=_pairs(layer.padding))


@register_bridge(layers.Cropping2D, layers.Cropping1D)
@channels_last
def _cropping(build: Builder, layer: Any, x: str) -> str:
    sizes = build.shape_of(x)
    pairs = _pairs(layer.cropping)
    slices = [[before, size - after, 1] for (before, after), size in zip(pairs, sizes, strict=False)]
    return build.add("strided_slice", x, slices=slices)


def _pairs(values: Sequence[Any]) -> list[list[int]]:
    """One (before, after) for each axis; layers for sequences hold only the one pair."""
    return [list(values)] if isinstance(values[0], int) else [list(pair) for pair in values]


@register_bridge(layers.UpSampling2D)
@channels_last
def _up_sampling(build: Builder, layer: Any, x: str) -> str:
    return resize(build, x, layer.interpolation)


@register_bridge(layers.Resizing)
@channels_last
def _resizing(build: Builder, layer: Any, x: str) -> str:
    if layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio or layer.antialias:
        raise InputError("resizing with antialias, or to an aspect ratio, is not supported; resize plainly")
    return resize(build, x, layer.interpolation)


def resize(build: Builder, x: str, interpolation: str) -> str:
    """Append a change of an image's height and width to those of the layer's output."""
    if interpolation not in INTERPOLATIONS:
        raise InputError(f"interpolation {interpolation!r} is not supported; use {' or '.join(INTERPOLATIONS)}")
    return build.add("resize", x, interpolation=interpolation)
