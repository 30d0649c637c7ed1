"""The models by name: constructor, paper, and the counts that tests recompute."""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_classics import blocks, errors
from keras_classics.alexnet import AlexNet
from keras_classics.googlenet import GoogLeNet
from keras_classics.lenet import LeNet5
from keras_classics.mobilenet_v1 import MobileNetV1
from keras_classics.mobilenet_v2 import MobileNetV2
from keras_classics.resnet import (
    ResNet18,
    ResNet20,
    ResNet32,
    ResNet34,
    ResNet44,
    ResNet50,
    ResNet56,
    ResNet101,
    ResNet110,
    ResNet152,
)
from keras_classics.vgg import VGG11, VGG13, VGG16, VGG19


@dataclass(frozen=True)
class Entry:
    """One architecture.

    `parameters`, `trainable_parameters` and `macs` (multiply-accumulates at batch 1) are those of
    `constructor()`, the paper's network. `small_input_shape` is a cheap input for tests and
    `minimum_size` the smallest height and width. `small_image_arguments` are what our recipes pass
    for images of at most `SMALL_IMAGE` pixels a side.
    """

    constructor: Callable[..., keras.Model]
    paper: str
    parameters: int
    trainable_parameters: int
    macs: int
    small_input_shape: tuple[int, int, int]
    minimum_size: int
    input_shape: tuple[int, int, int] = (224, 224, 3)
    classes: int = 1000
    small_image_arguments: Mapping[str, Any] = field(default_factory=dict)


BACKENDS = ("tensorflow", "jax", "torch")
"""The backends on which the tests hold every model to the same outputs."""

SMALL_IMAGE = 64

VGG_PAPER = "Simonyan, Zisserman 2014, Very Deep Convolutional Networks for Large-Scale Image Recognition"
RESNET_PAPER = "He et al. 2015, Deep Residual Learning for Image Recognition"

