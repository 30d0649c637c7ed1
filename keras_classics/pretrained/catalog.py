"""The ImageNet weights that torchvision and keras.applications publish.

Accuracies, hashes and preprocessing are the publishers' own. torchvision puts the first eight digits
of a file's SHA-256 into its name, Keras an MD5 into its source (none for the MobileNets).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from keras_classics import errors
from keras_classics.errors import InputError
from keras_classics.pretrained.preprocessing import Preprocessing

Publisher = Literal["torchvision", "keras.applications"]
Arguments = dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """One file of published weights.

    Attributes:
        model: its name in the registry.
        name: what the constructor's argument `weights` calls it.
        url: where its publisher keeps it.
        preprocessing: of the photos that it was trained on.
        top1, top5: accuracy on ImageNet's validation part, in percent, one central crop.
        licence: of the weights; ImageNet's own terms of use may apply as well.
        arguments: of the constructor, without which the weights compute something else.
        md5: the publisher's hash, where it gives one.
    """

    model: str
    name: str
    url: str
    preprocessing: Preprocessing
    top1: float | None
    top5: float | None
    licence: str
    arguments: Arguments = field(default_factory=dict)
    md5: str | None = None

    @property
    def publisher(self) -> Publisher:
        """Whose names and shapes the weights in the file have."""
        return "torchvision" if self.url.endswith(".pth") else "keras.applications"

    @property
    def file_name(self) -> str:
        """The last part of the URL, and the file's name in the cache."""
        return self.url.rpartition("/")[2]

    @property
    def sha256_prefix(self) -> str:
        """The first digits of the file's SHA-256, from a torchvision file's name; else empty."""
        match = re.search(r"-([0-9a-f]{8,})\.pth$", self.file_name)
        return match[1] if match else ""

    def contradictions(self, passed: Arguments) -> Arguments:
        """Which arguments the weights need otherwise than a caller passed them."""
        return {argument: value for argument, value in self.arguments.items() if passed.get(argument, value) != value}


# Arguments of every network of torchvision that strides; keras.applications' differ in some.
_STRIDED: Arguments = {"padding": "symmetric", "stem_stride": 2, "epsilon": 1e-5}
# ImageNet's mean and standard deviation of R, G and B for pixels in [0, 1], as torchvision gives them.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# One of 255 steps of a pixel in [0, 1]: a standard deviation that leaves pixels in steps.
_PIXEL = 1 / 255

# What torchvision's files need of the constructor of each model.
_TORCHVISION: dict[str, Arguments] = {
    "alexnet": {"variant": "one_weird_trick", "stem_stride": 4},
    "googlenet": _STRIDED
    | {"batch_norm": True, "auxiliary_heads": False, "large_kernel_size": 3, "last_pool_size": 2, "epsilon": 1e-3},
    "mobilenet_v2": _STRIDED | {"alpha": 1.0},
}
_RESNET: Arguments = {"version": "v1.5", "shortcut": "B", "plain": False, "use_bias": False}
_TORCHVISION |= {f"resnet{depth}": _STRIDED | _RESNET for depth in (18, 34, 50, 101, 152)}

_PLAIN: Arguments = {"batch_norm": False}
_NORMALIZED: Arguments = {"batch_norm": True, "epsilon": 1e-5}

