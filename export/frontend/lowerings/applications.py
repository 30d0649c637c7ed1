"""Layers that keras.applications keeps to itself: those of ConvNeXt and Inception-ResNet."""

from __future__ import annotations

from typing import Any

from export.frontend.builder import Builder, register_operation


@register_operation("LayerScale")
def _layer_scale(build: Builder, layer: Any, x: str) -> str:
    return build.scale(x, layer.gamma)


@register_operation("StochasticDepth")
def _stochastic_depth(build: Builder, layer: Any, x: str) -> str:
    return x


@register_operation("CustomScaleLayer")
def _scaled_residual(build: Builder, layer: Any, inputs: list[str]) -> str:
    shortcut, residual = inputs
    return build.combine("add", shortcut, build.scale(residual, layer.scale))
