"""What several papers share: the checked input, convolution with normalization, pooling, the top.

Every function takes and returns Keras tensors in the data format of `keras.config`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from keras_classics.arguments import Padding, Pooling, Rectifier, Shape, channel_axis, image_shape, one_of
from keras_classics.errors import InputError


def image_input(input_shape: Shape, minimum: int, include_top: bool = True) -> keras.KerasTensor:
    """An input of one image (no batch axis), refused where the network cannot work on it.

    Takes and raises what `arguments.image_shape` does.
    """
    return layers.Input(image_shape(input_shape, minimum, include_top), name="image")


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Round a scaled channel count to a multiple of `divisor`, by at most 10 % downwards.

    The rule of the MobileNetV2 authors' code, which the papers' counts of narrow nets rest on.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


@dataclass(frozen=True)
class Convolution:
    """Convolution → batch normalization → ReLU, with one network's settings.

    `padding="symmetric"` pads strided convolutions alike on both sides (torchvision's weights),
    `"same"` leaves the odd pixel to the right and bottom (TensorFlow's). At stride 1 they agree.
    `use_bias=None` gives a convolution a bias where no normalization follows.
    Layers are named `NAME_conv`, `NAME_norm` and `NAME_relu`.
    """

    activation: Rectifier = "relu"
    batch_norm: bool = True
    use_bias: bool | None = None
    epsilon: float = 1e-5
    momentum: float = 0.9
    padding: Padding = "symmetric"

    def __post_init__(self) -> None:
        one_of("activation", self.activation, ("relu", "relu6"))
        one_of("padding", self.padding, ("symmetric", "same"))

    def __call__(
        self,
        x: keras.KerasTensor,
        filters: int,
        kernel_size: int = 3,
        stride: int = 1,
        *,
        activate: bool = True,
        gamma_initializer: str = "ones",
        name: str,
    ) -> keras.KerasTensor:
        """Full convolution to `filters` channels."""
        x, options = self._padded(x, kernel_size, stride, name)
        x = layers.Conv2D(filters, kernel_size, kernel_initializer="he_normal", **options)(x)
        return self._activated(x, activate, gamma_initializer, name)

    def depthwise(self, x: keras.KerasTensor, kernel_size: int = 3, stride: int = 1, *, name: str) -> keras.KerasTensor:
        """Depthwise convolution: one kernel for each channel."""
        x, options = self._padded(x, kernel_size, stride, name)
        x = layers.DepthwiseConv2D(kernel_size, depthwise_initializer="he_normal", **options)(x)
        return self._activated(x, True, "ones", name)

    def _padded(
        self, x: keras.KerasTensor, kernel_size: int, stride: int, name: str
    ) -> tuple[keras.KerasTensor, dict[str, Any]]:
        use_bias = not self.batch_norm if self.use_bias is None else self.use_bias
        options: dict[str, Any] = dict(strides=stride, padding="same", use_bias=use_bias, name=f"{name}_conv")
        if stride > 1 and kernel_size > 1 and self.padding == "symmetric":
            x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
            options["padding"] = "valid"
        return x, options

    def _activated(self, x: keras.KerasTensor, activate: bool, gamma_initializer: str, name: str) -> keras.KerasTensor:
        if self.batch_norm:
            x = layers.BatchNormalization(
                axis=channel_axis(),
                momentum=self.momentum,
                epsilon=self.epsilon,
                gamma_initializer=gamma_initializer,
                name=f"{name}_norm",
            )(x)
        if not activate:
            return x
        return layers.ReLU(6.0 if self.activation == "relu6" else None, name=f"{name}_relu")(x)

    def max_pooling(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """3×3 maximum at stride 2 of rectified values, for which a padding of zeros is one of −∞."""
        if self.padding == "same":
            return layers.MaxPooling2D(3, 2, padding="same", name=name)(x)
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        return layers.MaxPooling2D(3, 2, name=name)(x)


@dataclass(frozen=True)
class Top:
    """What follows the last feature map, as four arguments of every constructor ask for it.

    With a top: a classifier of `classes` outputs. Without: the features, or their average or
    maximum over height and width.

    Raises:
        ValueError: `classes` is not a positive integer, or `pooling` not None, "avg" or "max".
    """

    include_top: bool
    pooling: Pooling
    classes: int
    activation: str | None

    def __post_init__(self) -> None:
        one_of("pooling", self.pooling, (None, "avg", "max"))
        if not isinstance(self.classes, int) or self.classes < 1:
            raise InputError(f"classes is {self.classes!r}; it takes a positive integer")

    def pooled(self, x: keras.KerasTensor, dropout: float = 0.0) -> keras.KerasTensor:
        """Global average pooling, dropout and the classifier."""
        if not self.include_top:
            return self.features(x)
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        return self.classifier(dropped(x, dropout, "dropout"))

    def flattened(
        self, x: keras.KerasTensor, hidden: Iterable[tuple[str, int]], dropout: float = 0.0
    ) -> keras.KerasTensor:
        """Every position to `hidden` dense layers (name, units) with ReLU and dropout, and the classifier."""
        if not self.include_top:
            return self.features(x)
        x = layers.Flatten(name="flatten")(x)
        for name, units in hidden:
            x = layers.Dense(units, activation="relu", kernel_initializer="he_normal", name=name)(x)
            x = dropped(x, dropout, f"{name}_dropout")
        return self.classifier(x)

    def classifier(self, x: keras.KerasTensor, name: str = "predictions") -> keras.KerasTensor:
        """The output layer; in float32 also where the rest computes in half precision."""
        return layers.Dense(self.classes, activation=self.activation, dtype=output_dtype(), name=name)(x)

    def features(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """The features as `pooling` asks for them."""
        if self.pooling is None:
            return x
        pool = layers.GlobalAveragePooling2D if self.pooling == "avg" else layers.GlobalMaxPooling2D
        return pool(name="pool")(x)


def dropped(x: keras.KerasTensor, rate: float, name: str) -> keras.KerasTensor:
    """Dropout, where there is any."""
    return layers.Dropout(rate, name=name)(x) if rate else x


def output_dtype() -> str | None:
    """float32 under a policy of half precision; None, the policy itself, elsewhere."""
    half = keras.config.dtype_policy().compute_dtype in ("float16", "bfloat16")
    return "float32" if half else None
