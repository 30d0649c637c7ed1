"""MobileNetV1: Howard et al., 2017.

"MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications".
"""

from __future__ import annotations

import os

import keras

from keras_classics import blocks
from keras_classics.constructor import constructor

# Table 1: stride of the depthwise and filters of the pointwise convolution of each pair.
STEM = 32
BLOCKS = [
    (1, 64),
    (2, 128),
    (1, 128),
    (2, 256),
    (1, 256),
    (2, 512),
    (1, 512),
    (1, 512),
    (1, 512),
    (1, 512),
    (1, 512),
    (2, 1024),
    (1, 1024),
]


@constructor
def MobileNetV1(
    input_shape: blocks.Shape = (224, 224, 3),
    classes: int = 1000,
    weights: str | os.PathLike[str] | None = None,
    include_top: bool = True,
    pooling: blocks.Pooling = None,
    classifier_activation: str | None = "softmax",
    name: str = "mobilenet_v1",
    *,
    alpha: float = 1.0,
    stem_stride: int = 2,
    activation: blocks.Rectifier = "relu6",
    dropout: float = 1e-3,
    epsilon: float = 1e-3,
    batch_norm_momentum: float = 0.9,
    padding: blocks.Padding = "same",
) -> keras.Model:
    """MobileNetV1, Table 1: a stem and 13 depthwise separable convolutions (section 3.1).

    By default 4,253,864 parameters (4,231,976 trainable) and 569M multiply-accumulates.
    Layers are named `stem_*`, `blockB_{depthwise,pointwise}_{conv,norm,relu}`, `predictions`.
    The classifier is a dense layer, with the weights of keras.applications' 1×1 convolution.

    Args:
        input_shape: height, width, channels; any size from 1×1 up. Other resolutions than 224 are
            the paper's resolution multiplier (section 3.4).
        classes: length of the output.
        weights: None, the name of published weights or a file.
        include_top: without it the model ends at the last pointwise convolution (7×7×1024).
        pooling: without a top: None, "avg" or "max" over height and width.
        classifier_activation: of the output layer; None for logits.
        alpha: width multiplier (section 3.3), above 0; products are rounded down.
        stem_stride: 2, or 1 to keep resolution on small images.
        activation: "relu6" as published, or the paper's "relu".
        dropout: rate before the classifier.
        epsilon, batch_norm_momentum: of every batch normalization.
        padding: of strided convolutions, "same" (TensorFlow's) or "symmetric" (PyTorch's).

    Returns:
        A functional model, (batch, height, width, channels) → (batch, classes).

    Raises:
        ValueError: an argument that cannot be used; the message says what can.
    """
    blocks.positive("alpha", alpha)
    convolution = blocks.Convolution(activation, epsilon=epsilon, momentum=batch_norm_momentum, padding=padding)
    top = blocks.Top(include_top, pooling, classes, classifier_activation)
    image = blocks.image_input(input_shape, minimum=1, include_top=include_top)
    x = convolution(image, scaled(STEM, alpha), stride=stem_stride, name="stem")
    for block, (stride, filters) in enumerate(BLOCKS, start=1):
        x = convolution.depthwise(x, stride=stride, name=f"block{block}_depthwise")
        x = convolution(x, scaled(filters, alpha), kernel_size=1, name=f"block{block}_pointwise")
    return keras.Model(image, top.pooled(x, dropout), name=name)


def scaled(filters: int, alpha: float) -> int:
    """A layer's filters under the width multiplier; at least one."""
    return max(1, int(filters * alpha))
