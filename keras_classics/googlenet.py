"""GoogLeNet: Szegedy et al., "Going Deeper with Convolutions", 2014."""

from __future__ import annotations

import os
from typing import NamedTuple

import keras
from keras import layers

from keras_classics import blocks
from keras_classics.arguments import Padding, Pooling, Shape, channel_axis
from keras_classics.errors import InputError
from keras_classics.layers import LocalResponseNormalization
from keras_classics.pretrained.conversion import LayerNames, Names, normalized_pair
from keras_classics.published import Architecture, Counts, published


class Convolution(NamedTuple):
    """A convolution with ReLU."""

    name: str
    kernel_size: int
    filters: int
    stride: int = 1


class Maximum(NamedTuple):
    """A 3×3 maximum at stride 2."""

    name: str


class Normalization(NamedTuple):
    """Local response normalization, where convolutions do not normalize by themselves."""

    name: str


class Inception(NamedTuple):
    """An inception module: the filters of its convolutions, under Table 1's headings."""

    name: str
    ones: int
    threes_reduce: int
    threes: int
    fives_reduce: int
    fives: int
    pool_projection: int


Row = Convolution | Maximum | Normalization | Inception

TABLE_1: list[Row] = [
    Convolution("conv1", 7, 64, stride=2),
    Maximum("conv1_pool"),
    Normalization("conv1_norm"),
    Convolution("conv2_reduce", 1, 64),
    Convolution("conv2", 3, 192),
    Normalization("conv2_norm"),
    Maximum("conv2_pool"),
    Inception("3a", 64, 96, 128, 16, 32, 32),
    Inception("3b", 128, 128, 192, 32, 96, 64),
    Maximum("stage3_pool"),
    Inception("4a", 192, 96, 208, 16, 48, 64),
    Inception("4b", 160, 112, 224, 24, 64, 64),
    Inception("4c", 128, 128, 256, 24, 64, 64),
    Inception("4d", 112, 144, 288, 32, 64, 64),
    Inception("4e", 256, 160, 320, 32, 128, 128),
    Maximum("stage4_pool"),
    Inception("5a", 256, 160, 320, 32, 128, 128),
    Inception("5b", 384, 192, 384, 48, 128, 128),
]
# Section 5: the module that each auxiliary classifier reads.
AUXILIARY = {"4a": "auxiliary_1", "4d": "auxiliary_2"}
# Section 5: weights of the main loss and of the two auxiliary ones in their sum.
LOSS_WEIGHTS = (1.0, 0.3, 0.3)


def torchvision_names() -> Names:
    """Branches are numbered from 1 as they stand in Table 1, a reduction before its convolution."""
    branches = {
        "1x1": "branch1",
        "3x3_reduce": "branch2.0",
        "3x3": "branch2.1",
        "5x5_reduce": "branch3.0",
        "5x5": "branch3.1",
        "pool_proj": "branch4.1",
    }
    convolutions = [row.name for row in TABLE_1 if isinstance(row, Convolution)]
    units = {name: f"conv{number}" for number, name in enumerate(convolutions, start=1)}
    for row in TABLE_1:
        if isinstance(row, Inception):
            units |= {
                f"inception_{row.name}_{ours}": f"inception{row.name}.{theirs}" for ours, theirs in branches.items()
            }
    names = {"predictions": "fc"}
    for ours, theirs in units.items():
        names |= normalized_pair(ours, f"{theirs}.conv", f"{theirs}.bn")
    return names


GOOGLENET = Architecture(
    "googlenet",
    "Szegedy et al. 2014, Going Deeper with Convolutions",
    Counts(6_998_552, 6_998_552, 1_582_671_872),
    minimum_size=31,
    small_image_arguments={"stem_stride": 1, "batch_norm": True},
    variants={
        ("auxiliary_heads", True): Counts(13_378_280, 13_378_280, 1_591_044_096),
        ("batch_norm", True): Counts(7_020_392, 7_005_832, 1_582_671_872),
    },
    layer_names=LayerNames(torchvision=torchvision_names),
)


