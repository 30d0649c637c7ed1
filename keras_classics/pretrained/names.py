"""What torchvision and keras.applications call our layers: {our layer: theirs}.

The dicts hold every layer that some form of an architecture has; a model may lack some of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from keras_classics import alexnet, googlenet, mobilenet_v1, mobilenet_v2, resnet, vgg

Names = dict[str, str]


def _pair(ours: str, convolution: str, norm: str) -> Names:
    """A convolution and its normalization."""
    return {f"{ours}_conv": convolution, f"{ours}_norm": norm}


def torch_alexnet() -> Names:
    """`features` are numbered with ReLU and pooling, `classifier` with ReLU and dropout."""
    names = {"fc6": "classifier.1", "fc7": "classifier.4", "predictions": "classifier.6"}
    index = 0
    for number, row in enumerate(alexnet.ONE_WEIRD_TRICK, start=1):
        names[f"conv{number}"] = f"features.{index}"
        index += 3 if row.pool else 2
    return names


def torch_vgg(depth: int, batch_norm: bool) -> Names:
    """As AlexNet's, with normalizations between where there are any."""
    names = {"fc1": "classifier.0", "fc2": "classifier.3", "predictions": "classifier.6"}
    index = 0
    for stage, repeats in enumerate(vgg.CONFIGURATIONS[depth], start=1):
        for layer in range(1, repeats + 1):
            names |= _pair(f"stage{stage}_layer{layer}", f"features.{index}", f"features.{index + 1}")
            index += 3 if batch_norm else 2
        index += 1
    return names


def torch_resnet(depth: int) -> Names:
    """`layerS.B` with B from 0; a projection is `downsample`."""
    names = _pair("stem", "conv1", "bn1") | {"predictions": "fc"}
    for stage, block, ours in _resnet_blocks(depth):
        theirs = f"layer{stage}.{block - 1}"
        for number, part in enumerate(_resnet_parts(depth), start=1):
            names |= _pair(f"{ours}_{part}", f"{theirs}.conv{number}", f"{theirs}.bn{number}")
        names |= _pair(f"{ours}_shortcut", f"{theirs}.downsample.0", f"{theirs}.downsample.1")
    return names


def torch_googlenet() -> Names:
    """Branches are numbered from 1 as they stand in Table 1, a reduction before its convolution."""
    branches = {
        "1x1": "branch1",
        "3x3_reduce": "branch2.0",
        "3x3": "branch2.1",
        "5x5_reduce": "branch3.0",
        "5x5": "branch3.1",
        "pool_proj": "branch4.1",
    }
    units = {"conv1": "conv1", "conv2_reduce": "conv2", "conv2": "conv3"}
    for stage, modules in googlenet.STAGES.items():
        for letter in modules:
            module = f"{stage}{letter}"
            units |= {f"inception_{module}_{ours}": f"inception{module}.{theirs}" for ours, theirs in branches.items()}
    names = {"predictions": "fc"}
    for ours, theirs in units.items():
        names |= _pair(ours, f"{theirs}.conv", f"{theirs}.bn")
    return names


def torch_mobilenet_v2() -> Names:
    """`features` are numbered from the stem to the last convolution, blocks without expansion have a part less."""
    names = {"predictions": "classifier.1"} | _pair("stem", "features.0.0", "features.0.1")
    index = 1
    for index, (ours, expands) in enumerate(_inverted_residuals(), start=1):
        theirs = f"features.{index}.conv"
        if expands:
            names |= _pair(f"{ours}_expand", f"{theirs}.0.0", f"{theirs}.0.1")
        part = 1 if expands else 0
        names |= _pair(f"{ours}_depthwise", f"{theirs}.{part}.0", f"{theirs}.{part}.1")
        names |= _pair(f"{ours}_project", f"{theirs}.{part + 1}", f"{theirs}.{part + 2}")
    return names | _pair("last", f"features.{index + 1}.0", f"features.{index + 1}.1")


