"""ResNet: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import keras
from keras import layers

from keras_classics import blocks
from keras_classics.arguments import Padding, Pooling, Shape, channel_axis, one_of
from keras_classics.layers import PaddedIdentity
from keras_classics.pretrained.conversion import LayerNames, Names, normalized_pair
from keras_classics.published import Architecture, Counts, member

Shortcut = Literal["A", "A-centered", "B", "C"]
Version = Literal["v1", "v1.5"]

# Table 1 by depth: blocks in each of conv2_x … conv5_x, and whether they are bottlenecks.
IMAGENET = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
# Table 1: filters in each of the four stages; a bottleneck ends in four times as many.
IMAGENET_FILTERS = (64, 128, 256, 512)
# Section 4.2 by depth, 6n + 2: the n blocks in each of three stages.
CIFAR = {20: 3, 32: 5, 44: 7, 56: 9, 110: 18}
# Section 4.2: filters in each of the three stages.
CIFAR_FILTERS = (16, 32, 64)

PAPER = "He et al. 2015, Deep Residual Learning for Image Recognition"


def block_names(depth: int) -> Iterator[tuple[int, int, str]]:
    """Stage, block within it, both from 1, and our name of each residual block."""
    repeats, _ = IMAGENET[depth]
    for stage, count in enumerate(repeats, start=1):
        for block in range(1, count + 1):
            yield stage, block, f"stage{stage}_block{block}"


def part_names(depth: int) -> tuple[str, ...]:
    """Our names of the convolutions of a residual block, in their order."""
    _, bottleneck = IMAGENET[depth]
    return ("reduce", "spatial", "expand") if bottleneck else ("first", "second")


def torchvision_names(depth: int) -> Names:
    """`layerS.B` with B from 0; a projection is `downsample`."""
    names = normalized_pair("stem", "conv1", "bn1") | {"predictions": "fc"}
    for stage, block, ours in block_names(depth):
        theirs = f"layer{stage}.{block - 1}"
        for number, part in enumerate(part_names(depth), start=1):
            names |= normalized_pair(f"{ours}_{part}", f"{theirs}.conv{number}", f"{theirs}.bn{number}")
        names |= normalized_pair(f"{ours}_shortcut", f"{theirs}.downsample.0", f"{theirs}.downsample.1")
    return names


def keras_names(depth: int) -> Names:
    """`convS_blockB_N` with S as in the paper; a projection is number 0."""
    names = normalized_pair("stem", "conv1_conv", "conv1_bn") | {"predictions": "predictions"}
    for stage, block, ours in block_names(depth):
        for number, part in enumerate(("shortcut", *part_names(depth))):
            theirs = f"conv{stage + 1}_block{block}_{number}"
            names |= normalized_pair(f"{ours}_{part}", f"{theirs}_conv", f"{theirs}_bn")
    return names


def imagenet(depth: int, counts: Counts, variants: Mapping[tuple[str, Any], Counts] | None = None) -> Architecture:
    """The registry's row of a network of Table 1."""
    _, bottleneck = IMAGENET[depth]
    return Architecture(
        f"resnet{depth}",
        PAPER,
        counts,
        minimum_size=1,
        small_image_arguments={"stem_stride": 1},
        variants=variants or {},
        layer_names=LayerNames(
            torchvision=partial(torchvision_names, depth),
            keras_applications=partial(keras_names, depth) if bottleneck else None,
        ),
    )


def cifar_names(depth: int, classifier: str, projection: str) -> Names:
    """PyTorch code names these networks as torchvision does those for ImageNet, but for two layers."""
    names = normalized_pair("stem", "conv1", "bn1") | {"predictions": classifier}
    for stage, block in itertools.product(range(1, len(CIFAR_FILTERS) + 1), range(1, CIFAR[depth] + 1)):
        ours, theirs = f"stage{stage}_block{block}", f"layer{stage}.{block - 1}"
        for number, part in enumerate(("first", "second"), start=1):
            names |= normalized_pair(f"{ours}_{part}", f"{theirs}.conv{number}", f"{theirs}.bn{number}")
        names |= normalized_pair(f"{ours}_shortcut", f"{theirs}.{projection}.0", f"{theirs}.{projection}.1")
    return names


def cifar_arguments(names: Iterable[str]) -> dict[str, Any]:
    """Which shortcuts a PyTorch network with weights of these names has: a projection has weights."""
    projects = any(".downsample." in name or ".shortcut." in name for name in names)
    return {"shortcut": "B" if projects else "A-centered"}


