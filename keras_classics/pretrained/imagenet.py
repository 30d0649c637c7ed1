"""What goes into and comes out of networks with published ImageNet weights."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

import keras
import numpy as np

from keras_classics.arguments import sides
from keras_classics.errors import InputError
from keras_classics.pretrained.catalog import named
from keras_classics.pretrained.preprocessing import Preprocessing

# ImageNet's challenge has 1,000 classes; published weights were trained for 224×224 pixels where nothing else is said.
CLASSES, SIZE = 1000, 224


def preprocessing_for(model: str | keras.Model, weights: str = "imagenet") -> Preprocessing:
    """What photos go through before published weights see them.

    Args:
        model: a name of `list_models()`, or a model of ours under its own name, for whose input
            size the crop then is.
        weights: the name of published weights.

    Raises:
        ValueError: there are no such weights, or the model's input is not square.
    """
    name, side = (model, None) if isinstance(model, str) else (model.name, _side(model))
    nearest = min(named(name, weights), key=lambda checkpoint: abs(checkpoint.preprocessing.crop - (side or SIZE)))
    return nearest.preprocessing.sized(side) if side else nearest.preprocessing


def _side(model: keras.Model) -> int | None:
    height, width = sides(model.input_shape[1:])
    if height != width:
        raise InputError(f"{model.name} takes {height}×{width} images; published preprocessing gives square ones")
    return height


@functools.cache
def imagenet_classes() -> tuple[tuple[str, str], ...]:
    """WordNet number and English name of the 1,000 classes, such as ("n02124075", "Egyptian cat").

    In the order in which published weights tell them apart, that of the numbers. The names are
    torchvision's (torchvision/models/_meta.py).
    """
    table = resources.files("keras_classics.pretrained").joinpath("imagenet_classes.tsv").read_text(encoding="utf-8")
    return tuple((number, name) for number, name in (line.split("\t") for line in table.splitlines()))


def decode_predictions(predictions: Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """The best classes of each image, as (WordNet number, name, score), the best first.

    Args:
        predictions: (batch, 1000) probabilities or logits, of any backend.
        top: how many classes to tell of each image.

    Raises:
        ValueError: `predictions` has another shape.
    """
    scores = keras.ops.convert_to_numpy(predictions)
    if scores.ndim != 2 or scores.shape[1] != CLASSES:
        raise InputError(f"predictions are {scores.shape}; those of ImageNet's classes are (batch, {CLASSES})")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [
        [(*imagenet_classes()[index], float(row[index])) for index in indices]
        for row, indices in zip(scores, best, strict=True)
    ]
