"""The images and arrays of a job: what calibrates, and what is evaluated."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import keras
import numpy as np

from export.data.array_files import read_arrays
from export.data.input_range import InputRange
from export.data.samples import JoinedImages, PartImages, balanced, smooth_images
from export.errors import InputError
from export.verification.metrics import output_names
from keras_classics.datasets import image_folder
from keras_classics.datasets.parts import Dataset, Shape

ARRAY_FILES = (".npy", ".npz")
MOST_CALIBRATION_IMAGES = 500
LEAST_CALIBRATION_IMAGES = 100
"""Of a dataset whose calibration part has fewer, training images are taken too; never those of the test part."""


def image_shape(model: keras.Model) -> Shape:
    """(height, width, channels) of a model of one image, in the order of its data format.

    Raises:
        InputError: it takes something else, or its size is open.
    """
    shape = tuple(model.inputs[0].shape[1:])
    if len(model.inputs) != 1 or len(shape) != 3 or None in shape:
        raise InputError(
            f"{model.name} does not take one image of a fixed size (its inputs are "
            f"{', '.join(str(tuple(each.shape)) for each in model.inputs)}); give --calibration FILE.npz, "
            "or use export_tflite from Python"
        )
    return shape


def calibration_of(
    chosen: argparse.Namespace, model: keras.Model, dataset: Dataset | None, input_range: InputRange | None
) -> Any:
    """What calibrates: arrays of a file, photos of a folder, the dataset's part, or without either smooth images."""
    if chosen.calibration is not None:
        path = Path(chosen.calibration)
        if path.suffix in ARRAY_FILES:
            return read_arrays(path)
        assert input_range is not None  # photos have made it known
        return input_range.scale(images_of_folder(path, image_shape(model), skip_unreadable=chosen.skip_unreadable))
    assert input_range is not None
    if dataset:
        positions = balanced(dataset.calibration.labels.tolist(), MOST_CALIBRATION_IMAGES)
        own = PartImages(dataset.calibration, input_range.scale, positions)
        missing = LEAST_CALIBRATION_IMAGES - len(own)
        if missing <= 0:
            return own
        trained_on = balanced(dataset.train.labels.tolist(), missing)
        return JoinedImages(own, PartImages(dataset.train, input_range.scale, trained_on))
    return input_range.scale(smooth_images(image_shape(model)))


def images_of_folder(
    folder: Path, shape: Shape, most: int = MOST_CALIBRATION_IMAGES, skip_unreadable: bool = False
) -> np.ndarray:
    """At most `most` images of a folder, as many of each of its folders, pixels in [0, 1]."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of images nor a .npz or .npy file; check the path")
    files = image_folder.image_files(folder)
    if not files:
        raise InputError(f"{folder} holds no images; put {', '.join(sorted(image_folder.SUFFIXES))} files there")
    chosen = balanced([path.parent for path in files], most)
    images = image_folder.decode_readable([files[index] for index in chosen], shape, skip_unreadable)
    return np.stack(images).astype(np.float32) / 255


def evaluation_of(
    model: keras.Model, dataset: Dataset | None, input_range: InputRange | None
) -> tuple[Any, Any] | None:
    """Images and classes of the test part; of several outputs, all that tell as many classes have them."""
    if dataset is None:
        return None
    assert input_range is not None
    labels, classes = dataset.test.labels, len(dataset.class_names)
    names = output_names(model)
    shapes = [tuple(each.shape) for each in model.outputs]
    targets = {name: labels for name, shape in zip(names, shapes, strict=True) if shape[1:] == (classes,)}
    return PartImages(dataset.test, input_range.scale), targets if len(names) > 1 else labels
