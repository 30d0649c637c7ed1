"""Layers of the papers that Keras lacks, for every backend, each registered for `.keras` files.

A layer whose work counts as multiply-accumulates, and which is no Keras convolution, has a method
`macs(input_shape, output_shape)`, which `keras_classics.cost` asks (batch axis first in both).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_classics.errors import InputError

registered = keras.saving.register_keras_serializable(package="keras_classics")


class ImageLayer(layers.Layer):
    """A layer of one map of channels, in either data format."""

    def __init__(self, *, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = keras.config.image_data_format() if data_format is None else data_format

    @property
    def channel_axis(self) -> int:
        """Index of the channels in a batch: 3, or 1 under `channels_first`."""
        return 3 if self.data_format == "channels_last" else 1

    def per_channel(self, values: Any) -> Any:
        """A vector of one value for each channel, in a shape that broadcasts over a batch."""
        return ops.reshape(values, (1, 1, 1, -1) if self.channel_axis == 3 else (1, -1, 1, 1))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"data_format": self.data_format}


@registered
class LocalResponseNormalization(ImageLayer):
    """Divide each value by what its neighbours in the channels amount to at the same place.

    x / (k + alpha · Σ x²)^beta, the sum over the `size` nearest channels: section 3.3 of Krizhevsky,
    Sutskever, Hinton 2012, whose constants are the defaults. Caffe and PyTorch take the mean in place
    of the sum: their `alpha` is this one times `size`.

    Args:
        size: channels in the sum, odd; less at the first and last channels.
        alpha, beta, k: the constants of the formula. k is above 0.
        data_format: "channels_last", "channels_first" or None for that of `keras.config`.

    The sum is a 1×1 convolution with a banded kernel and the power an exponential of a logarithm,
    in float32 at least: all of which integer runtimes know.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if size < 1 or size % 2 == 0:
            raise InputError(f"size is {size}; it takes an odd number of channels")
        if k <= 0:
            raise InputError(f"k is {k}; it takes a number above 0")
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def band(self, channels: int) -> np.ndarray:
        """The kernel, (1, 1, channels, channels): alpha where two channels are near, else 0."""
        index = np.arange(channels)
        near = np.abs(index[:, None] - index[None, :]) <= self.size // 2
        return (self.alpha * near).astype("float32")[None, None]

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, "float32") if self.compute_dtype in ("float16", "bfloat16") else inputs
        band = ops.convert_to_tensor(self.band(inputs.shape[self.channel_axis]), dtype=x.dtype)
        total = ops.conv(x * x, band, padding="valid", data_format=self.data_format) + self.k
        return ops.cast(x * ops.exp(-self.beta * ops.log(total)), inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k}


@registered
class GroupedConv2D(layers.Conv2D):
    """`keras.layers.Conv2D(groups=…)`, the same kernel and outputs, that trains fast on each backend.

    On TensorFlow and JAX it runs as one convolution for each group, many times faster on processors
    than their own grouped gradient; PyTorch's own is the fast one.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        if self.groups == 1 or keras.backend.backend() == "torch":
            return super().convolution_op(inputs, kernel)
        axis = -1 if self.data_format == "channels_last" else 1
        groups = zip(ops.split(inputs, self.groups, axis), ops.split(kernel, self.groups, -1), strict=True)
        convolve = super().convolution_op
        return ops.concatenate([convolve(part, filters) for part, filters in groups], axis)


@registered
class PaddedIdentity(ImageLayer):
    """Shortcut A of He et al. 2015, section 3.3: every `strides`-th pixel, then channels of zeros.

    Args:
        filters: channels of the output, at least those of the input.
        strides: along both height and width.
        data_format: "channels_last", "channels_first" or None for that of `keras.config`.
    """

    def __init__(self, filters: int, strides: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.strides = filters, strides

    def call(self, inputs: Any) -> Any:
        missing = (0, self.filters - inputs.shape[self.channel_axis])
        step = self.strides
        if self.channel_axis == 3:
            return ops.pad(inputs[:, ::step, ::step, :], ((0, 0), (0, 0), (0, 0), missing))
        return ops.pad(inputs[:, :, ::step, ::step], ((0, 0), missing, (0, 0), (0, 0)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        shape = [None if size is None else -(-size // self.strides) for size in input_shape]
        shape[0], shape[self.channel_axis] = input_shape[0], self.filters
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"filters": self.filters, "strides": self.strides}
