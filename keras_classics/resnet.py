"""ResNet: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers

from keras_classics import blocks
from keras_classics.constructor import member
from keras_classics.layers import PaddedIdentity

Shortcut = Literal["A", "B", "C"]
Version = Literal["v1", "v1.5"]

# Table 1: blocks in each of conv2_x … conv5_x, and whether they are bottlenecks.
IMAGENET = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
IMAGENET_FILTERS = (64, 128, 256, 512)
# Section 4.2: three stages of n blocks, 6n + 2 layers.
CIFAR = {20: 3, 32: 5, 44: 7, 56: 9, 110: 18}
CIFAR_FILTERS = (16, 32, 64)


def ResNet(
    depth: int,
    /,
    input_shape: blocks.Shape = (224, 224, 3),
    classes: int = 1000,
    weights: str | os.PathLike[str] | None = None,
    include_top: bool = True,
    pooling: blocks.Pooling = None,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
    *,
    version: Version = "v1.5",
    shortcut: Shortcut = "B",
    plain: bool = False,
    zero_init_residual: bool = False,
    stem_stride: int = 2,
    use_bias: bool = False,
    epsilon: float = 1e-5,
    batch_norm_momentum: float = 0.9,
    padding: blocks.Padding = "symmetric",
) -> keras.Model:
    """A network of Table 1: a 7×7 stem and four stages of residual blocks.

    Layers are named `stem_*` and `stageS_blockB_PART_{conv,norm,relu}`; stage S is the paper's
    conv(S+1)_x. The parts of a basic block are `first` and `second`, those of a bottleneck
    `reduce`, `spatial` and `expand`; `shortcut` is the projection. A block ends in
    `stageS_blockB_add` and `stageS_blockB_relu`, the network in `pool` and `predictions`.

    Args:
        input_shape: height, width, channels; any size from 1×1 up.
        classes: length of the output.
        weights: None, the name of published weights or a file.
        include_top: without it the model ends at the last block.
        pooling: without a top: None, "avg" or "max" over height and width.
        classifier_activation: of the output layer; None for logits.
        version: where a bottleneck strides: "v1.5" in its 3×3 (torchvision), "v1" in its first
            1×1 (the paper, keras.applications).
        shortcut: section 4.1, where shapes differ: "A" pads the identity with zero channels, "B"
            projects; "C" projects everywhere.
        plain: the paper's network without shortcuts.
        zero_init_residual: start the last normalization of each block at gamma 0, so that blocks
            start as identities.
        stem_stride: 2, or 1 to keep resolution on small images.
        use_bias: whether convolutions have one (keras.applications' weights do).
        epsilon, batch_norm_momentum: of every batch normalization (torchvision's by default).
        padding: of strided convolutions, "symmetric" (torchvision's) or "same" (TensorFlow's).

    Returns:
        A functional model, (batch, height, width, channels) → (batch, classes).

    Raises:
        ValueError: an argument that cannot be used; the message says what can.
    """
    convolution = blocks.Convolution(use_bias=use_bias, epsilon=epsilon, momentum=batch_norm_momentum, padding=padding)
    residual = Residual(convolution, version, shortcut, plain, zero_init_residual)
    repeats, bottleneck = IMAGENET[depth]
    top = blocks.Top(include_top, pooling, classes, classifier_activation)
    image = blocks.image_input(input_shape, minimum=1, include_top=include_top)
    x = convolution(image, 64, kernel_size=7, stride=stem_stride, name="stem")
    x = convolution.max_pooling(x, name="stem_pool")
    x = residual.stages(residual.bottleneck if bottleneck else residual.basic, x, repeats, IMAGENET_FILTERS)
    return keras.Model(image, top.pooled(x), name=name)


def CIFARResNet(
    depth: int,
    /,
    input_shape: blocks.Shape = (32, 32, 3),
    classes: int = 10,
    weights: str | os.PathLike[str] | None = None,
    include_top: bool = True,
    pooling: blocks.Pooling = None,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
    *,
    shortcut: Shortcut = "A",
    plain: bool = False,
    zero_init_residual: bool = False,
    epsilon: float = 1e-5,
    batch_norm_momentum: float = 0.9,
    padding: blocks.Padding = "symmetric",
) -> keras.Model:
    """A network of section 4.2: a 3×3 stem and three stages of basic blocks on small images.

    Layers are named as in the networks for ImageNet.

    Args:
        input_shape: height, width, channels; any size from 1×1 up.
        classes: length of the output.
        weights: None or a file (`.keras`, `.weights.h5`).
        include_top: without it the model ends at the last block.
        pooling: without a top: None, "avg" or "max" over height and width.
        classifier_activation: of the output layer; None for logits.
        shortcut: "A" (the paper's here) pads the identity with zero channels, "B" projects where
            shapes differ, "C" everywhere.
        plain: the paper's network without shortcuts.
        zero_init_residual: start the last normalization of each block at gamma 0.
        epsilon, batch_norm_momentum: of every batch normalization.
        padding: of strided convolutions, "symmetric" or "same".

    Returns:
        A functional model, (batch, height, width, channels) → (batch, classes).

    Raises:
        ValueError: an argument that cannot be used; the message says what can.
    """
    convolution = blocks.Convolution(epsilon=epsilon, momentum=batch_norm_momentum, padding=padding)
    residual = Residual(convolution, "v1.5", shortcut, plain, zero_init_residual)
    top = blocks.Top(include_top, pooling, classes, classifier_activation)
    image = blocks.image_input(input_shape, minimum=1, include_top=include_top)
    x = convolution(image, CIFAR_FILTERS[0], name="stem")
    x = residual.stages(residual.basic, x, (CIFAR[depth],) * 3, CIFAR_FILTERS)
    return keras.Model(image, top.pooled(x), name=name)


@dataclass(frozen=True)
class Residual:
    """The two blocks of Fig. 5 under one network's settings."""

    convolution: blocks.Convolution
    version: Version
    shortcut: Shortcut
    plain: bool
    zero_init_residual: bool

    def __post_init__(self) -> None:
        blocks.one_of("version", self.version, ("v1", "v1.5"))
        blocks.one_of("shortcut", self.shortcut, ("A", "B", "C"))

    def stages(
        self,
        block: Callable[[keras.KerasTensor, int, int, str], keras.KerasTensor],
        x: keras.KerasTensor,
        repeats: tuple[int, ...],
        filters: tuple[int, ...],
    ) -> keras.KerasTensor:
        """Stages of blocks, each after the first halving the resolution."""
        for stage, (count, width) in enumerate(zip(repeats, filters, strict=True), start=1):
            for number in range(1, count + 1):
                stride = 2 if stage > 1 and number == 1 else 1
                x = block(x, width, stride, f"stage{stage}_block{number}")
        return x

    def basic(self, x: keras.KerasTensor, filters: int, stride: int, name: str) -> keras.KerasTensor:
        """Two 3×3 convolutions."""
        y = self.convolution(x, filters, stride=stride, name=f"{name}_first")
        y = self._last(y, filters, kernel_size=3, name=f"{name}_second")
        return self._joined(x, y, stride, name)

    def bottleneck(self, x: keras.KerasTensor, filters: int, stride: int, name: str) -> keras.KerasTensor:
        """1×1 to `filters`, 3×3, and 1×1 to four times as many."""
        first, second = (stride, 1) if self.version == "v1" else (1, stride)
        y = self.convolution(x, filters, kernel_size=1, stride=first, name=f"{name}_reduce")
        y = self.convolution(y, filters, stride=second, name=f"{name}_spatial")
        y = self._last(y, 4 * filters, kernel_size=1, name=f"{name}_expand")
        return self._joined(x, y, stride, name)

    def _last(self, x: keras.KerasTensor, filters: int, kernel_size: int, name: str) -> keras.KerasTensor:
        gamma = "zeros" if self.zero_init_residual else "ones"
        return self.convolution(x, filters, kernel_size, activate=False, gamma_initializer=gamma, name=name)

    def _joined(self, x: keras.KerasTensor, y: keras.KerasTensor, stride: int, name: str) -> keras.KerasTensor:
        filters = y.shape[blocks.channel_axis()]
        same_shape = stride == 1 and x.shape[blocks.channel_axis()] == filters
        if not self.plain:
            if self.shortcut == "C" or (self.shortcut == "B" and not same_shape):
                x = self.convolution(x, filters, kernel_size=1, stride=stride, activate=False, name=f"{name}_shortcut")
            elif not same_shape:
                x = PaddedIdentity(filters, stride, name=f"{name}_shortcut")(x)
            y = layers.Add(name=f"{name}_add")([x, y])
        return layers.ReLU(name=f"{name}_relu")(y)


ResNet18 = member(ResNet, 18, "ResNet18", "ResNet-18: 11,699,112 parameters, 1.81G multiply-accumulates.")
ResNet34 = member(ResNet, 34, "ResNet34", "ResNet-34: 21,814,696 parameters, 3.66G multiply-accumulates.")
ResNet50 = member(ResNet, 50, "ResNet50", "ResNet-50: 25,610,152 parameters, 4.09G multiply-accumulates (v1: 3.86G).")
ResNet101 = member(ResNet, 101, "ResNet101", "ResNet-101: 44,654,504 parameters, 7.80G multiply-accumulates.")
ResNet152 = member(ResNet, 152, "ResNet152", "ResNet-152: 60,344,232 parameters, 11.51G multiply-accumulates.")

ResNet20 = member(CIFARResNet, 20, "ResNet20", "ResNet-20 for CIFAR: 0.27M parameters.")
ResNet32 = member(CIFARResNet, 32, "ResNet32", "ResNet-32 for CIFAR: 0.46M parameters.")
ResNet44 = member(CIFARResNet, 44, "ResNet44", "ResNet-44 for CIFAR: 0.66M parameters.")
ResNet56 = member(CIFARResNet, 56, "ResNet56", "ResNet-56 for CIFAR: 0.85M parameters.")
ResNet110 = member(CIFARResNet, 110, "ResNet110", "ResNet-110 for CIFAR: 1.7M parameters.")
