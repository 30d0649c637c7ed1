"""The layers of the papers that `keras_classics.layers` adds to Keras's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from export.frontend.builder import Builder, register_bridge, to_numpy
from export.frontend.lowerings.layout import channels_last
from keras_classics import layers

BLOCK = 16  # channels; XNNPACK is fastest with these, of 8 to 64


@register_bridge(layers.LocalResponseNormalization)
@channels_last
def _local_response_normalization(build: Builder, layer: Any, x: str) -> str:
    """x · exp(−β · log(k + band ∗ x²)): operators that TFLite has in 8 bits too.

    The band is nearly empty and repeats itself, so where blocks of channels fit, one small kernel over a block and
    its two neighbours computes the same.
    """
    squared = build.add("multiply", x, x)
    channels = build.shape[-1]
    if channels % BLOCK == 0 and layer.size // 2 <= BLOCK:
        blocks = build.reshape(squared, (math.prod(build.shape[:-1]), channels // BLOCK, BLOCK))
        kernel = layer.band(3 * BLOCK)[..., BLOCK : 2 * BLOCK].reshape(1, 3, BLOCK, BLOCK)
    else:
        blocks, kernel = squared, layer.band(channels)
    weights = {"kernel": kernel, "bias": np.full(kernel.shape[-1], layer.k, np.float32)}
    total = build.add(
        "conv2d",
        blocks,
        weights=weights,
        shape=build.shape_of(blocks),
        strides=[1, 1],
        padding="same",
        dilation=[1, 1],
        groups=1,
    )
    total = build.reshape(total, build.shape)
    exponent = build.add("multiply", build.activation(total, "log"), weights={"factor": -layer.beta})
    return build.add("multiply", x, build.activation(exponent, "exponential"))


@register_bridge(layers.PaddedIdentity)
@channels_last
def _padded_identity(build: Builder, layer: Any, x: str) -> str:
    channels = build.shape_of(x)[-1]
    if layer.strides > 1:
        x = build.add("strided_slice", x, shape=(*build.shape[:2], channels), slices=[[None, None, layer.strides]] * 2)
    return build.add("pad", x, padding=[[0, 0], [0, 0], list(layer.zeros(channels))])


@register_bridge(layers.TrainableSubsampling)
@channels_last
def _trainable_subsampling(build: Builder, layer: Any, x: str) -> str:
    """A depthwise convolution whose kernel repeats the coefficient; fine-tuning leaves it as it is."""
    size = layer.pool_size
    kernel = np.broadcast_to(to_numpy(layer.coefficient)[None, None, :, None], (size, size, build.shape[-1], 1))
    weights = {"kernel": kernel, "bias": to_numpy(layer.bias)}
    return build.add("depthwise_conv2d", x, weights=weights, strides=[size, size], padding="valid", dilation=[1, 1])


@register_bridge(layers.ConnectionTableConv2D)
@channels_last
def _connection_table(build: Builder, layer: Any, x: str) -> str:
    """A full convolution with zeros where nothing is connected; fine-tuning leaves its kernel as it is."""
    weights = {"kernel": to_numpy(layer.full_kernel()), "bias": layer.bias}
    return build.add("conv2d", x, weights=weights, strides=[1, 1], padding="valid", dilation=[1, 1], groups=1)


@register_bridge(layers.ScaledTanh)
def _scaled_tanh(build: Builder, layer: Any, x: str) -> str:
    squashed = build.activation(build.add("multiply", x, weights={"factor": layer.slope}), "tanh")
    return build.add("multiply", squashed, weights={"factor": layer.amplitude})


@register_bridge(layers.EuclideanRadialBasisFunction)
def _radial_basis_function(build: Builder, layer: Any, x: str) -> str:
    """2x·c − |c|² and −|x|², both as dense layers."""
    codes = layer.codes
    product = build.add("dense", x, weights={"kernel": 2 * codes.T, "bias": -(codes**2).sum(axis=1)})
    squared = build.add("multiply", x, x, shape=build.shape_of(x))
    norm = build.add("dense", squared, weights={"kernel": np.full(codes.T.shape, -1, np.float32)})
    return build.add("add", product, norm)
