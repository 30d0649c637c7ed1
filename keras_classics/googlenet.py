"""GoogLeNet: Szegedy et al., "Going Deeper with Convolutions", 2014."""

from __future__ import annotations

import os

import keras
from keras import layers

from keras_classics import blocks
from keras_classics.constructor import constructor
from keras_classics.errors import InputError
from keras_classics.layers import LocalResponseNormalization

# Table 1: #1×1, #3×3 reduce, #3×3, #5×5 reduce, #5×5, pool proj; a 3×3 maximum ends each stage.
STAGES = {
    "3": {"a": (64, 96, 128, 16, 32, 32), "b": (128, 128, 192, 32, 96, 64)},
    "4": {
        "a": (192, 96, 208, 16, 48, 64),
        "b": (160, 112, 224, 24, 64, 64),
        "c": (128, 128, 256, 24, 64, 64),
        "d": (112, 144, 288, 32, 64, 64),
        "e": (256, 160, 320, 32, 128, 128),
    },
    "5": {"a": (256, 160, 320, 32, 128, 128), "b": (384, 192, 384, 48, 128, 128)},
}
# Section 5: the modules that an auxiliary classifier reads.
AUXILIARY = {"4a": "auxiliary_1", "4d": "auxiliary_2"}
# Section 6: what the auxiliary losses count against the main one.
LOSS_WEIGHTS = (1.0, 0.3, 0.3)


@constructor
def GoogLeNet(
    input_shape: blocks.Shape = (224, 224, 3),
    classes: int = 1000,
    weights: str | os.PathLike[str] | None = None,
    include_top: bool = True,
    pooling: blocks.Pooling = None,
    classifier_activation: str | None = "softmax",
    name: str = "googlenet",
    *,
    auxiliary_heads: bool = False,
    batch_norm: bool = False,
    stem_stride: int = 2,
    large_kernel_size: int = 5,
    last_pool_size: int = 3,
    dropout: float = 0.4,
    epsilon: float = 1e-5,
    batch_norm_momentum: float = 0.9,
    padding: blocks.Padding = "symmetric",
) -> keras.Model:
    """GoogLeNet, Table 1: a stem, nine inception modules, one dense layer.

    By default 6,998,552 parameters and 1.583G multiply-accumulates; with both auxiliary classifiers
    13,378,280 and 1.591G. Layers are named `convN…`, `inception_NM_BRANCH_{conv,norm,relu}` with the
    table's columns as BRANCH (`1x1`, `3x3_reduce`, `3x3`, `5x5_reduce`, `5x5`, `pool_proj`),
    `inception_NM_concat`, `stageN_pool`, `auxiliary_N_…` and `predictions`.

    Args:
        input_shape: height, width, channels; at least 31×31, with auxiliary classifiers 79×79
            (at stem stride 1 16×16 and 40×40).
        classes: length of each output.
        weights: None, the name of published weights or a file.
        include_top: without it the model ends at the last module (7×7×1024).
        pooling: without a top: None, "avg" or "max" over height and width.
        classifier_activation: of the outputs; None for logits.
        auxiliary_heads: add the two side classifiers of section 5, to be compiled with three
            losses and `loss_weights=LOSS_WEIGHTS`, and dropped by `inference_model`.
        batch_norm: normalize after each convolution, in place of local response normalization.
        stem_stride: 2, or 1 to keep resolution on small images.
        large_kernel_size: of the 5×5 branch; torchvision's weights have 3 there.
        last_pool_size: of the maximum before stage 5; torchvision's weights have 2 there.
        dropout: rate before the classifier. Auxiliary classifiers have 0.7.
        epsilon, batch_norm_momentum: of every batch normalization.
        padding: of the 7×7 convolution, "symmetric" (torchvision's) or "same" (TensorFlow's).

    Returns:
        A functional model, (batch, height, width, channels) → (batch, classes), or to a list of
        three of these, `[predictions, auxiliary_1, auxiliary_2]`.

    Raises:
        ValueError: an argument that cannot be used; the message says what can.
    """
    if auxiliary_heads and not include_top:
        raise InputError("auxiliary_heads needs a top; drop include_top=False or auxiliary_heads=True")
    convolution = blocks.Convolution(
        batch_norm=batch_norm, epsilon=epsilon, momentum=batch_norm_momentum, padding=padding
    )
    top = blocks.Top(include_top, pooling, classes, classifier_activation)
    # After conv1 four halvings take 16 positions; a head's 5×5 average after three of them takes 40.
    minimum = stem_stride * ((40 if auxiliary_heads else 16) - 1) + 1
    image = blocks.image_input(input_shape, minimum, include_top)
    x = stem(convolution, image, stem_stride)
    heads = []
    for stage, modules in STAGES.items():
        for letter, filters in modules.items():
            x = inception(convolution, x, filters, large_kernel_size, f"inception_{stage}{letter}")
            if auxiliary_heads and stage + letter in AUXILIARY:
                heads.append(auxiliary(convolution, top, x, AUXILIARY[stage + letter]))
        if stage != "5":
            x = maximum(x, f"stage{stage}_pool", last_pool_size if stage == "4" else 3)
    predictions = top.pooled(x, dropout)
    return keras.Model(image, [predictions, *heads] if heads else predictions, name=name)


