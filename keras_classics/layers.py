"""Layers of the papers that Keras lacks, for every backend, each registered for `.keras` files.

A layer whose work counts as multiply-accumulates, and which is no Keras convolution, has a method
`macs(input_shape, output_shape)`, which `keras_classics.cost` asks (batch axis first in both).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        config: dict[str, Any] = super().get_config()
        return config | {"data_format": self.data_format}


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
        kernel: np.ndarray = (self.alpha * near).astype("float32")
        return kernel[None, None]

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
    """Shortcut A of He et al. 2015, section 3.3: every `strides`-th pixel, and channels of zeros.

    Args:
        filters: channels of the output, at least those of the input.
        strides: along both height and width.
        centered: whether half of the zeros come before the input's channels, or all come after them.
        data_format: "channels_last", "channels_first" or None for that of `keras.config`.
    """

    def __init__(self, filters: int, strides: int = 1, centered: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.strides, self.centered = filters, strides, centered

    def zeros(self, channels: int) -> tuple[int, int]:
        """How many channels of zeros come before and after the input's `channels`."""
        missing = self.filters - channels
        before = missing // 2 if self.centered else 0
        return before, missing - before

    def call(self, inputs: Any) -> Any:
        missing = self.zeros(inputs.shape[self.channel_axis])
        step = self.strides
        if self.channel_axis == 3:
            return ops.pad(inputs[:, ::step, ::step, :], ((0, 0), (0, 0), (0, 0), missing))
        return ops.pad(inputs[:, :, ::step, ::step], ((0, 0), missing, (0, 0), (0, 0)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        shape = [None if size is None else -(-size // self.strides) for size in input_shape]
        shape[0], shape[self.channel_axis] = input_shape[0], self.filters
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"filters": self.filters, "strides": self.strides, "centered": self.centered}


@registered
class TrainableSubsampling(ImageLayer):
    """Sum of each `pool_size`² pixels, times a coefficient, plus a bias: two weights for each map.

    S2 and S4 of LeCun et al. 1998, section II.B. It starts as average pooling.

    Args:
        pool_size: height and width of the windows, which do not overlap.
        data_format: "channels_last", "channels_first" or None for that of `keras.config`.
    """

    def __init__(self, pool_size: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool_size = self.strides = pool_size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (input_shape[self.channel_axis],)
        average = keras.initializers.Constant(1 / self.pool_size**2)
        self.coefficient = self.add_weight(shape=shape, initializer=average, name="coefficient")
        self.bias = self.add_weight(shape=shape, initializer="zeros", name="bias")
        self.built = True

    def call(self, inputs: Any) -> Any:
        size = (self.pool_size, self.pool_size)
        mean = ops.average_pool(inputs, size, size, "valid", self.data_format)
        return mean * self.per_channel(self.coefficient * self.pool_size**2) + self.per_channel(self.bias)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        shape = [None if size is None else size // self.pool_size for size in input_shape]
        shape[0], shape[self.channel_axis] = input_shape[0], input_shape[self.channel_axis]
        return tuple(shape)

    def macs(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
        """Each sum is multiplied once."""
        return math.prod(output_shape[1:])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"pool_size": self.pool_size}


@registered
class ConnectionTableConv2D(ImageLayer):
    """A convolution without padding whose output maps each read only some of the input maps.

    C3 of LeCun et al. 1998, Table I. The kernel holds the connections that exist and no others.

    Args:
        table: for each output map the input maps that it reads.
        kernel_size: height and width.
        kernel_initializer: of the kernel, (kernel_size, kernel_size, connections).
        data_format: "channels_last", "channels_first" or None for that of `keras.config`.
    """

    def __init__(
        self,
        table: Sequence[Sequence[int]],
        kernel_size: int,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.table = [list(inputs) for inputs in table]
        self.kernel_size = kernel_size
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.connections = sum(map(len, self.table))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = input_shape[self.channel_axis] or 0
        if not all(0 <= read < channels for inputs in self.table for read in inputs):
            raise InputError(f"the table reads maps that an input of {channels} channels lacks")
        # Where each (input, output) pair lies in the packed kernel; one past its end where nowhere.
        self.positions = np.full((channels, len(self.table)), self.connections)
        position = iter(range(self.connections))
        for output, inputs in enumerate(self.table):
            for read in inputs:
                self.positions[read, output] = next(position)
        shape = (self.kernel_size, self.kernel_size, self.connections)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(len(self.table),), initializer="zeros", name="bias")
        self.built = True

    def full_kernel(self) -> Any:
        """The kernel of the `Conv2D` that this amounts to, with zeros where nothing is connected."""
        zeros = ops.zeros((self.kernel_size, self.kernel_size, 1), dtype=self.compute_dtype)
        packed = ops.concatenate([ops.convert_to_tensor(self.kernel, dtype=self.compute_dtype), zeros], axis=-1)
        return ops.take(packed, self.positions, axis=-1)

    def call(self, inputs: Any) -> Any:
        x = ops.conv(inputs, self.full_kernel(), padding="valid", data_format=self.data_format)
        return x + self.per_channel(self.bias)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        shape = [None if size is None else size - self.kernel_size + 1 for size in input_shape]
        shape[0], shape[self.channel_axis] = input_shape[0], len(self.table)
        return tuple(shape)

    def macs(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
        """Every kernel element is used once for every position of the output."""
        positions = math.prod(output_shape[1:]) // len(self.table)
        return positions * self.kernel_size**2 * self.connections

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "table": self.table,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@registered
class ScaledTanh(layers.Layer):
    """A · tanh(S · x) with A = 1.7159 and S = 2/3, which maps ±1 to ±1: LeCun et al. 1998, appendix A."""

    amplitude, slope = 1.7159, 2 / 3

    def call(self, inputs: Any) -> Any:
        return self.amplitude * ops.tanh(self.slope * inputs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


@registered
class EuclideanRadialBasisFunction(layers.Layer):
    """Minus the squared distance of a vector to each of some fixed codes: the nearest code is the maximum.

    The output of LeCun et al. 1998, equation 7, with its sign turned. The codes are no weights.

    Args:
        codes: one vector for each unit, (units, length of the input).
    """

    def __init__(self, codes: Sequence[Sequence[float]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.codes = np.asarray(codes, dtype="float32")

    def call(self, inputs: Any) -> Any:
        # −|x − c|² as 2x·c − |x|² − |c|²: a dense layer and a norm.
        codes = ops.convert_to_tensor(2 * self.codes.T, dtype=inputs.dtype)
        norms = ops.convert_to_tensor((self.codes**2).sum(axis=1), dtype=inputs.dtype)
        return ops.matmul(inputs, codes) - ops.sum(inputs * inputs, axis=-1, keepdims=True) - norms

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], len(self.codes))

    def macs(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
        """One for each element of each code."""
        return self.codes.size

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        return config | {"codes": self.codes.tolist()}
