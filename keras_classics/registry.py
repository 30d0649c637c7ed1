"""The models by name. Each paper's file holds its rows; here they come together."""

from __future__ import annotations

import fnmatch
import inspect
from typing import Any

import keras

from keras_classics import errors
from keras_classics.alexnet import AlexNet
from keras_classics.arguments import Shape, sides
from keras_classics.googlenet import GoogLeNet
from keras_classics.lenet import LeNet5
from keras_classics.mobilenet_v1 import MobileNetV1
from keras_classics.mobilenet_v2 import MobileNetV2
from keras_classics.published import Architecture, Constructor
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

CONSTRUCTORS: tuple[Constructor[...], ...] = (
    LeNet5,
    AlexNet,
    VGG11,
    VGG13,
    VGG16,
    VGG19,
    GoogLeNet,
    ResNet18,
    ResNet34,
    ResNet50,
    ResNet101,
    ResNet152,
    ResNet20,
    ResNet32,
    ResNet44,
    ResNet56,
    ResNet110,
    MobileNetV1,
    MobileNetV2,
)
MODELS = {constructor.architecture.name: constructor for constructor in CONSTRUCTORS}
"""The constructor of each name. What is known of a model stands in `architecture`, in its paper's file."""

BACKENDS = ("tensorflow", "jax", "torch")
"""The backends on which the tests hold every model to the same outputs."""

SMALL_IMAGE = 64
"""The longest side, in pixels, of images that our recipes call small."""


def list_models(pattern: str = "*") -> list[str]:
    """Names of the models, sorted; `pattern` may hold the wildcards `*`, `?` and `[…]`."""
    return sorted(fnmatch.filter(MODELS, pattern))


def constructor(name: str) -> Constructor[...]:
    """The constructor of `name`. Raises ValueError with the nearest names if there is none."""
    if name not in MODELS:
        raise errors.unknown("model", name, MODELS)
    return MODELS[name]


def entry(name: str) -> Architecture:
    """The registry's row of `name`. Raises ValueError with the nearest names if there is none."""
    return constructor(name).architecture


def create_model(name: str, /, **arguments: Any) -> keras.Model:
    """Build a model by name; with nothing else it is the paper's.

    Args:
        name: one of `list_models()`.
        **arguments: of its constructor, such as `input_shape`, `classes`, `weights`.

    Raises:
        ValueError: the name or an argument is unknown or cannot be used.
    """
    build = constructor(name)
    known = inspect.signature(build).parameters
    for argument in arguments:
        if argument not in known:
            raise errors.unknown(f"argument of {name}", argument, known)
    return build(**arguments)


def abstract_model(name: str, /, **arguments: Any) -> keras.Model:
    """The model without memory for its weights, to be counted and drawn but never called.

    Takes and raises what `create_model` does.
    """
    with keras.StatelessScope(initialize_variables=False):
        return create_model(name, **arguments)


def recipe_arguments(name: str, input_shape: Shape) -> dict[str, Any]:
    """What our training recipes pass to `create_model(name)` for images of `input_shape`."""
    known_sides = [side for side in sides(input_shape) if side is not None]
    small = bool(known_sides) and max(known_sides) <= SMALL_IMAGE
    return dict(entry(name).small_image_arguments) if small else {}
