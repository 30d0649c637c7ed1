"""LeNet-5: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.

Section II.B and Fig. 2. Layers C1, S2, C3, S4, C5, F6 and the output, under these names.
"""

from __future__ import annotations

import os

import keras
from keras import layers

from keras_classics import blocks
from keras_classics.constructor import constructor

# (layer, filters or units), the rows of Fig. 2; each convolution is 5×5 without padding.
CONVOLUTIONS = [("c1", 6), ("c3", 16)]
DENSE = [("c5", 120), ("f6", 84)]


@constructor
def LeNet5(
    input_shape: blocks.Shape = (32, 32, 1),
    classes: int = 10,
    weights: str | os.PathLike[str] | None = None,
    include_top: bool = True,
    pooling: blocks.Pooling = None,
    classifier_activation: str | None = "softmax",
    name: str = "lenet5",
) -> keras.Model:
    """LeNet-5 as it is taught today: ReLU, max pooling, every map connected, softmax.

    The paper's sizes are kept: C1 6@28×28, S2 6@14×14, C3 16@10×10, S4 16@5×5, C5 120, F6 84.
    At the default shape C5, a convolution over all of S4 in the paper, is the dense layer it
    amounts to. 61,706 parameters and 416,520 multiply-accumulates.

    Args:
        input_shape: height, width, channels; at least 16×16. MNIST's 28×28 digits are padded to
            32×32 by `keras_classics.data`, as in the paper, so that strokes reach the C1 corners.
        classes: length of the output.
        weights: None or a file (`.keras`, `.weights.h5`).
        include_top: without it the model ends at S4 (5×5×16).
        pooling: without a top: None, "avg" or "max" over height and width.
        classifier_activation: of the output layer; None for logits.

    Returns:
        A functional model, (batch, height, width, channels) → (batch, classes).

    Raises:
        ValueError: an argument that cannot be used; the message says what can.
    """
    top = blocks.Top(include_top, pooling, classes, classifier_activation)
    image = x = blocks.image_input(input_shape, minimum=16, include_top=include_top)
    for (layer, filters), pool in zip(CONVOLUTIONS, ("s2", "s4"), strict=True):
        x = layers.Conv2D(filters, 5, activation="relu", kernel_initializer="he_normal", name=layer)(x)
        x = layers.MaxPooling2D(2, name=pool)(x)
    return keras.Model(image, top.flattened(x, DENSE), name=name)
