"""`tfds:NAME`: the image classification sets of the package tensorflow-datasets."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_classics import errors
from keras_classics.datasets import image_folder
from keras_classics.datasets.parts import Dataset, Part, Shape, stratified
from keras_classics.errors import InputError

HELD_OUT_SHARE = 0.1
"""A part that a set lacks gets this share of its training images."""

MOST_HELD_OUT = {"test": 10_000, "validation": 5_000, "calibration": 500}
"""A part that is held out of the training images has at most so many of them."""


@dataclass(frozen=True)
class Records:
    """Encoded images of one split, decoded when they are asked for; `version` pins their content."""

    split: Sequence[dict[str, Any]]
    chosen: np.ndarray
    image_shape: Shape
    version: str

    def pixels(self, indices: np.ndarray) -> np.ndarray:
        """The images at `indices`, uint8 (n, height, width, channels)."""
        images = np.empty((len(indices), *self.image_shape), np.uint8)
        for image, index in zip(images, self.chosen[indices], strict=True):
            image[...] = image_folder.decode(io.BytesIO(self.split[int(index)]["image"]), self.image_shape)
        return images

    def digest(self) -> str:
        """SHA-256 of the published version, the images chosen and the shape they are brought to."""
        return hashlib.sha256(self.chosen.tobytes() + repr((self.version, self.image_shape)).encode()).hexdigest()


def load(name: str, image_shape: Shape | None = None, default_size: int | None = None) -> Dataset:
    """Download and read the set `name`; see `keras_classics.datasets.data.load`.

    Its splits `train`, `validation` and `test` are kept. Without `test`, `validation` is tested on;
    what is missing then is held out of the training images.

    Raises:
        ValueError: the package is not installed, or the set is unknown, cannot be downloaded or is
            not of images with one label each.
    """
    splits, info = _open(name)
    shape = _shape(name, info.features["image"].shape, image_shape, default_size)
    if "test" not in splits and "validation" in splits:
        splits["test"] = splits.pop("validation")
    labels = {part: np.array([record["label"] for record in split], np.int64) for part, split in splits.items()}
    missing = [part for part in MOST_HELD_OUT if part not in splits]
    held_out = {part: min(MOST_HELD_OUT[part], int(HELD_OUT_SHARE * len(splits["train"]))) for part in missing}
    chosen = {part: np.arange(len(split)) for part, split in splits.items()} | stratified(labels["train"], held_out)
    parts = {}
    for part, indices in chosen.items():
        home = part if part in splits else "train"
        parts[part] = Part(labels[home][indices], Records(splits[home], indices, shape, f"{info.full_name}:{home}"))
        if not len(parts[part]) or parts[part].labels.min() < 0:
            raise InputError(f"tfds:{name} has no labelled images for {part}; use another set")
    class_names = tuple(info.features["label"].names)
    return Dataset(
        f"tfds:{name}", class_names, shape, augmentation=image_folder.PHOTO_AUGMENTATION, skipped=(), **parts
    )


def _open(name: str) -> tuple[dict[str, Sequence[dict[str, Any]]], Any]:
    """The splits that we use, images left encoded, and the description of the set."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise InputError(f"tfds:{name} needs another package; pip install tensorflow-datasets") from error
    try:
        builder = tfds.builder(name)
        features = dict(builder.info.features)
        if not isinstance(features.get("image"), tfds.features.Image) or not hasattr(features.get("label"), "names"):
            raise InputError(f"tfds:{name} is not of images with one label each; use another set")
        builder.download_and_prepare(file_format="array_record")
        splits = builder.as_data_source(decoders={"image": tfds.decode.SkipDecoding()})
    except tfds.core.DatasetNotFoundError as error:
        raise errors.unknown("TensorFlow dataset", name, tfds.list_builders()) from error
    except InputError:
        raise
    except Exception as error:  # downloads and their sources fail in many ways
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"tfds:{name} cannot be downloaded and prepared ({reason}); use other data") from error
    return {part: splits[part] for part in ("train", "validation", "test") if part in splits}, builder.info


def _shape(name: str, own: tuple[Any, Any, int], asked: Shape | None, default_size: int | None) -> Shape:
    height, width, channels = own
    side = default_size or image_folder.DEFAULT_SIZE
    if asked is None:
        known = None not in (height, width) and max(height, width) <= side
        return own if known else (side, side, channels)
    if asked[2] != channels:
        raise InputError(
            f"tfds:{name} holds images of {channels} channels and an image shape of {asked} is asked for; "
            f"use {asked[0]}×{asked[1]}×{channels} or other data"
        )
    return asked