def cifar(depth: int, counts: Counts) -> Architecture:
    """The registry's row of a network of section 4.2."""
    return Architecture(
        f"resnet{depth}",
        PAPER,
        counts,
        minimum_size=1,
        input_shape=(32, 32, 3),
        classes=10,
        layer_names=LayerNames(
            pytorch=tuple(
                partial(cifar_names, depth, classifier, projection)
                for classifier in ("linear", "fc")
                for projection in ("shortcut", "downsample")
            ),
            pytorch_arguments=cifar_arguments,
        ),
    )


def ResNet(
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
    version: Version = "v1.5",
    shortcut: Shortcut = "B",
    plain: bool = False,
    zero_init_residual: bool = False,
    stem_stride: int = 2,
    use_bias: bool = False,
    epsilon: float = 1e-5,
    batch_norm_momentum: float = 0.9,
    padding: Padding = "symmetric",
) -> keras.Model:
    """$title, of Table 1: a 7×7 stem and four stages of residual blocks.

    $counts

    Layers are named `stem_*` and `stageS_blockB_PART_{conv,norm,relu}`; stage S is the paper's
    conv(S+1)_x. The parts of a basic block are `first` and `second`, those of a bottleneck
    `reduce`, `spatial` and `expand`; `shortcut` is the projection. A block ends in
    `stageS_blockB_add` and `stageS_blockB_relu`, the network in `pool` and `predictions`.

    Args:
        depth: a key of `IMAGENET`, in layers with weights.
        input_shape: $input_shape
            Any size from 1×1 up.
        classes: $classes
        weights: $weights
        include_top: $include_top Without it the model ends at the last block.
        pooling: $pooling
        classifier_activation: $classifier_activation
        name: $name
        version: where a bottleneck strides: "v1.5" in its 3×3 (torchvision), "v1" in its first
            1×1 (the paper, keras.applications).
        shortcut: section 4.1, where shapes differ: "A" pads the identity with zero channels behind it,
            "A-centered" on both sides, "B" projects; "C" projects everywhere.
        plain: the paper's network without shortcuts.
        zero_init_residual: start the last normalization of each block at gamma 0, so that blocks
            start as identities.
        stem_stride: $stem_stride
        use_bias: whether convolutions have one (keras.applications' weights do).
        epsilon: $epsilon
        batch_norm_momentum: $batch_norm_momentum
        padding: $padding

    Returns:
        $returns

    Raises:
        $raises
    """
    convolution = blocks.Convolution(use_bias=use_bias, epsilon=epsilon, momentum=batch_norm_momentum, padding=padding)
    residual = Residual(convolution, version, shortcut, plain, zero_init_residual)
    repeats, bottleneck = IMAGENET[depth]
    top = blocks.Top(include_top, pooling, classes, classifier_activation)
    image = blocks.image_input(input_shape, minimum=1, include_top=include_top)
    x = convolution(image, 64, kernel_size=7, stride=stem_stride, name="stem")
    x = convolution.max_pooling(x, name="stem_pool")
    x = residual.stages(residual.bottleneck if bottleneck else residual.basic, x, repeats, IMAGENET_FILTERS)
    return keras.Model(image, top.pooled(x), name=name)


def CIFARResNet(
    depth: int,
    /,
    input_shape: Shape = (32, 32, 3),
    classes: int = 10,
    weights: str | os.PathLike[str] | None = None,
    include_top: bool = True,
    pooling: Pooling = None,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
    *,
    shortcut: Shortcut = "A",
    plain: bool = False,
    zero_init_residual: bool = False,
    epsilon: float = 1e-5,
    batch_norm_momentum: float = 0.9,
    padding: Padding = "symmetric",
) -> keras.Model:
    """$title, of section 4.2: a 3×3 stem and three stages of basic blocks on small images.

    $counts

    Layers are named as in the networks for ImageNet.

    Args:
        depth: a key of `CIFAR`, in layers with weights.
        input_shape: $input_shape
            Any size from 1×1 up.
        classes: $classes
        weights: $weights
        include_top: $include_top Without it the model ends at the last block.
        pooling: $pooling
        classifier_activation: $classifier_activation
        name: $name
        shortcut: "A" (the paper's here) pads the identity with zero channels behind it, "A-centered"
            on both sides (as most PyTorch code does), "B" projects where shapes differ, "C" everywhere.
        plain: the paper's network without shortcuts.
        zero_init_residual: start the last normalization of each block at gamma 0.
        epsilon: $epsilon
        batch_norm_momentum: $batch_norm_momentum
        padding: $padding

    Returns:
        $returns

    Raises:
        $raises
    """
    convolution = blocks.Convolution(epsilon=epsilon, momentum=batch_norm_momentum, padding=padding)
    residual = Residual(convolution, "v1.5", shortcut, plain, zero_init_residual)
    top = blocks.Top(include_top, pooling, classes, classifier_activation)
    image = blocks.image_input(input_shape, minimum=1, include_top=include_top)
    x = convolution(image, CIFAR_FILTERS[0], name="stem")
    x = residual.stages(residual.basic, x, (CIFAR[depth],) * 3, CIFAR_FILTERS)
    return keras.Model(image, top.pooled(x), name=name)


