"""Data and a network on which the tests of training agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_classics import train
from keras_classics.datasets import data
from keras_classics.datasets.parts import Dataset, Part


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    """PyTorch's threads get in each other's way where cores are few."""
    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return data.load("digits", (8, 8, 1))


@pytest.fixture(scope="session")
def few_digits(digits: Dataset) -> Dataset:
    """Four batches of training images and an odd number of validation images."""
    first = {"train": 256, "validation": 37}
    parts = {name: digits.parts[name] for name in first}
    heads = {name: Part(part.labels[: first[name]], part.source) for name, part in parts.items()}
    return replace(digits, **heads)


@pytest.fixture
def network() -> Callable[..., keras.Model]:
    """Makes a small net with all that a training must remember: batch statistics, dropout's random state."""

    def build(activation: str | None = "softmax", seed: int = 0) -> keras.Model:
        keras.utils.set_random_seed(seed)
        return keras.Sequential(
            [
                keras.layers.Input((8, 8, 1)),
                keras.layers.Conv2D(8, 3),
                keras.layers.BatchNormalization(momentum=0.9),
                keras.layers.ReLU(),
                keras.layers.Flatten(),
                keras.layers.Dropout(0.2),
                keras.layers.Dense(10, activation),
            ],
            name="network",
        )

    return build


@pytest.fixture
def same() -> Callable[[keras.Model, keras.Model], bool]:
    """Whether two models have the same weights to the last bit."""

    def compare(first: keras.Model, second: keras.Model) -> bool:
        pairs = zip(first.weights, second.weights, strict=True)
        return all(np.array_equal(*map(keras.ops.convert_to_numpy, pair)) for pair in pairs)

    return compare


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training of two epochs."""
    output = tmp_path_factory.mktemp("run") / "new" / "folder"
    arguments = ["lenet5", "--data", "digits", "--input-shape", "16", "16", "1", "--epochs", "2"]
    assert train.main([*arguments, "--output", str(output)]) == 0
    return output


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """The one line that the command says, without training anything."""

    def say(arguments: list[str]) -> str:
        capsys.readouterr()
        assert train.main(arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    return say