# Each row: model, what else it needs of the constructor, generation, file, top-1 and top-5 in percent.
_TORCHVISION_FILES: list[tuple[str, Arguments, str, str, float | None, float | None]] = [
    ("alexnet", {}, "v1", "alexnet-owt-7be5be79", 56.522, 79.066),
    ("vgg11", _PLAIN, "v1", "vgg11-8a719046", 69.020, 88.628),
    ("vgg11", _NORMALIZED, "v1", "vgg11_bn-6002323d", 70.370, 89.810),
    ("vgg13", _PLAIN, "v1", "vgg13-19584684", 69.928, 89.246),
    ("vgg13", _NORMALIZED, "v1", "vgg13_bn-abd245e5", 71.586, 90.374),
    ("vgg16", _PLAIN, "v1", "vgg16-397923af", 71.592, 90.382),
    ("vgg16", _NORMALIZED, "v1", "vgg16_bn-6c64b313", 73.360, 91.516),
    ("vgg16", _PLAIN | {"include_top": False}, "features", "vgg16_features-amdegroot-88682ab5", None, None),
    ("vgg19", _PLAIN, "v1", "vgg19-dcbb9e9d", 72.376, 90.876),
    ("vgg19", _NORMALIZED, "v1", "vgg19_bn-c79401a0", 74.218, 91.842),
    ("googlenet", {}, "v1", "googlenet-1378be20", 69.778, 89.530),
    ("resnet18", {}, "v1", "resnet18-f37072fd", 69.758, 89.078),
    ("resnet34", {}, "v1", "resnet34-b627a593", 73.314, 91.420),
    ("resnet50", {}, "v1", "resnet50-0676ba61", 76.130, 92.862),
    ("resnet50", {}, "v2", "resnet50-11ad3fa6", 80.858, 95.434),
    ("resnet101", {}, "v1", "resnet101-63fe2227", 77.374, 93.546),
    ("resnet101", {}, "v2", "resnet101-cd907fc2", 81.886, 95.780),
    ("resnet152", {}, "v1", "resnet152-394f9c45", 78.312, 94.046),
    ("resnet152", {}, "v2", "resnet152-f82ba261", 82.284, 96.002),
    ("mobilenet_v2", {}, "v1", "mobilenet_v2-b0353104", 71.878, 90.286),
    ("mobilenet_v2", {}, "v2", "mobilenet_v2-7ebf99e0", 72.154, 90.822),
]


