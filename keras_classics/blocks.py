"""What several papers share: the checked input, convolution with normalization, the classifier.

Every function takes and returns Keras tensors in the data format of `keras.config`.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import layers

from keras_classics.errors import InputError

Shape = tuple[int | None, int | None, int]
Pooling = Literal["avg", "max"] | None
Padding = Literal["symmetric", "same"]


def channel_axis() -> int:
    """Index of the channels in a batch of images: 3, or 1 under `channels_first`."""
    return 3 if keras.config.image_data_format() == "channels_last" else 1


def sides(input_shape: Shape) -> tuple[int | None, int | None]:
    """Height and width of a shape without batch axis, in the data format of `keras.config`."""
    return input_shape[:2] if channel_axis() == 3 else input_shape[1:]


def image_input(input_shape: Shape, minimum: int, include_top: bool = True) -> keras.KerasTensor:
    """An input of one image (no batch axis), refused where the network cannot work on it.

    Args:
        input_shape: (height, width, channels), or (channels, height, width) under
            `channels_first`. Height and width may be None without a top.
        minimum: the smallest height and width, in pixels, that the network's strides leave.

    Raises:
        ValueError: the shape is not three positive integers or is too small.
    """
    order = "height, width, channels" if channel_axis() == 3 else "channels, height, width"
    shape = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    if len(shape) != 3 or not all(size is None or (isinstance(size, int) and size > 0) for size in shape):
        raise InputError(f"input_shape is {input_shape!r}; it takes ({order}), three positive integers")
    height_width, channels = sides(shape), shape[channel_axis() - 1]
    if channels is None or (include_top and None in height_width):
        raise InputError(f"input_shape is {input_shape!r}; only include_top=False leaves height and width open")
    if any(side is not None and side < minimum for side in height_width):
        given = "×".join(map(str, height_width))
        raise InputError(f"input of {given} pixels is too small; this network takes at least {minimum}×{minimum}")
    return layers.Input(shape, name="image")


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Round a scaled channel count to a multiple of `divisor`, by at most 10 % downwards.

    The rule of the MobileNetV2 authors' code, which the papers' counts of narrow nets rest on.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def pad_like_torch(x: keras.KerasTensor, kernel_size: int, name: str) -> keras.KerasTensor:
    """Zero-pad both sides alike, by half the kernel, as the published PyTorch weights expect."""
    return layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)


@dataclass(frozen=True)
class ConvolutionNorm:
    """Convolution → batch normalization → activation, with one network's settings.

    `padding="symmetric"` pads strided convolutions alike on both sides (torchvision's weights),
    `"same"` leaves the odd pixel to the right and bottom (TensorFlow's). At stride 1 they agree.
    Layers are named `NAME_conv`, `NAME_norm` and `NAME_relu`.
    """

    activation: Literal["relu", "relu6"] = "relu"
    epsilon: float = 1e-5
    momentum: float = 0.9
    padding: Padding = "symmetric"

    def __call__(
        self,
        x: keras.KerasTensor,
        filters: int,
        kernel_size: int = 3,
        stride: int = 1,
        *,
        activate: bool = True,
        name: str,
    ) -> keras.KerasTensor:
        """Full convolution to `filters` channels."""
        x, padding = self._padded(x, kernel_size, stride, name)
        options: dict[str, Any] = dict(strides=stride, padding=padding, use_bias=False, name=f"{name}_conv")
        x = layers.Conv2D(filters, kernel_size, kernel_initializer="he_normal", **options)(x)
        return self._normalized(x, activate, name)

    def depthwise(self, x: keras.KerasTensor, kernel_size: int = 3, stride: int = 1, *, name: str) -> keras.KerasTensor:
        """Depthwise convolution: one kernel for each channel."""
        x, padding = self._padded(x, kernel_size, stride, name)
        options: dict[str, Any] = dict(strides=stride, padding=padding, use_bias=False, name=f"{name}_conv")
        x = layers.DepthwiseConv2D(kernel_size, depthwise_initializer="he_normal", **options)(x)
        return self._normalized(x, True, name)

    def _padded(self, x: keras.KerasTensor, kernel_size: int, stride: int, name: str) -> tuple[keras.KerasTensor, str]:
        if stride == 1 or self.padding == "same":
            return x, "same"
        return pad_like_torch(x, kernel_size, name), "valid"

    def _normalized(self, x: keras.KerasTensor, activate: bool, name: str) -> keras.KerasTensor:
        x = layers.BatchNormalization(
            axis=channel_axis(), momentum=self.momentum, epsilon=self.epsilon, name=f"{name}_norm"
        )(x)
        if not activate:
            return x
        return layers.ReLU(6.0 if self.activation == "relu6" else None, name=f"{name}_relu")(x)


def pooled_top(
    x: keras.KerasTensor,
    *,
    include_top: bool,
    pooling: Pooling,
    classes: int,
    classifier_activation: str | None,
    dropout: float = 0.0,
) -> keras.KerasTensor:
    """Global average pooling and a dense classifier; without a top, what `pooling` says."""
    if not include_top:
        return feature_pooling(x, pooling)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    return classifier(x, classes, classifier_activation)


def feature_pooling(x: keras.KerasTensor, pooling: Pooling) -> keras.KerasTensor:
    """The features themselves (None), or their average or maximum over height and width."""
    if pooling is None:
        return x
    if pooling == "avg":
        return layers.GlobalAveragePooling2D(name="pool")(x)
    if pooling == "max":
        return layers.GlobalMaxPooling2D(name="pool")(x)
    raise InputError(f"pooling is {pooling!r}; it takes None, 'avg' or 'max'")


def classifier(x: keras.KerasTensor, classes: int, activation: str | None) -> keras.KerasTensor:
    """The dense layer `predictions`. Raises ValueError unless `classes` is a positive integer."""
    if not isinstance(classes, int) or classes < 1:
        raise InputError(f"classes is {classes!r}; it takes a positive integer")
    return layers.Dense(classes, activation=activation, name="predictions")(x)


def finish(
    inputs: keras.KerasTensor,
    outputs: keras.KerasTensor | list[keras.KerasTensor],
    weights: str | os.PathLike[str] | None,
    name: str,
) -> keras.Model:
    """The model, with `weights` loaded where given."""
    from keras_classics import weights as weight_files

    model = keras.Model(inputs, outputs, name=name)
    if weights is not None:
        weight_files.load(model, weights)
    return model


def positive(name: str, value: float) -> float:
    """`value`, refused unless it is a finite number above zero."""
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise InputError(f"{name} is {value!r}; it takes a number above 0")
    return value
