"""What a model says of every image of a part."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np

from keras_classics.datasets.parts import Part
from keras_classics.training import devices
from keras_classics.training.batches import Changes

PREDICTION_BATCH_SIZE = 256
"""Images that are predicted at once, if they are small; only speed and memory depend on it."""

PREDICTED_NUMBERS = 2**22
"""Large images are fewer at once, so that their pixels are not more than this."""


def accuracy(model: keras.Model, part: Part) -> float:
    """Share of the whole `part` that `model` classifies right, in [0, 1]."""
    return float(np.mean(predict(model, part).argmax(axis=-1) == part.labels))


def largest_share(part: Part) -> float:
    """The share of the images that are of the class with most of them: the accuracy of always saying that class."""
    return float(np.bincount(part.labels).max() / len(part))


def predict(model: keras.Model, part: Part) -> np.ndarray:
    """The first output of `model` for every image of `part`, in its order: (len(part), classes)."""
    return outputs_of(model, part)


def outputs_of(model: keras.Model, part: Part, changes: Changes | None = None, seed: Sequence[int] = ()) -> np.ndarray:
    """The first output of `model` for every image of `part`, changed as `changes` draws from `seed`."""
    outputs = model.predict(_InOrder(part, changes, seed), verbose=0)
    first: np.ndarray = outputs[0] if isinstance(outputs, list | tuple) else outputs
    return first[: len(part)]


class _InOrder(keras.utils.PyDataset):
    """The images of a part in batches of one size, which compiled code and several devices ask for.

    The last batch is filled up from the beginning of the part.
    """

    def __init__(self, part: Part, changes: Changes | None, seed: Sequence[int]) -> None:
        super().__init__()
        self.part, self.changes, self.seed = part, changes, seed
        numbers = part.images(slice(1)).size
        most = max(1, min(PREDICTION_BATCH_SIZE, PREDICTED_NUMBERS // numbers, len(part)))
        self.size = devices.shareable(most, round_up=True)

    def __len__(self) -> int:
        return math.ceil(len(self.part) / self.size)

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        chosen = np.arange(index * self.size, (index + 1) * self.size)
        images = self.part.images(chosen % len(self.part))
        if self.changes:
            images = self.changes.apply(images, self.changes.draw(len(images), self._random(index)))
        return (images,)

    def _random(self, index: int) -> np.random.Generator:
        return np.random.default_rng([*self.seed, index])
