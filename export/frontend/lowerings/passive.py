"""Layers that do nothing at inference, and layers that cannot be read."""

from __future__ import annotations

from typing import Any

from keras import layers

from export.errors import InputError
from export.frontend.builder import Builder, register_bridge


@register_bridge(layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.AlphaDropout)
@register_bridge(layers.GaussianNoise, layers.GaussianDropout, layers.ActivityRegularization, layers.Identity)
@register_bridge(layers.RandomFlip, layers.RandomRotation, layers.RandomTranslation, layers.RandomZoom)
@register_bridge(layers.RandomBrightness, layers.RandomContrast, layers.RandomColorJitter, layers.RandomErasing)
@register_bridge(layers.RandomHue, layers.RandomSaturation, layers.RandomSharpness, layers.RandomShear)
@register_bridge(layers.RandomGaussianBlur, layers.RandomGrayscale, layers.RandomPerspective)
def _identity(build: Builder, layer: Any, x: str) -> str:
    return x


@register_bridge(layers.Lambda)
def _lambda(build: Builder, layer: Any, *inputs: Any, **options: Any) -> str:
    raise InputError("its Python function cannot be read; use keras.ops, or a layer class with export.register_bridge")
