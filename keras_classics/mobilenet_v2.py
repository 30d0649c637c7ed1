"""MobileNetV2: Sandler, Howard, Zhu, Zhmoginov, Chen, "Inverted Residuals and Linear Bottlenecks", 2018."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import keras
from keras import layers

from keras_classics import blocks
from keras_classics.arguments import Padding, Pooling, Shape, channel_axis, positive
from keras_classics.pretrained.conversion import LayerNames, Names, normalized_pair
from keras_classics.published import Architecture, Counts, published

# Table 2: expansion t, output channels c, repeats n, stride s of the first repeat.
BOTTLENECKS = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]
# Table 2: filters of the first convolution and of the last 1×1 convolution.
STEM, LAST = 32, 1280


def residual_names() -> Iterator[tuple[str, bool]]:
    """Each inverted residual's name, and whether it expands."""
    for stage, (expansion, _, repeats, _) in enumerate(BOTTLENECKS, start=1):
        for block in range(1, repeats + 1):
            yield f"stage{stage}_block{block}", expansion != 1


def torchvision_names() -> Names:
    """`features` are numbered from the stem to the last convolution, blocks without expansion have a part less."""
    names = {"predictions": "classifier.1"} | normalized_pair("stem", "features.0.0", "features.0.1")
    index = 1
    for index, (ours, expands) in enumerate(residual_names(), start=1):
        theirs = f"features.{index}.conv"
        if expands:
            names |= normalized_pair(f"{ours}_expand", f"{theirs}.0.0", f"{theirs}.0.1")
        part = 1 if expands else 0
        names |= normalized_pair(f"{ours}_depthwise", f"{theirs}.{part}.0", f"{theirs}.{part}.1")
        names |= normalized_pair(f"{ours}_project", f"{theirs}.{part + 1}", f"{theirs}.{part + 2}")
    return names | normalized_pair("last", f"features.{index + 1}.0", f"features.{index + 1}.1")


def flat_names(classifier: str) -> Names:
    """As torchvision had them before version 0.3, and the code that it came from: a residual's layers in one row."""
    names = {"predictions": classifier} | normalized_pair("stem", "features.0.0", "features.0.1")
    index = 1
    for index, (ours, expands) in enumerate(residual_names(), start=1):
        parts = ("expand", "depthwise", "project") if expands else ("depthwise", "project")
        for place, part in zip(range(0, 9, 3), parts, strict=False):  # convolution, normalization, ReLU6
            theirs = f"features.{index}.conv"
            names |= normalized_pair(f"{ours}_{part}", f"{theirs}.{place}", f"{theirs}.{place + 1}")
    return names | normalized_pair("last", f"features.{index + 1}.0", f"features.{index + 1}.1")


def keras_names() -> Names:
    """`block_N_PART` with N from 1 for the second block; the first is `expanded_conv`."""
    names = {"predictions": "predictions"}
    names |= normalized_pair("stem", "Conv1", "bn_Conv1") | normalized_pair("last", "Conv_1", "Conv_1_bn")
    for number, (ours, _) in enumerate(residual_names()):
        theirs = f"block_{number}" if number else "expanded_conv"
        for part in ("expand", "depthwise", "project"):
            names |= normalized_pair(f"{ours}_{part}", f"{theirs}_{part}", f"{theirs}_{part}_BN")
    return names


MOBILENET_V2 = Architecture(
    "mobilenet_v2",
    "Sandler et al. 2018, MobileNetV2: Inverted Residuals and Linear Bottlenecks",
    Counts(3_538_984, 3_504_872, 300_774_272),
    minimum_size=1,
    small_image_arguments={"alpha": 0.35, "stem_stride": 1},
    layer_names=LayerNames(
        torchvision=torchvision_names,
        pytorch=(partial(flat_names, "classifier.1"), partial(flat_names, "classifier")),
        keras_applications=keras_names,
    ),
)


@published(MOBILENET_V2)
def MobileNetV2(
    input_shape: Shape = (224, 224, 3),
    classes: int = 1000,
    weights: str | os.PathLike[str] | None = None,
    include_top: bool = True,
    pooling: Pooling = None,
    classifier_activation: str | None = "softmax",
    name: str = "mobilenet_v2",
    *,
    alpha: float = 1.0,
    stem_stride: int = 2,
    dropout: float = 0.2,
    epsilon: float = 1e-5,
    batch_norm_momentum: float = 0.9,
    padding: Padding = "symmetric",
) -> keras.Model:
    """MobileNetV2, Table 2: a stem, 17 inverted residuals with linear bottlenecks, a classifier.

    $counts

    Layers are named `stem_*`, `stageS_blockB_{expand,depthwise,project}_*` with S the row of the
    table and B the repeat, `last_*` and `predictions`.

    Args:
        input_shape: $input_shape
            Any size from 1×1 up (from 32×32 on every stride halves something).
        classes: $classes
        weights: $weights
        include_top: $include_top Without it the model ends at the last 1×1 convolution.
        pooling: $pooling
        classifier_activation: $classifier_activation
        name: $name
        alpha: width multiplier (section 4, "Trade-off hyper parameters"), above 0. Channels are
            rounded to multiples of 8; the last convolution is never narrowed.
        stem_stride: $stem_stride
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
    convolution = blocks.Convolution("relu6", epsilon=epsilon, momentum=batch_norm_momentum, padding=padding)
    top = blocks.Top(include_top, pooling, classes, classifier_activation)
    image = blocks.image_input(input_shape, minimum=1, include_top=include_top)
    x = convolution(image, blocks.make_divisible(STEM * alpha), stride=stem_stride, name="stem")
    for stage, (t, c, n, s) in enumerate(BOTTLENECKS, start=1):
        filters = blocks.make_divisible(c * alpha)
        for block in range(1, n + 1):
            stride = s if block == 1 else 1
            x = inverted_residual(convolution, x, t, filters, stride, f"stage{stage}_block{block}")
    x = convolution(x, blocks.make_divisible(LAST * max(1.0, alpha)), kernel_size=1, name="last")
    return keras.Model(image, top.pooled(x, dropout), name=name)


def inverted_residual(
    convolution: blocks.Convolution, x: keras.KerasTensor, expansion: int, filters: int, stride: int, name: str
) -> keras.KerasTensor:
    """Table 1: expand 1×1, depthwise 3×3, project 1×1 without activation; add where shapes agree."""
    shortcut, channels = x, x.shape[channel_axis()]
    if expansion != 1:
        x = convolution(x, expansion * channels, kernel_size=1, name=f"{name}_expand")
    x = convolution.depthwise(x, stride=stride, name=f"{name}_depthwise")
    x = convolution(x, filters, kernel_size=1, activate=False, name=f"{name}_project")
    return layers.Add(name=f"{name}_add")([shortcut, x]) if stride == 1 and channels == filters else x
