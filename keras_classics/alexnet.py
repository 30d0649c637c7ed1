"""AlexNet: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012.

The second variant is that of Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.
"""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

import keras
from keras import layers

from keras_classics import blocks
from keras_classics.arguments import Pooling, Shape, channel_axis, one_of
from keras_classics.layers import GroupedConv2D, LocalResponseNormalization
from keras_classics.pretrained.conversion import LayerNames, Names
from keras_classics.published import Architecture, Counts, published


class Row(NamedTuple):
    """One convolution with ReLU, and what follows it."""

    filters: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    normalize: bool = False
    pool: bool = False


# Fig. 2 and section 3.5; the groups are the paper's two GPUs.
PAPER = [
    Row(96, 11, stride=4, normalize=True, pool=True),
    Row(256, 5, padding=2, groups=2, normalize=True, pool=True),
    Row(384, 3, padding=1),
    Row(384, 3, padding=1, groups=2),
    Row(256, 3, padding=1, groups=2, pool=True),
]
# The second paper's footnote 1, as torchvision has it.
ONE_WEIRD_TRICK = [
    Row(64, 11, stride=4, padding=2, pool=True),
    Row(192, 5, padding=2, pool=True),
    Row(384, 3, padding=1),
    Row(256, 3, padding=1),
    Row(256, 3, padding=1, pool=True),
]
# Height and width of the input in pixels, and the convolutions.
VARIANTS = {"2012": (227, PAPER), "one_weird_trick": (224, ONE_WEIRD_TRICK)}
# Units of the dense layers before the classifier.
DENSE = [("fc6", 4096), ("fc7", 4096)]


def torchvision_names() -> Names:
    """`features` are numbered with ReLU and pooling, `classifier` with ReLU and dropout."""
    names = {"fc6": "classifier.1", "fc7": "classifier.4", "predictions": "classifier.6"}
    index = 0
    for number, row in enumerate(ONE_WEIRD_TRICK, start=1):
        names[f"conv{number}"] = f"features.{index}"
        index += 3 if row.pool else 2
    return names


ALEXNET = Architecture(
    "alexnet",
    "Krizhevsky, Sutskever, Hinton 2012, ImageNet Classification with Deep Convolutional Neural Networks",
    Counts(60_965_224, 60_965_224, 724_406_816),
    minimum_size=67,
    input_shape=(227, 227, 3),
    small_image_arguments={"stem_stride": 1},
    variants={("variant", "one_weird_trick"): Counts(61_100_840, 61_100_840, 714_188_480)},
    layer_names=LayerNames(torchvision=torchvision_names),
)


@published(ALEXNET)
def AlexNet(
    input_shape: Shape | None = None,
    classes: int = 1000,
    weights: str | os.PathLike[str] | None = None,
    include_top: bool = True,
    pooling: Pooling = None,
    classifier_activation: str | None = "softmax",
    name: str = "alexnet",
    *,
    variant: Literal["2012", "one_weird_trick"] = "2012",
    stem_stride: int = 4,
    dropout: float = 0.5,
) -> keras.Model:
    """AlexNet: five convolutions, overlapping 3×3 maxima at stride 2, three dense layers.

    "2012" has two groups and local response normalization, "one_weird_trick" has neither.
    $counts

    Layers are named `convN`, `convN_{pad,relu,norm,pool}`, `fc6`, `fc7` and `predictions`.

    Args:
        input_shape: $input_shape
            By default 227×227×3 ("2012"; the paper's 224 with the padding that its sizes imply) or
            224×224×3. At least 67×67 or 63×63 at stem stride 4. The number of weights of `fc6`
            follows from it.
        classes: $classes
        weights: $weights
        include_top: $include_top Without it the model ends at `conv5_pool` (6×6×256).
        pooling: $pooling
        classifier_activation: $classifier_activation
        name: $name
        variant: the paper's network, or that of torchvision.
        stem_stride: $stem_stride 32×32 needs 1.
        dropout: rate after `fc6` and `fc7` (section 4.2).

    Returns:
        $returns

    Raises:
        $raises
    """
    one_of("variant", variant, VARIANTS)
    size, rows = VARIANTS[variant]
    top = blocks.Top(include_top, pooling, classes, classifier_activation)
    # Three 3×3 maxima at stride 2 need 15 positions of conv1.
    minimum = 14 * stem_stride + rows[0].kernel_size - 2 * rows[0].padding
    if input_shape is None:
        input_shape = (size, size, 3) if channel_axis() == 3 else (3, size, size)
    image = x = blocks.image_input(input_shape, minimum, include_top)
    for number, row in enumerate(rows, start=1):
        stride = stem_stride if number == 1 else row.stride
        x = convolution(x, row, stride, f"conv{number}")
    return keras.Model(image, top.flattened(x, DENSE, dropout), name=name)


def convolution(x: keras.KerasTensor, row: Row, stride: int, name: str) -> keras.KerasTensor:
    """One row of a variant."""
    if row.padding and stride > 1:
        x = layers.ZeroPadding2D(row.padding, name=f"{name}_pad")(x)
    padding = "same" if row.padding and stride == 1 else "valid"
    x = GroupedConv2D(
        row.filters,
        row.kernel_size,
        stride,
        padding,
        groups=row.groups,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    x = layers.ReLU(name=f"{name}_relu")(x)
    if row.normalize:
        x = LocalResponseNormalization(name=f"{name}_norm")(x)
    return layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x) if row.pool else x