def _torchvision() -> Iterator[Checkpoint]:
    preprocessing = {
        "v1": Preprocessing(256, 224, _MEAN, _STD),
        "v2": Preprocessing(232, 224, _MEAN, _STD),
        "features": Preprocessing(256, 224, (0.48235, 0.45882, 0.40784), (_PIXEL, _PIXEL, _PIXEL)),
        # torchvision's GoogLeNet turns its input into this range by itself (`transform_input`).
        "googlenet": Preprocessing(256, 224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    }
    for model, arguments, generation, file, top1, top5 in _TORCHVISION_FILES:
        yield Checkpoint(
            model=model,
            name=f"imagenet-torchvision-{generation}",
            url=f"https://download.pytorch.org/models/{file}.pth",
            preprocessing=preprocessing[model if model in preprocessing else generation],
            top1=top1,
            top5=top5,
            licence="BSD-3-Clause",
            arguments=_TORCHVISION.get(model, {}) | arguments,
        )


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
# Caffe subtracts the means of R, G and B. Keras's files expect B first; the conversion turns their first kernels round.
_CENTRED = Preprocessing(256, 224, (123.68 / 255, 116.779 / 255, 103.939 / 255), (_PIXEL, _PIXEL, _PIXEL))
_KERAS_RESNET: Arguments = _STRIDED | _RESNET | {"version": "v1", "use_bias": True, "epsilon": 1.001e-5}

# Each row: model, folder, what it needs of the constructor, MD5, top-1 and top-5 in percent, licence.
_KERAS_FILES: list[tuple[str, str, Arguments, str, float, float, str]] = [
    ("vgg16", "vgg16", _PLAIN, "64373286793e3c8b2b4e3219cbf3544b", 71.268, 90.050, "CC-BY-4.0"),
    ("vgg19", "vgg19", _PLAIN, "cbe5617147190e668d6c5d5026f83318", 71.256, 89.988, "CC-BY-4.0"),
    ("resnet50", "resnet", _KERAS_RESNET, "2cb95161c43110f7111970584f804107", 74.9, 92.1, "MIT"),
    ("resnet101", "resnet", _KERAS_RESNET, "f1aeb4b969a6efcfb50fad2f0c20cfc5", 76.4, 92.8, "MIT"),
    ("resnet152", "resnet", _KERAS_RESNET, "100835be76be38e30d865e96f2aaae62", 76.6, 93.1, "MIT"),
]
# Top-1 and top-5, in percent at 224 pixels, of the MobileNets of each width multiplier.
_MOBILENET_V1 = {0.25: (51.582, 75.792), 0.5: (64.292, 85.624), 0.75: (68.412, 88.242), 1.0: (70.424, 89.504)}
_MOBILENET_V2 = {
    0.35: (60.086, 82.432),
    0.5: (65.194, 86.062),
    0.75: (69.532, 89.176),
    1.0: (71.336, 90.142),
    1.3: (74.680, 92.122),
    1.4: (75.230, 92.422),
}


def _keras() -> Iterator[Checkpoint]:
    for model, folder, arguments, md5, top1, top5, licence in _KERAS_FILES:
        url = f"{_KERAS}/{folder}/{model}_weights_tf_dim_ordering_tf_kernels.h5"
        yield Checkpoint(model, "imagenet-keras", url, _CENTRED, top1, top5, licence, arguments, md5)
    for alpha in _MOBILENET_V1:
        width = {0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"}[alpha]
        for size in (128, 160, 192, 224):
            yield _mobilenet("mobilenet_v1", f"mobilenet/mobilenet_{width}_{size}_tf.h5", alpha, size)
    for alpha in _MOBILENET_V2:
        for size in (96, 128, 160, 192, 224) if alpha <= 1 else (224,):
            file = f"mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{size}.h5"
            yield _mobilenet("mobilenet_v2", file, alpha, size)


def _mobilenet(model: str, file: str, alpha: float, size: int) -> Checkpoint:
    """TensorFlow's MobileNets: one file for each width and resolution, accuracies published at 224."""
    accuracies = _MOBILENET_V1 if model == "mobilenet_v1" else _MOBILENET_V2
    top1, top5 = accuracies[alpha] if size == 224 else (None, None)
    arguments: Arguments = _STRIDED | {"alpha": alpha, "padding": "same", "epsilon": 1e-3}
    if model == "mobilenet_v1":
        arguments |= {"activation": "relu6"}
    # The central 87.5 % of each side, as TensorFlow's slim evaluates them.
    preprocessing = Preprocessing(round(size / 0.875), size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Checkpoint(model, "imagenet-keras", f"{_KERAS}/{file}", preprocessing, top1, top5, "Apache-2.0", arguments)


CHECKPOINTS: tuple[Checkpoint, ...] = (*_torchvision(), *_keras())


def published_weights(model: str) -> list[Checkpoint]:
    """The published checkpoints of a model of the registry; `weights="imagenet"` means the first one's name."""
    return [checkpoint for checkpoint in CHECKPOINTS if checkpoint.model == model]


def names(model: str) -> list[str]:
    """What `weights` may be called for a model: "imagenet" and the name of each checkpoint, or nothing."""
    known = dict.fromkeys(checkpoint.name for checkpoint in published_weights(model))
    return ["imagenet", *known] if known else []


def conventions(model: str, publisher: Publisher) -> Arguments:
    """What all that a publisher has of a model needs of its constructor."""
    first, *others = [
        checkpoint.arguments for checkpoint in published_weights(model) if checkpoint.publisher == publisher
    ] or [{}]
    return {
        argument: value for argument, value in first.items() if all(other.get(argument) == value for other in others)
    }


def named(model: str, weights: str) -> list[Checkpoint]:
    """The checkpoints of a model that go by one name: for several widths, sizes or variants.

    Raises:
        ValueError: there are none.
    """
    known = published_weights(model)
    if not known:
        raise InputError(f"nobody publishes weights of {model}; weights takes a .keras or .weights.h5 file")
    name = known[0].name if weights == "imagenet" else weights
    chosen = [checkpoint for checkpoint in known if checkpoint.name == name]
    if not chosen:
        raise errors.unknown(f"weights of {model}", weights, names(model))
    return chosen
