"""The lowerings that come with the exporter; importing this registers them."""

from export.frontend.lowerings import (
    activation_layers,
    applications,
    classics,
    convolutions,
    keras_operations,
    merging,
    normalization,
    passive,
    reductions,
    shapes,
)

__all__ = [
    "activation_layers",
    "applications",
    "classics",
    "convolutions",
    "keras_operations",
    "merging",
    "normalization",
    "passive",
    "reductions",
    "shapes",
]