def stem(convolution: blocks.Convolution, x: keras.KerasTensor, stride: int) -> keras.KerasTensor:
    """The rows of Table 1 before the first inception module."""
    x = maximum(convolution(x, 64, kernel_size=7, stride=stride, name="conv1"), "conv1_pool")
    if not convolution.batch_norm:
        x = LocalResponseNormalization(name="conv1_norm")(x)
    x = convolution(x, 64, kernel_size=1, name="conv2_reduce")
    x = convolution(x, 192, name="conv2")
    if not convolution.batch_norm:
        x = LocalResponseNormalization(name="conv2_norm")(x)
    return maximum(x, "conv2_pool")


def inception(
    convolution: blocks.Convolution, x: keras.KerasTensor, filters: tuple[int, ...], large: int, name: str
) -> keras.KerasTensor:
    """Fig. 2b: four branches, their channels side by side."""
    ones, threes_reduce, threes, fives_reduce, fives, projection = filters
    first = convolution(x, ones, kernel_size=1, name=f"{name}_1x1")
    second = convolution(x, threes_reduce, kernel_size=1, name=f"{name}_3x3_reduce")
    second = convolution(second, threes, kernel_size=3, name=f"{name}_3x3")
    third = convolution(x, fives_reduce, kernel_size=1, name=f"{name}_5x5_reduce")
    third = convolution(third, fives, kernel_size=large, name=f"{name}_5x5")
    fourth = layers.MaxPooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
    fourth = convolution(fourth, projection, kernel_size=1, name=f"{name}_pool_proj")
    return layers.Concatenate(blocks.channel_axis(), name=f"{name}_concat")([first, second, third, fourth])


def auxiliary(convolution: blocks.Convolution, top: blocks.Top, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Section 5: a side classifier, which brings gradient to the lower layers."""
    x = layers.AveragePooling2D(5, 3, name=f"{name}_pool")(x)
    x = convolution(x, 128, kernel_size=1, name=f"{name}_reduce")
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = layers.Dense(1024, activation="relu", kernel_initializer="he_normal", name=f"{name}_fc")(x)
    return top.classifier(layers.Dropout(0.7, name=f"{name}_dropout")(x), name=name)


def maximum(x: keras.KerasTensor, name: str, size: int = 3) -> keras.KerasTensor:
    """Maximum at stride 2 that counts a last, incomplete window too, as Caffe does.

    The row and column of zeros that complete it stand for −∞, since values are rectified.
    """
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
    return layers.MaxPooling2D(size, 2, name=name)(x)