def keras_vgg(depth: int) -> Names:
    """`blockS_convL`; the dense layers have our names."""
    names = {layer: layer for layer in ("fc1", "fc2", "predictions")}
    for stage, repeats in enumerate(vgg.CONFIGURATIONS[depth], start=1):
        for layer in range(1, repeats + 1):
            names[f"stage{stage}_layer{layer}_conv"] = f"block{stage}_conv{layer}"
    return names


def keras_resnet(depth: int) -> Names:
    """`convS_blockB_N` with S as in the paper; a projection is number 0."""
    names = _pair("stem", "conv1_conv", "conv1_bn") | {"predictions": "predictions"}
    for stage, block, ours in _resnet_blocks(depth):
        for number, part in enumerate(("shortcut", *_resnet_parts(depth))):
            theirs = f"conv{stage + 1}_block{block}_{number}"
            names |= _pair(f"{ours}_{part}", f"{theirs}_conv", f"{theirs}_bn")
    return names


def keras_mobilenet_v1() -> Names:
    """`conv_dw_N` and `conv_pw_N`; the classifier is a 1×1 convolution."""
    names = _pair("stem", "conv1", "conv1_bn") | {"predictions": "conv_preds"}
    for block in range(1, len(mobilenet_v1.BLOCKS) + 1):
        names |= _pair(f"block{block}_depthwise", f"conv_dw_{block}", f"conv_dw_{block}_bn")
        names |= _pair(f"block{block}_pointwise", f"conv_pw_{block}", f"conv_pw_{block}_bn")
    return names


def keras_mobilenet_v2() -> Names:
    """`block_N_PART` with N from 1 for the second block; the first is `expanded_conv`."""
    names = {"predictions": "predictions"} | _pair("stem", "Conv1", "bn_Conv1") | _pair("last", "Conv_1", "Conv_1_bn")
    for number, (ours, _) in enumerate(_inverted_residuals()):
        theirs = f"block_{number}" if number else "expanded_conv"
        for part in ("expand", "depthwise", "project"):
            names |= _pair(f"{ours}_{part}", f"{theirs}_{part}", f"{theirs}_{part}_BN")
    return names


def _resnet_blocks(depth: int) -> Iterator[tuple[int, int, str]]:
    repeats, _ = resnet.IMAGENET[depth]
    for stage, count in enumerate(repeats, start=1):
        for block in range(1, count + 1):
            yield stage, block, f"stage{stage}_block{block}"


def _resnet_parts(depth: int) -> tuple[str, ...]:
    _, bottleneck = resnet.IMAGENET[depth]
    return ("reduce", "spatial", "expand") if bottleneck else ("first", "second")


def _inverted_residuals() -> Iterator[tuple[str, bool]]:
    for stage, (expansion, _, repeats, _) in enumerate(mobilenet_v2.BOTTLENECKS, start=1):
        for block in range(1, repeats + 1):
            yield f"stage{stage}_block{block}", expansion != 1


TORCHVISION: dict[str, Callable[[], Names]] = {
    "alexnet": torch_alexnet,
    "googlenet": torch_googlenet,
    "mobilenet_v2": torch_mobilenet_v2,
    **{f"vgg{depth}": partial(torch_vgg, depth, False) for depth in vgg.CONFIGURATIONS},
    **{f"vgg{depth}_bn": partial(torch_vgg, depth, True) for depth in vgg.CONFIGURATIONS},
    **{f"resnet{depth}": partial(torch_resnet, depth) for depth in resnet.IMAGENET},
}
KERAS_APPLICATIONS: dict[str, Callable[[], Names]] = {
    "mobilenet_v1": keras_mobilenet_v1,
    "mobilenet_v2": keras_mobilenet_v2,
    **{f"vgg{depth}": partial(keras_vgg, depth) for depth in (16, 19)},
    **{f"resnet{depth}": partial(keras_resnet, depth) for depth in (50, 101, 152)},
}
