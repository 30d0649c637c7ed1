"""VGG: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import keras
from keras import layers

from keras_classics import blocks
from keras_classics.arguments import Pooling, Shape
from keras_classics.pretrained.conversion import LayerNames, Names, normalized_pair
from keras_classics.published import Architecture, Counts, member

# Table 1 by number of layers with weights: 3×3 convolutions in each of the five stages, which end in a 2×2 maximum.
CONFIGURATIONS = {
    11: (1, 1, 2, 2, 2),  # A
    13: (2, 2, 2, 2, 2),  # B
    16: (2, 2, 3, 3, 3),  # D
    19: (2, 2, 4, 4, 4),  # E
}
# Filters of the convolutions of each stage.
FILTERS = (64, 128, 256, 512, 512)
# Units of the dense layers before the classifier.
DENSE = [("fc1", 4096), ("fc2", 4096)]


def positions(depth: int) -> Iterator[tuple[int, int]]:
    """Stage and layer of each convolution of a configuration, from 1."""
    for stage, repeats in enumerate(CONFIGURATIONS[depth], start=1):
        for layer in range(1, repeats + 1):
            yield stage, layer


def torchvision_names(depth: int, batch_norm: bool) -> Names:
    """`features` are numbered with normalization, ReLU and pooling, `classifier` with ReLU and dropout."""
    names = {"fc1": "classifier.0", "fc2": "classifier.3", "predictions": "classifier.6"}
    for count, (stage, layer) in enumerate(positions(depth)):
        index = count * (3 if batch_norm else 2) + stage - 1
        names |= normalized_pair(f"stage{stage}_layer{layer}", f"features.{index}", f"features.{index + 1}")
    return names


def keras_names(depth: int) -> Names:
    """`blockS_convL`; the dense layers have our names."""
    names = {layer: layer for layer in ("fc1", "fc2", "predictions")}
    return names | {f"stage{stage}_layer{layer}_conv": f"block{stage}_conv{layer}" for stage, layer in positions(depth)}


def architecture(depth: int, parameters: int, macs: int) -> Architecture:
    """The registry's row of a configuration. Normalization adds four numbers a filter, two of which are trained."""
    filters = sum(FILTERS[stage - 1] for stage, _ in positions(depth))
    return Architecture(
        f"vgg{depth}",
        "Simonyan, Zisserman 2014, Very Deep Convolutional Networks for Large-Scale Image Recognition",
        Counts(parameters, parameters, macs),
        minimum_size=32,
        small_image_arguments={"batch_norm": True},
        variants={("batch_norm", True): Counts(parameters + 4 * filters, parameters + 2 * filters, macs)},
        layer_names=LayerNames(
            torchvision=partial(torchvision_names, depth, False),
            torchvision_batch_norm=partial(torchvision_names, depth, True),
            keras_applications=partial(keras_names, depth) if depth in (16, 19) else None,
        ),
    )


def VGG(
    depth: int,
    /,
    input_shape: Shape = (224, 224, 3),
    classes: int = 1000,
    weights: str | os.PathLike[str] | None = None,
    include_top: bool = True,
    pooling: Pooling = None,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
    *,
    batch_norm: bool = False,
    dropout: float = 0.5,
    epsilon: float = 1e-5,
    batch_norm_momentum: float = 0.9,
) -> keras.Model:
    """$title, of Table 1: five stages of 3×3 convolutions, three dense layers.

    $counts

    Layers are named `stageS_layerL_{conv,norm,relu}`, `stageS_pool`, `fc1`, `fc2`, `predictions`.

    Args:
        depth: a key of `CONFIGURATIONS`, in layers with weights.
        input_shape: $input_shape
            At least 32×32. The number of weights of `fc1` follows from it.
        classes: $classes
        weights: $weights
        include_top: $include_top Without it the model ends at `stage5_pool` (7×7×512).
        pooling: $pooling
        classifier_activation: $classifier_activation
        name: $name
        batch_norm: normalize after each convolution, which keeps its bias (torchvision's `_bn`).
        dropout: rate after `fc1` and `fc2` (section 3.1).
        epsilon: $epsilon
        batch_norm_momentum: $batch_norm_momentum

    Returns:
        $returns

    Raises:
        $raises
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


VGG11 = member(VGG, 11, architecture(11, 132_863_336, 7_609_090_048), "VGG11")
VGG13 = member(VGG, 13, architecture(13, 133_047_848, 11_308_466_176), "VGG13")
VGG16 = member(VGG, 16, architecture(16, 138_357_544, 15_470_264_320), "VGG16")
VGG19 = member(VGG, 19, architecture(19, 143_667_240, 19_632_062_464), "VGG19")