@published(GOOGLENET)
def GoogLeNet(
    input_shape: Shape = (224, 224, 3),
    classes: int = 1000,
    weights: str | os.PathLike[str] | None = None,
    include_top: bool = True,
    pooling: Pooling = None,
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
    padding: Padding = "symmetric",
) -> keras.Model:
    """GoogLeNet, Table 1: a stem, nine inception modules, one dense layer.

    $counts

    Layers are named `convN…`, `inception_NM_BRANCH_{conv,norm,relu}` with the
    table's columns as BRANCH (`1x1`, `3x3_reduce`, `3x3`, `5x5_reduce`, `5x5`, `pool_proj`),
    `inception_NM_concat`, `stageN_pool`, `auxiliary_N_…` and `predictions`.

    Args:
        input_shape: $input_shape
            At least 31×31, with auxiliary classifiers 79×79 (at stem stride 1 16×16 and 40×40).
        classes: $classes
        weights: $weights
        include_top: $include_top Without it the model ends at the last module (7×7×1024).
        pooling: $pooling
        classifier_activation: $classifier_activation
        name: $name
        auxiliary_heads: add the two side classifiers of section 5, to be compiled with three
            losses and `loss_weights=LOSS_WEIGHTS`, and dropped by `inference_model`.
        batch_norm: normalize after each convolution, in place of local response normalization.
        stem_stride: $stem_stride
        large_kernel_size: of the 5×5 branch; torchvision's weights have 3 there.
        last_pool_size: of the maximum before stage 5; torchvision's weights have 2 there.
        dropout: rate before the classifier. Auxiliary classifiers have 0.7.
        epsilon: $epsilon
        batch_norm_momentum: $batch_norm_momentum
        padding: of the 7×7 convolution, "symmetric" (torchvision's) or "same" (TensorFlow's).

    Returns:
        A functional model, (batch, height, width, channels) → (batch, classes), or to a list of
        three of these, `[predictions, auxiliary_1, auxiliary_2]`.

    Raises:
        $raises
    """
    if auxiliary_heads and not include_top:
        raise InputError("auxiliary_heads needs a top; drop include_top=False or auxiliary_heads=True")
    convolution = blocks.Convolution(
        batch_norm=batch_norm, epsilon=epsilon, momentum=batch_norm_momentum, padding=padding
    )
    top = blocks.Top(include_top, pooling, classes, classifier_activation)
    # After conv1 four halvings take 16 positions; a head's 5×5 average after three of them takes 40.
    minimum = stem_stride * ((40 if auxiliary_heads else 16) - 1) + 1
    image = x = blocks.image_input(input_shape, minimum, include_top)
    heads = []
    for row in TABLE_1:
        match row:
            case Convolution(row_name, kernel_size, filters, stride):
                x = convolution(x, filters, kernel_size, stem_stride if row_name == "conv1" else stride, name=row_name)
            case Maximum(row_name):
                x = maximum(x, row_name, last_pool_size if row_name == "stage4_pool" else 3)
            case Normalization(row_name) if not batch_norm:
                x = LocalResponseNormalization(name=row_name)(x)
            case Inception():
                x = inception(convolution, x, row, large_kernel_size)
        if auxiliary_heads and row.name in AUXILIARY:
            heads.append(auxiliary(convolution, top, x, AUXILIARY[row.name]))
    predictions = top.pooled(x, dropout)
    return keras.Model(image, [predictions, *heads] if heads else predictions, name=name)


def inception(
    convolution: blocks.Convolution, x: keras.KerasTensor, row: Inception, large_kernel_size: int
) -> keras.KerasTensor:
    """Fig. 2b: four branches, their channels side by side."""
    name = f"inception_{row.name}"
    first = convolution(x, row.ones, kernel_size=1, name=f"{name}_1x1")
    second = convolution(x, row.threes_reduce, kernel_size=1, name=f"{name}_3x3_reduce")
    second = convolution(second, row.threes, kernel_size=3, name=f"{name}_3x3")
    third = convolution(x, row.fives_reduce, kernel_size=1, name=f"{name}_5x5_reduce")
    third = convolution(third, row.fives, kernel_size=large_kernel_size, name=f"{name}_5x5")
    fourth = layers.MaxPooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
    fourth = convolution(fourth, row.pool_projection, kernel_size=1, name=f"{name}_pool_proj")
    return layers.Concatenate(channel_axis(), name=f"{name}_concat")([first, second, third, fourth])


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
