"""VGG: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014."""

from __future__ import annotations

import os

import keras
from keras import layers

from keras_classics import blocks
from keras_classics.constructor import member

# Table 1: 3×3 convolutions in each of the five stages, each stage ended by a 2×2 maximum.
CONFIGURATIONS = {
    11: (1, 1, 2, 2, 2),  # A
    13: (2, 2, 2, 2, 2),  # B
    16: (2, 2, 3, 3, 3),  # D
    19: (2, 2, 4, 4, 4),  # E
}
FILTERS = (64, 128, 256, 512, 512)
DENSE = [("fc1", 4096), ("fc2", 4096)]


def VGG(
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
    batch_norm: bool = False,
    dropout: float = 0.5,
    epsilon: float = 1e-5,
    batch_norm_momentum: float = 0.9,
) -> keras.Model:
    """A network of Table 1: five stages of 3×3 convolutions, three dense layers.

    Layers are named `stageS_layerL_{conv,norm,relu}`, `stageS_pool`, `fc1`, `fc2`, `predictions`.

    Args:
        input_shape: height, width, channels; at least 32×32. The number of weights of `fc1`
            follows from it.
        classes: length of the output.
        weights: None, the name of published weights or a file.
        include_top: without it the model ends at `stage5_pool` (7×7×512).
        pooling: without a top: None, "avg" or "max" over height and width.
        classifier_activation: of the output layer; None for logits.
        batch_norm: normalize after each convolution, which keeps its bias (torchvision's `_bn`).
        dropout: rate after `fc1` and `fc2` (section 3.1).
        epsilon, batch_norm_momentum: of every batch normalization.

    Returns:
        A functional model, (batch, height, width, channels) → (batch, classes).

    Raises:
        ValueError: an argument that cannot be used; the message says what can.
    """
    convolution = blocks.Convolution(
        batch_norm=batch_norm, use_bias=True, epsilon=epsilon, momentum=batch_norm_momentum
    )
    top = blocks.Top(include_top, pooling, classes, classifier_activation)
    image = x = blocks.image_input(input_shape, minimum=32, include_top=include_top)
    for stage, (repeats, filters) in enumerate(zip(CONFIGURATIONS[depth], FILTERS, strict=True), start=1):
        for layer in range(1, repeats + 1):
            x = convolution(x, filters, name=f"stage{stage}_layer{layer}")
        x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
    return keras.Model(image, top.flattened(x, DENSE, dropout), name=name)


VGG11 = member(VGG, 11, "VGG11", "VGG-11, configuration A: 132,863,336 parameters, 7.61G multiply-accumulates.")
VGG13 = member(VGG, 13, "VGG13", "VGG-13, configuration B: 133,047,848 parameters, 11.31G multiply-accumulates.")
VGG16 = member(VGG, 16, "VGG16", "VGG-16, configuration D: 138,357,544 parameters, 15.47G multiply-accumulates.")
VGG19 = member(VGG, 19, "VGG19", "VGG-19, configuration E: 143,667,240 parameters, 19.63G multiply-accumulates.")
