"""LeNet-5: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.

Section II.B and Fig. 2. Layers C1, S2, C3, S4, C5, F6 and the output, under these names.
"""

from __future__ import annotations

import os
from typing import Literal

import keras
from keras import layers

from keras_classics import blocks
from keras_classics.constructor import constructor
from keras_classics.errors import InputError
from keras_classics.layers import (
    ConnectionTableConv2D,
    EuclideanRadialBasisFunction,
    ScaledTanh,
    TrainableSubsampling,
)

# (layer, filters or units), the rows of Fig. 2; each convolution is 5×5 without padding.
CONVOLUTIONS = [("c1", 6), ("c3", 16)]
DENSE = [("c5", 120), ("f6", 84)]

# Table I: the maps of S2 that each map of C3 reads.
TABLE_1 = [
    *[(0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)],
    *[(0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)],
    *[(0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)],
    (0, 1, 2, 3, 4, 5),
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


@constructor
def LeNet5(
    input_shape: blocks.Shape = (32, 32, 1),
    classes: int = 10,
    weights: str | os.PathLike[str] | None = None,
    include_top: bool = True,
    pooling: blocks.Pooling = None,
    classifier_activation: str | None = "softmax",
    name: str = "lenet5",
    *,
    variant: Literal["modern", "1998"] = "modern",
) -> keras.Model:
    """LeNet-5 as it is taught today, or as it was.

    "modern": ReLU, max pooling, every map connected, softmax; 61,706 parameters and 416,520
    multiply-accumulates. "1998": scaled tanh, trainable subsampling, the connections of Table I
    and the distances to pictures of the digits; 60,000 parameters, 326,520 multiply-accumulates,
    340,908 connections. Both keep the paper's sizes: C1 6@28×28, S2 6@14×14, C3 16@10×10,
    S4 16@5×5, C5 120, F6 84. C5, a convolution over all of S4 in the paper, is the dense layer
    that it amounts to at 32×32.

    Args:
        input_shape: height, width, channels; at least 16×16. MNIST's 28×28 digits are padded to
            32×32 by `keras_classics.datasets.data`, as in the paper, so that strokes reach the C1 corners.
        classes: length of the output; at most the ten digits under "1998".
        weights: None or a file (`.keras`, `.weights.h5`).
        include_top: without it the model ends at S4 (5×5×16).
        pooling: without a top: None, "avg" or "max" over height and width.
        classifier_activation: of the output layer; None for logits. Not used by "1998", whose
            output is minus the squared distance to each code, to be trained with
            `losses.MaximumAPosteriori`.
        variant: "modern" or "1998".

    Returns:
        A functional model, (batch, height, width, channels) → (batch, classes).

    Raises:
        ValueError: an argument that cannot be used; the message says what can.
    """
    blocks.one_of("variant", variant, ("modern", "1998"))
    top = blocks.Top(include_top, pooling, classes, classifier_activation)
    image = blocks.image_input(input_shape, minimum=16, include_top=include_top)
    outputs = modern(image, top) if variant == "modern" else original(image, top)
    return keras.Model(image, outputs, name=name)


def modern(x: keras.KerasTensor, top: blocks.Top) -> keras.KerasTensor:
    """The layers of today's LeNet-5."""
    for (layer, filters), pool in zip(CONVOLUTIONS, ("s2", "s4"), strict=True):
        x = layers.Conv2D(filters, 5, activation="relu", kernel_initializer="he_normal", name=layer)(x)
        x = layers.MaxPooling2D(2, name=pool)(x)
    return top.flattened(x, DENSE)


def original(x: keras.KerasTensor, top: blocks.Top) -> keras.KerasTensor:
    """The layers of the paper: all up to F6 squash what they compute."""
    x = layers.Conv2D(6, 5, kernel_initializer=uniform(25 * x.shape[blocks.channel_axis()]), name="c1")(x)
    x = TrainableSubsampling(name="s2")(ScaledTanh(name="c1_tanh")(x))
    mean_fan_in = 25 * sum(map(len, TABLE_1)) / len(TABLE_1)
    x = ConnectionTableConv2D(TABLE_1, 5, uniform(mean_fan_in), name="c3")(ScaledTanh(name="s2_tanh")(x))
    x = TrainableSubsampling(name="s4")(ScaledTanh(name="c3_tanh")(x))
    x = ScaledTanh(name="s4_tanh")(x)
    if not top.include_top:
        return top.features(x)
    x = layers.Flatten(name="flatten")(x)
    for layer, units in DENSE:
        x = layers.Dense(units, kernel_initializer=uniform(x.shape[-1]), name=layer)(x)
        x = ScaledTanh(name=f"{layer}_tanh")(x)
    return EuclideanRadialBasisFunction(codes(top.classes), dtype=blocks.output_dtype(), name="predictions")(x)


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
