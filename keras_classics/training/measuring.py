"""What a model says of every image of a part."""

from __future__ import annotations

import math

import keras
import numpy as np

from keras_classics.datasets.parts import Part
from keras_classics.training import devices

PREDICTION_BATCH_SIZE = 256
"""Images that are predicted at once; only speed and memory depend on it."""


def accuracy(model: keras.Model, part: Part) -> float:
    """Share of the whole `part` that `model` classifies right, in [0, 1]."""
    return float(np.mean(predict(model, part).argmax(axis=-1) == part.labels))


def predict(model: keras.Model, part: Part) -> np.ndarray:
    """The first output of `model` for every image of `part`, in its order: (len(part), classes)."""
    outputs = model.predict(_InOrder(part), verbose=0)
    first: np.ndarray = outputs[0] if isinstance(outputs, list | tuple) else outputs
    return first[: len(part)]


class _InOrder(keras.utils.PyDataset):
    """The images of a part in batches of one size, which compiled code and several devices ask for.

    The last batch is filled up from the beginning of the part.
    """

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part, self.size = part, devices.shareable(min(PREDICTION_BATCH_SIZE, len(part)), round_up=True)

    def __len__(self) -> int:
        return math.ceil(len(self.part) / self.size)

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        chosen = np.arange(index * self.size, (index + 1) * self.size)
        return (self.part.images(chosen % len(self.part)),)
