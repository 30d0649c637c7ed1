"""MobileNetV2: Sandler, Howard, Zhu, Zhmoginov, Chen, "Inverted Residuals and Linear Bottlenecks", 2018."""

from __future__ import annotations

import os

import keras
from keras import layers

from keras_classics import blocks
from keras_classics.constructor import constructor

# Table 2: expansion t, output channels c, repeats n, stride s of the first repeat.
BOTTLENECKS = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]
STEM, LAST = 32, 1280


@constructor
def MobileNetV2(
    input_shape: blocks.Shape = (224, 224, 3),
    classes: int = 1000,
    weights: str | os.PathLike[str] | None = None,
    include_top: bool = True,
    pooling: blocks.Pooling = None,
    classifier_activation: str | None = "softmax",
    name: str = "mobilenet_v2",
    *,
    alpha: float = 1.0,
    stem_stride: int = 2,
    dropout: float = 0.2,
    epsilon: float = 1e-5,
    batch_norm_momentum: float = 0.9,
    padding: blocks.Padding = "symmetric",
) -> keras.Model:
    """MobileNetV2, Table 2: a stem, 17 inverted residuals with linear bottlenecks, a classifier.

    By default 3,538,984 parameters (3,504,872 trainable) and 301M multiply-accumulates.
    Layers are named `stem_*`, `stageS_blockB_{expand,depthwise,project}_*` with S the row of the
    table and B the repeat, `last_*` and `predictions`.

    Args:
        input_shape: height, width, channels; any size from 1×1 up (from 32×32 on every stride
            halves something).
        classes: length of the output.
        weights: None or a file (`.keras`, `.weights.h5`).
        include_top: without it the model ends at the last 1×1 convolution.
        pooling: without a top: None, "avg" or "max" over height and width.
        classifier_activation: of the output layer; None for logits.
        alpha: width multiplier (section 4, "Trade-off hyper parameters"), above 0. Channels are
            rounded to multiples of 8; the last convolution is never narrowed.
        stem_stride: 2, or 1 to keep resolution on small images.
        dropout: rate before the classifier.
        epsilon, batch_norm_momentum: of every batch normalization (torchvision's by default).
        padding: of strided convolutions, "symmetric" (torchvision's) or "same" (TensorFlow's).

    Returns:
        A functional model, (batch, height, width, channels) → (batch, classes).

    Raises:
        ValueError: an argument that cannot be used; the message says what can.
    """
    blocks.positive("alpha", alpha)
    convolution = blocks.Convolution("relu6", epsilon=epsilon, momentum=batch_norm_momentum, padding=padding)
    top = blocks.Top(include_top, pooling, classes, classifier_activation)
    image = blocks.image_input(input_shape, minimum=1, include_top=include_top)
    x = convolution(image, blocks.make_divisible(STEM * alpha), stride=stem_stride, name="stem")
    for stage, (t, c, n, s) in enumerate(BOTTLENECKS, start=1):
        filters = blocks.make_divisible(c * alpha)
        for block in range(1, n + 1):
            stride = s if block == 1 else 1
            x = inverted_residual(convolution, x, t, filters, stride, f"stage{stage}_block{block}")
    x = convolution(x, blocks.make_divisible(LAST * max(1.0, alpha)), kernel_size=1, name="last")
    return keras.Model(image, top.pooled(x, dropout), name=name)


def inverted_residual(
    convolution: blocks.Convolution, x: keras.KerasTensor, expansion: int, filters: int, stride: int, name: str
) -> keras.KerasTensor:
    """Table 1: expand 1×1, depthwise 3×3, project 1×1 without activation; add where shapes agree."""
    shortcut, channels = x, x.shape[blocks.channel_axis()]
    if expansion != 1:
        x = convolution(x, expansion * channels, kernel_size=1, name=f"{name}_expand")
    x = convolution.depthwise(x, stride=stride, name=f"{name}_depthwise")
    x = convolution(x, filters, kernel_size=1, activate=False, name=f"{name}_project")
    return layers.Add(name=f"{name}_add")([shortcut, x]) if stride == 1 and channels == filters else x
