"""What a dataset is to the rest of the house: four parts of labelled images, read a batch at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from keras_classics.datasets.augment import Augmentation

Shape = tuple[int, int, int]


class Images(Protocol):
    """Images of one shape, in memory or on disk."""

    def pixels(self, indices: np.ndarray) -> np.ndarray:
        """The images at `indices`, uint8 (n, height, width, channels)."""

    def digest(self) -> str:
        """SHA-256 of the content, as hexadecimal digits."""


@dataclass(frozen=True)
class Part:
    """Labelled images that serve one purpose: training, validation, calibration or test.

    `labels` is int64 (N,).
    """

    labels: np.ndarray
    source: Images

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, indices: np.ndarray | slice | None = None) -> np.ndarray:
        """The images at `indices`, or all: float32 (n, height, width, channels) in [0, 1]."""
        chosen = np.arange(len(self)) if indices is None else np.arange(len(self))[indices]
        return self.source.pixels(chosen).astype(np.float32) / np.float32(255)

    def digest(self) -> str:
        """SHA-256 of images and labels, as hexadecimal digits."""
        return hashlib.sha256(self.source.digest().encode() + self.labels.tobytes()).hexdigest()


@dataclass(frozen=True)
class Dataset:
    """Images with one class each, split once and for all.

    `train` is learned from, `validation` chooses, `calibration` sets quantization ranges, and
    `test` is only ever measured on. `image_shape` is (height, width, channels); `augmentation` is
    what our recipes do to the training images. `skipped` names the images that cannot be read and were left out.
    """

    name: str
    class_names: tuple[str, ...]
    image_shape: Shape
    train: Part
    validation: Part
    calibration: Part
    test: Part
    augmentation: Augmentation
    skipped: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, Part]:
        """The four parts by name."""
        return {name: getattr(self, name) for name in ("train", "validation", "calibration", "test")}


def stratified(labels: np.ndarray, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Indices of parts of the given sizes, and of `train`, which takes the rest.

    Each part has every class in its proportion, in a random order that never changes.
    """
    generator = np.random.default_rng(0)
    order = generator.permutation(len(labels))
    by_class = [order[labels[order] == label] for label in np.unique(labels)]
    # Interleaving the classes makes every stretch of the order stratified.
    place = np.concatenate([(np.arange(len(members)) + generator.random()) / len(members) for members in by_class])
    order = np.concatenate(by_class)[np.argsort(place)]
    parts, start = {}, 0
    for name, size in {**sizes, "train": len(labels) - sum(sizes.values())}.items():
        parts[name], start = order[start : start + size], start + size
    return parts
