"""Layers that do nothing at inference."""

from __future__ import annotations

from typing import Any

from keras import layers

from export.frontend.builder import Builder, register_bridge


@register_bridge(layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D)
@register_bridge(
    layers.AlphaDropout, layers.GaussianNoise, layers.GaussianDropout, layers.ActivityRegularization, layers.Identity
)
@register_bridge(layers.RandomFlip, layers.RandomRotation, layers.RandomTranslation, layers.RandomZoom)
@register_bridge(layers.RandomBrightness, layers.RandomContrast, layers.RandomColorJitter, layers.RandomErasing)
@register_bridge(layers.RandomHue, layers.RandomSaturation, layers.RandomSharpness, layers.RandomShear)
@register_bridge(layers.RandomGaussianBlur, layers.RandomGrayscale, layers.RandomPerspective)
@register_bridge(layers.RandomColorDegeneration, layers.RandomElasticTransform, layers.RandomInvert)
@register_bridge(layers.RandomPosterization, layers.Solarization, layers.Equalization, layers.RandAugment)
@register_bridge(layers.AugMix, layers.MixUp, layers.CutMix)
def _identity(build: Builder, layer: Any, x: str) -> str:
    return x
