"""The lowerings that come with the exporter; importing this registers them."""

from export.frontend.lowerings import (
    activation_layers,
    applications,
    arithmetic,
    classics,
    convolutions,
    merging,
    normalization,
    passive,
    products,
    reductions,
    selection,
    shapes,
)

__all__ = [
    "activation_layers",
    "applications",
    "arithmetic",
    "classics",
    "convolutions",
    "merging",
    "normalization",
    "passive",
    "products",
    "reductions",
    "selection",
    "shapes",
]
