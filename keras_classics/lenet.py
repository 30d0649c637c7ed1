"""LeNet-5: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.

Section II.B and Fig. 2. Layers C1, S2, C3, S4, C5, F6 and the output, under these names.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, NamedTuple

import keras
from keras import layers

from keras_classics import blocks
from keras_classics.arguments import Pooling, Shape, channel_axis, one_of
from keras_classics.errors import InputError
from keras_classics.layers import (
    ConnectionTableConv2D,
    EuclideanRadialBasisFunction,
    ScaledTanh,
    TrainableSubsampling,
)
from keras_classics.published import Architecture, Counts, published

# Table I: the maps of S2 that each map of C3 reads.
TABLE_1 = [
    *[(0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)],
    *[(0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)],
    *[(0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)],
    (0, 1, 2, 3, 4, 5),
]


class Row(NamedTuple):
    """One layer of Fig. 2: `size` counts feature maps or units; `reads` is Table I where maps are not all connected."""

    name: str
    kind: Literal["convolution", "subsampling", "dense"]
    size: int
    reads: Sequence[Sequence[int]] = ()


# Fig. 2 up to S4; convolutions are 5×5 without padding, subsampling is 2×2.
FEATURES = [
    Row("c1", "convolution", 6),
    Row("s2", "subsampling", 6),
    Row("c3", "convolution", 16, reads=TABLE_1),
    Row("s4", "subsampling", 16),
]
# Fig. 2 from C5 to F6.
DENSE = [
    Row("c5", "dense", 120),
    Row("f6", "dense", 84),
]
# Fig. 3: the digits as 7×12 pictures, as one public transcription has them.
DIGITS = """
.#####. ...##.. .#####. ####### .#####. .#####. ..####. ####### .#####. .#####.
....... ..###.. ....... .....## ....... ....... .##.... .....## ##...## ##..###
..###.. .####.. .#####. ....##. ....... ####### ##..... .....## ##...## ##...##
.##.##. ...##.. ##...## ...##.. .##..## ##..... ##..... ....##. ##...## ##...##
##...## ...##.. #....## ..####. .##..## ##..... ######. ...##.. .#####. ##..###
##...## ...##.. ....##. .....## ###..## .####.. ###..## ...##.. ##...## .######
##...## ...##.. ..###.. .....## ##...## ..####. ##...## ..##... ##...## .....##
##...## ...##.. .##.... .....## ##...## .....## ##...## ..##... ##...## .....##
.##.##. ...##.. ##..... ##...## ##..### ##...## ###..## ..##... ##...## ....##.
..###.. .###### ####### .#####. .###### .#####. .#####. ..##... .#####. .####..
....... ....... ....... ....... .....## ....... ....... ....... ....... .......
....... ....... ....... ....... .....## ....... ....... ....... ....... .......
"""

LENET5 = Architecture(
    "lenet5",
    "LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition",
    Counts(61_706, 61_706, 416_520),
    minimum_size=16,
    input_shape=(32, 32, 1),
    classes=10,
    variants={("variant", "1998"): Counts(60_000, 60_000, 328_096)},
)


@published(LENET5)
def LeNet5(
    input_shape: Shape = (32, 32, 1),
    classes: int = 10,
    weights: str | os.PathLike[str] | None = None,
    include_top: bool = True,
    pooling: Pooling = None,
    classifier_activation: str | None = "softmax",
    name: str = "lenet5",
    *,
    variant: Literal["modern", "1998"] = "modern",
) -> keras.Model:
    """LeNet-5 as it is taught today, or as it was.

    "modern": ReLU, max pooling, every map connected, softmax. "1998": scaled tanh, trainable
    subsampling, the connections of Table I (340,908 in all) and the distances to pictures of the
    digits. Both keep the paper's sizes: C1 6@28×28, S2 6@14×14, C3 16@10×10, S4 16@5×5, C5 120,
    F6 84. C5, a convolution over all of S4 in the paper, is the dense layer that it amounts to at
    32×32.
    $counts

    Args:
        input_shape: $input_shape
            At least 16×16. MNIST's 28×28 digits are padded to 32×32 by `keras_classics.datasets`,
            as in the paper, so that strokes reach the C1 corners.
        classes: $classes At most the ten digits under "1998".
        weights: $weights
        include_top: $include_top Without it the model ends at S4 (5×5×16).
        pooling: $pooling
        classifier_activation: $classifier_activation
            Not used by "1998", whose output is minus the squared distance to each code, to be
            trained with `keras_classics.MaximumAPosteriori`.
        name: $name
        variant: "modern" or "1998".

    Returns:
        $returns

    Raises:
        $raises
    """
    one_of("variant", variant, ("modern", "1998"))
    top = blocks.Top(include_top, pooling, classes, classifier_activation)
    image = x = blocks.image_input(input_shape, LENET5.minimum_size, include_top)
    layer = modern if variant == "modern" else original
    for row in FEATURES:
        x = layer(x, row)
    if not include_top:
        return keras.Model(image, top.features(x), name=name)
    x = layers.Flatten(name="flatten")(x)
    for row in DENSE:
        x = layer(x, row)
    return keras.Model(image, top.classifier(x) if variant == "modern" else nearest_code(x, classes), name=name)


def modern(x: keras.KerasTensor, row: Row) -> keras.KerasTensor:
    """One row as it is built today."""
    if row.kind == "subsampling":
        return layers.MaxPooling2D(2, name=row.name)(x)
    if row.kind == "convolution":
        return layers.Conv2D(row.size, 5, activation="relu", kernel_initializer="he_normal", name=row.name)(x)
    return layers.Dense(row.size, activation="relu", kernel_initializer="he_normal", name=row.name)(x)


def original(x: keras.KerasTensor, row: Row) -> keras.KerasTensor:
    """One row as the paper has it: every layer up to F6 squashes what it computes."""
    channels = x.shape[channel_axis()] if row.kind == "convolution" else x.shape[-1]
    if row.kind == "subsampling":
        x = TrainableSubsampling(name=row.name)(x)
    elif row.kind == "dense":
        x = layers.Dense(row.size, kernel_initializer=uniform(channels), name=row.name)(x)
    elif row.reads:
        mean_fan_in = 25 * sum(map(len, row.reads)) / len(row.reads)
        x = ConnectionTableConv2D(row.reads, 5, uniform(mean_fan_in), name=row.name)(x)
    else:
        x = layers.Conv2D(row.size, 5, kernel_initializer=uniform(25 * channels), name=row.name)(x)
    return ScaledTanh(name=f"{row.name}_tanh")(x)


def nearest_code(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """The paper's output: minus the squared distance of F6 to the code of each digit."""
    return EuclideanRadialBasisFunction(codes(classes), dtype=blocks.output_dtype(), name="predictions")(x)


def uniform(fan_in: float) -> keras.initializers.Initializer:
    """Appendix A: weights start between ±2.4 / fan-in."""
    return keras.initializers.RandomUniform(-2.4 / fan_in, 2.4 / fan_in)


def codes(classes: int) -> list[list[int]]:
    """The codes of the first digits: 84 times 1 for ink or -1 for paper, row by row.

    Raises:
        ValueError: `classes` is above ten.
    """
    if classes > 10:
        raise InputError(f"classes is {classes}; variant '1998' has codes for 10 digits, variant 'modern' takes any")
    rows = [row.split() for row in DIGITS.split("\n") if row]
    return [[1 if pixel == "#" else -1 for row in rows for pixel in row[digit]] for digit in range(classes)]