MODELS: dict[str, Entry] = {
    "lenet5": Entry(
        constructor=LeNet5,
        paper="LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition",
        input_shape=(32, 32, 1),
        classes=10,
        parameters=61_706,
        trainable_parameters=61_706,
        macs=416_520,
        small_input_shape=(32, 32, 1),
        minimum_size=16,
    ),
    "alexnet": Entry(
        constructor=AlexNet,
        paper="Krizhevsky, Sutskever, Hinton 2012, ImageNet Classification with Deep Convolutional Neural Networks",
        input_shape=(227, 227, 3),
        parameters=60_965_224,
        trainable_parameters=60_965_224,
        macs=724_406_816,
        small_input_shape=(67, 67, 3),
        minimum_size=67,
        small_image_arguments={"stem_stride": 1},
    ),
    "vgg11": Entry(
        constructor=VGG11,
        paper=VGG_PAPER,
        parameters=132_863_336,
        trainable_parameters=132_863_336,
        macs=7_609_090_048,
        small_input_shape=(32, 32, 3),
        minimum_size=32,
        small_image_arguments={"batch_norm": True},
    ),
    "vgg13": Entry(
        constructor=VGG13,
        paper=VGG_PAPER,
        parameters=133_047_848,
        trainable_parameters=133_047_848,
        macs=11_308_466_176,
        small_input_shape=(32, 32, 3),
        minimum_size=32,
        small_image_arguments={"batch_norm": True},
    ),
    "vgg16": Entry(
        constructor=VGG16,
        paper=VGG_PAPER,
        parameters=138_357_544,
        trainable_parameters=138_357_544,
        macs=15_470_264_320,
        small_input_shape=(32, 32, 3),
        minimum_size=32,
        small_image_arguments={"batch_norm": True},
    ),
    "vgg19": Entry(
        constructor=VGG19,
        paper=VGG_PAPER,
        parameters=143_667_240,
        trainable_parameters=143_667_240,
        macs=19_632_062_464,
        small_input_shape=(32, 32, 3),
        minimum_size=32,
        small_image_arguments={"batch_norm": True},
    ),
    "googlenet": Entry(
        constructor=GoogLeNet,
        paper="Szegedy et al. 2014, Going Deeper with Convolutions",
        parameters=6_998_552,
        trainable_parameters=6_998_552,
        macs=1_582_671_872,
        small_input_shape=(32, 32, 3),
        minimum_size=31,
        small_image_arguments={"stem_stride": 1, "batch_norm": True},
    ),
    "resnet18": Entry(
        constructor=ResNet18,
        paper=RESNET_PAPER,
        parameters=11_699_112,
        trainable_parameters=11_689_512,
        macs=1_814_073_344,
        small_input_shape=(32, 32, 3),
        minimum_size=1,
        small_image_arguments={"stem_stride": 1},
    ),
    "resnet34": Entry(
        constructor=ResNet34,
        paper=RESNET_PAPER,
        parameters=21_814_696,
        trainable_parameters=21_797_672,
        macs=3_663_761_408,
        small_input_shape=(32, 32, 3),
        minimum_size=1,
        small_image_arguments={"stem_stride": 1},
    ),
    "resnet50": Entry(
        constructor=ResNet50,
        paper=RESNET_PAPER,
        parameters=25_610_152,
        trainable_parameters=25_557_032,
        macs=4_089_184_256,
        small_input_shape=(32, 32, 3),
        minimum_size=1,
        small_image_arguments={"stem_stride": 1},
    ),
    "resnet101": Entry(
        constructor=ResNet101,
        paper=RESNET_PAPER,
        parameters=44_654_504,
        trainable_parameters=44_549_160,
        macs=7_801_405_440,
        small_input_shape=(32, 32, 3),
        minimum_size=1,
        small_image_arguments={"stem_stride": 1},
    ),
    "resnet152": Entry(
        constructor=ResNet152,
        paper=RESNET_PAPER,
        parameters=60_344_232,
        trainable_parameters=60_192_808,
        macs=11_513_626_624,
        small_input_shape=(32, 32, 3),
        minimum_size=1,
        small_image_arguments={"stem_stride": 1},
    ),
    "resnet20": Entry(
        constructor=ResNet20,
        paper=RESNET_PAPER,
        input_shape=(32, 32, 3),
        classes=10,
        parameters=271_098,
        trainable_parameters=269_722,
        macs=40_551_040,
        small_input_shape=(16, 16, 3),
        minimum_size=1,
    ),
    "resnet32": Entry(
        constructor=ResNet32,
        paper=RESNET_PAPER,
        input_shape=(32, 32, 3),
        classes=10,
        parameters=466_426,
        trainable_parameters=464_154,
        macs=68_862_592,
        small_input_shape=(16, 16, 3),
        minimum_size=1,
    ),
    "resnet44": Entry(
        constructor=ResNet44,
        paper=RESNET_PAPER,
        input_shape=(32, 32, 3),
        classes=10,
        parameters=661_754,
        trainable_parameters=658_586,
        macs=97_174_144,
        small_input_shape=(16, 16, 3),
        minimum_size=1,
    ),
    "resnet56": Entry(
        constructor=ResNet56,
        paper=RESNET_PAPER,
        input_shape=(32, 32, 3),
        classes=10,
        parameters=857_082,
        trainable_parameters=853_018,
        macs=125_485_696,
        small_input_shape=(16, 16, 3),
        minimum_size=1,
    ),
    "resnet110": Entry(
        constructor=ResNet110,
        paper=RESNET_PAPER,
        input_shape=(32, 32, 3),
        classes=10,
        parameters=1_736_058,
        trainable_parameters=1_727_962,
        macs=252_887_680,
        small_input_shape=(16, 16, 3),
        minimum_size=1,
    ),
    "mobilenet_v1": Entry(
        constructor=MobileNetV1,
        paper="Howard et al. 2017, MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
        parameters=4_253_864,
        trainable_parameters=4_231_976,
        macs=568_740_352,
        small_input_shape=(32, 32, 3),
        minimum_size=1,
        small_image_arguments={"alpha": 0.25, "stem_stride": 1},
    ),
    "mobilenet_v2": Entry(
        constructor=MobileNetV2,
        paper="Sandler et al. 2018, MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        parameters=3_538_984,
        trainable_parameters=3_504_872,
        macs=300_774_272,
        small_input_shape=(32, 32, 3),
        minimum_size=1,
        small_image_arguments={"alpha": 0.35, "stem_stride": 1},
    ),
}


def list_models(pattern: str = "*") -> list[str]:
    """Names of the models, sorted; `pattern` may hold the wildcards `*`, `?` and `[…]`."""
    return sorted(fnmatch.filter(MODELS, pattern))


def entry(name: str) -> Entry:
    """The registry's entry of `name`. Raises ValueError with the nearest names if there is none."""
    if name not in MODELS:
        raise errors.unknown("model", name, MODELS)
    return MODELS[name]


def create_model(name: str, /, **arguments: Any) -> keras.Model:
    """Build a model by name; with nothing else it is the paper's.

    Args:
        name: one of `list_models()`.
        **arguments: of its constructor, such as `input_shape`, `classes`, `weights`.

    Raises:
        ValueError: the name or an argument is unknown or cannot be used.
    """
    constructor = entry(name).constructor
    known = inspect.signature(constructor).parameters
    for argument in arguments:
        if argument not in known:
            raise errors.unknown(f"argument of {name}", argument, known)
    return constructor(**arguments)


def abstract_model(name: str, /, **arguments: Any) -> keras.Model:
    """The model without memory for its weights, to be counted and drawn but never called.

    Takes and raises what `create_model` does.
    """
    with keras.StatelessScope(initialize_variables=False):
        return create_model(name, **arguments)


def recipe_arguments(name: str, input_shape: blocks.Shape) -> dict[str, Any]:
    """What our training recipes pass to `create_model(name)` for images of `input_shape`."""
    sides = [side for side in blocks.sides(input_shape) if side is not None]
    small = bool(sides) and max(sides) <= SMALL_IMAGE
    return dict(entry(name).small_image_arguments) if small else {}
