"""Sets of tensorflow-datasets, on a little one of our own; without the package, what is said."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_classics.datasets import data
from keras_classics.errors import InputError


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match="tfds:mnist needs another package; pip install tensorflow-datasets"):
        data.load("tfds:mnist")


@pytest.fixture
def tfds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    tfds = pytest.importorskip("tensorflow_datasets")
    builder = tfds.builder
    monkeypatch.setattr(tfds, "builder", lambda name: builder(name, data_dir=tmp_path))
    return tfds


def register(tfds: Any, name: str, features: Any, splits: Any) -> Any:
    """Define a set of 9×8 images whose brightness is their number."""

    def info(self: Any) -> Any:
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def examples(count: int) -> Iterator[Any]:
        for number in range(count):
            yield number, {"image": np.full((9, 8, 3), number, np.uint8), "label": number % 2}

    members = {
        "VERSION": tfds.core.Version("1.0.0"),
        "name": name,
        "_info": info,
        "_split_generators": lambda self, manager: {split: examples(count) for split, count in splits.items()},
        "_generate_examples": lambda self: None,
        "__module__": __name__,
    }
    return type(name, (tfds.core.GeneratorBasedBuilder,), members)


def test_splits_are_kept_and_what_is_missing_is_held_out(tfds: Any) -> None:
    features = {"image": tfds.features.Image(shape=(9, 8, 3)), "label": tfds.features.ClassLabel(names=["cat", "dog"])}
    register(tfds, "little", features, {"train": 100, "test": 10})
    little = data.load("tfds:little")
    assert {name: len(part) for name, part in little.parts.items()} == {
        "train": 80,
        "validation": 10,
        "calibration": 10,
        "test": 10,
    }
    assert little.class_names == ("cat", "dog")
    assert little.image_shape == (9, 8, 3)
    numbers = {name: (part.images()[:, 0, 0, 0] * 255).round().astype(int) for name, part in little.parts.items()}
    for name, part in little.parts.items():
        np.testing.assert_array_equal(numbers[name] % 2, part.labels)
    trained = np.concatenate([numbers[name] for name in ("train", "validation", "calibration")])
    np.testing.assert_array_equal(np.sort(trained), np.arange(100))
    assert data.load("tfds:little", (4, 4, 3)).test.images().shape == (10, 4, 4, 3)
    with pytest.raises(InputError, match="use 4×4×3"):
        data.load("tfds:little", (4, 4, 1))


def test_a_set_of_something_else_is_refused(tfds: Any) -> None:
    register(tfds, "odd", {"image": tfds.features.Image(shape=(9, 8, 3)), "label": np.int64}, {"train": 10})
    with pytest.raises(InputError, match="tfds:odd is not of images with one label each"):
        data.load("tfds:odd")


def test_an_unknown_set_brings_the_nearest(tfds: Any) -> None:
    with pytest.raises(InputError, match="unknown TensorFlow dataset 'mnits'; did you mean mnist"):
        data.load("tfds:mnits")
