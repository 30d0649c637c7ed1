"""MobileNetV1: Howard et al., 2017.

"MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications".
"""

from __future__ import annotations

import os

import keras

from keras_classics import blocks
from keras_classics.arguments import Padding, Pooling, Rectifier, Shape, positive
from keras_classics.pretrained.conversion import LayerNames, Names, normalized_pair
from keras_classics.published import Architecture, Counts, published

# Table 1: filters of the first, full convolution.
STEM = 32
# Table 1: stride of the depthwise and filters of the pointwise convolution of each pair.
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


def keras_names() -> Names:
    """`conv_dw_N` and `conv_pw_N`; the classifier is a 1×1 convolution."""
    names = normalized_pair("stem", "conv1", "conv1_bn") | {"predictions": "conv_preds"}
    for block in range(1, len(BLOCKS) + 1):
        names |= normalized_pair(f"block{block}_depthwise", f"conv_dw_{block}", f"conv_dw_{block}_bn")
        names |= normalized_pair(f"block{block}_pointwise", f"conv_pw_{block}", f"conv_pw_{block}_bn")
    return names


MOBILENET_V1 = Architecture(
    "mobilenet_v1",
    "Howard et al. 2017, MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
    Counts(4_253_864, 4_231_976, 568_740_352),
    minimum_size=1,
    small_image_arguments={"alpha": 0.25, "stem_stride": 1},
    layer_names=LayerNames(keras_applications=keras_names),
)


@published(MOBILENET_V1)
def MobileNetV1(
    input_shape: Shape = (224, 224, 3),
    classes: int = 1000,
    weights: str | os.PathLike[str] | None = None,
    include_top: bool = True,
    pooling: Pooling = None,
    classifier_activation: str | None = "softmax",
    name: str = "mobilenet_v1",
    *,
    alpha: float = 1.0,
    stem_stride: int = 2,
    activation: Rectifier = "relu6",
    dropout: float = 1e-3,
    epsilon: float = 1e-3,
    batch_norm_momentum: float = 0.9,
    padding: Padding = "same",
) -> keras.Model:
    """MobileNetV1, Table 1: a stem and 13 depthwise separable convolutions (section 3.1).

    $counts

    Layers are named `stem_*`, `blockB_{depthwise,pointwise}_{conv,norm,relu}`, `predictions`.
    The classifier is a dense layer, with the weights of keras.applications' 1×1 convolution.

    Args:
        input_shape: $input_shape
            Any size from 1×1 up. Other resolutions than 224 are the paper's resolution multiplier
            (section 3.4).
        classes: $classes
        weights: $weights
        include_top: $include_top Without it the model ends at the last pointwise convolution (7×7×1024).
        pooling: $pooling
        classifier_activation: $classifier_activation
        name: $name
        alpha: width multiplier (section 3.3), above 0; products are rounded down.
        stem_stride: $stem_stride
        activation: "relu6" as published, or the paper's "relu".
        dropout: rate before the classifier.
        epsilon: $epsilon
        batch_norm_momentum: $batch_norm_momentum
        padding: $padding

    Returns:
        $returns

    Raises:
        $raises
    """
    positive("alpha", alpha)
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