@dataclass(frozen=True)
class Residual:
    """The two blocks of Fig. 5 under one network's settings."""

    convolution: blocks.Convolution
    version: Version
    shortcut: Shortcut
    plain: bool
    zero_init_residual: bool

    def __post_init__(self) -> None:
        one_of("version", self.version, ("v1", "v1.5"))
        one_of("shortcut", self.shortcut, ("A", "A-centered", "B", "C"))

    def stages(
        self,
        block: Callable[[keras.KerasTensor, int, int, str], keras.KerasTensor],
        x: keras.KerasTensor,
        repeats: tuple[int, ...],
        filters: tuple[int, ...],
    ) -> keras.KerasTensor:
        """Stages of blocks, each after the first halving the resolution."""
        for stage, (count, width) in enumerate(zip(repeats, filters, strict=True), start=1):
            for number in range(1, count + 1):
                stride = 2 if stage > 1 and number == 1 else 1
                x = block(x, width, stride, f"stage{stage}_block{number}")
        return x

    def basic(self, x: keras.KerasTensor, filters: int, stride: int, name: str) -> keras.KerasTensor:
        """Two 3×3 convolutions."""
        y = self.convolution(x, filters, stride=stride, name=f"{name}_first")
        y = self._last(y, filters, kernel_size=3, name=f"{name}_second")
        return self._joined(x, y, stride, name)

    def bottleneck(self, x: keras.KerasTensor, filters: int, stride: int, name: str) -> keras.KerasTensor:
        """1×1 to `filters`, 3×3, and 1×1 to four times as many."""
        first, second = (stride, 1) if self.version == "v1" else (1, stride)
        y = self.convolution(x, filters, kernel_size=1, stride=first, name=f"{name}_reduce")
        y = self.convolution(y, filters, stride=second, name=f"{name}_spatial")
        y = self._last(y, 4 * filters, kernel_size=1, name=f"{name}_expand")
        return self._joined(x, y, stride, name)

    def _last(self, x: keras.KerasTensor, filters: int, kernel_size: int, name: str) -> keras.KerasTensor:
        gamma = "zeros" if self.zero_init_residual else "ones"
        return self.convolution(x, filters, kernel_size, activate=False, gamma_initializer=gamma, name=name)

    def _joined(self, x: keras.KerasTensor, y: keras.KerasTensor, stride: int, name: str) -> keras.KerasTensor:
        filters = y.shape[channel_axis()]
        same_shape = stride == 1 and x.shape[channel_axis()] == filters
        if not self.plain:
            if self.shortcut == "C" or (self.shortcut == "B" and not same_shape):
                x = self.convolution(x, filters, kernel_size=1, stride=stride, activate=False, name=f"{name}_shortcut")
            elif not same_shape:
                x = PaddedIdentity(filters, stride, self.shortcut == "A-centered", name=f"{name}_shortcut")(x)
            y = layers.Add(name=f"{name}_add")([x, y])
        return layers.ReLU(name=f"{name}_relu")(y)


ResNet18 = member(ResNet, 18, imagenet(18, Counts(11_699_112, 11_689_512, 1_814_073_344)), "ResNet18")
ResNet34 = member(ResNet, 34, imagenet(34, Counts(21_814_696, 21_797_672, 3_663_761_408)), "ResNet34")
ResNet50 = member(
    ResNet,
    50,
    imagenet(
        50,
        Counts(25_610_152, 25_557_032, 4_089_184_256),
        variants={("version", "v1"): Counts(25_610_152, 25_557_032, 3_857_973_248)},
    ),
    "ResNet50",
)
ResNet101 = member(ResNet, 101, imagenet(101, Counts(44_654_504, 44_549_160, 7_801_405_440)), "ResNet101")
ResNet152 = member(ResNet, 152, imagenet(152, Counts(60_344_232, 60_192_808, 11_513_626_624)), "ResNet152")

ResNet20 = member(CIFARResNet, 20, cifar(20, Counts(271_098, 269_722, 40_551_040)), "ResNet20")
ResNet32 = member(CIFARResNet, 32, cifar(32, Counts(466_426, 464_154, 68_862_592)), "ResNet32")
ResNet44 = member(CIFARResNet, 44, cifar(44, Counts(661_754, 658_586, 97_174_144)), "ResNet44")
ResNet56 = member(CIFARResNet, 56, cifar(56, Counts(857_082, 853_018, 125_485_696)), "ResNet56")
ResNet110 = member(CIFARResNet, 110, cifar(110, Counts(1_736_058, 1_727_962, 252_887_680)), "ResNet110")
