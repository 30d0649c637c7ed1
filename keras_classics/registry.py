"""The models by name: constructor, paper, and the counts that tests recompute."""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_classics import blocks, errors
from keras_classics.lenet import LeNet5
from keras_classics.mobilenet_v2 import MobileNetV2


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
    input_shape: tuple[int, int, int]
    classes: int
    parameters: int
    trainable_parameters: int
    macs: int
    small_input_shape: tuple[int, int, int]
    minimum_size: int
    small_image_arguments: Mapping[str, Any] = field(default_factory=dict)


SMALL_IMAGE = 64

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
    "mobilenet_v2": Entry(
        constructor=MobileNetV2,
        paper="Sandler et al. 2018, MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        input_shape=(224, 224, 3),
        classes=1000,
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


def recipe_arguments(name: str, input_shape: blocks.Shape) -> dict[str, Any]:
    """What our training recipes pass to `create_model(name)` for images of `input_shape`."""
    sides = [side for side in blocks.sides(input_shape) if side is not None]
    small = bool(sides) and max(sides) <= SMALL_IMAGE
    return dict(entry(name).small_image_arguments) if small else {}
