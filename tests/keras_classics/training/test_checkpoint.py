"""Checkpoints: trainings that end early, go on, or may not go on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_classics.datasets.parts import Dataset, Part
from keras_classics.errors import InputError
from keras_classics.training import fitting
from keras_classics.training.checkpoint import Checkpoint, State


@pytest.mark.backends
@pytest.mark.parametrize(("precision", "position"), [(None, 8), ("bfloat16", 8), (None, 5)])
def test_a_resumed_training_ends_as_one_that_was_not_interrupted(
    few_digits: Dataset,
    tmp_path: Path,
    precision: Any,
    position: int,
    network: Callable[..., keras.Model],
    same: Callable[[keras.Model, keras.Model], bool],
) -> None:
    """After two epochs of four steps, and in the middle of the second."""
    recipe = {"epochs": 4, "seed": 1, "progress": False, "mixed_precision": precision}
    whole, first_half, second_half = (network(seed=1) for _ in range(3))
    expected = fitting.fit(whole, few_digits, **recipe)

    class Interrupted(Checkpoint):
        def save(self, model: keras.Model, state: State) -> None:
            super().save(model, state)
            if state.position == position:
                signal.raise_signal(signal.SIGINT)

    checkpoint = tmp_path / "checkpoint.npz"
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(
            first_half,
            few_digits,
            checkpoint=Interrupted(checkpoint, {"a": 1}),
            checkpoint_minutes=0,
            **recipe,
        )
    assert not same(whole, first_half)
    history = fitting.fit(second_half, few_digits, checkpoint=Checkpoint(checkpoint, {"a": 1}), resume=True, **recipe)
    assert history == expected
    assert same(whole, second_half)


@pytest.mark.backends
def test_a_signal_in_the_middle_of_an_epoch_writes_a_checkpoint_there(
    few_digits: Dataset, tmp_path: Path, network: Callable[..., keras.Model]
) -> None:
    class Interrupting:
        reads = 0

        def pixels(self, indices: np.ndarray) -> np.ndarray:
            self.reads += 1
            if self.reads == 22:  # in the sixth epoch, or before it: TensorFlow reads ahead
                os.kill(os.getpid(), signal.SIGINT)
            return few_digits.train.source.pixels(indices)

    part = Part(few_digits.train.labels, Interrupting())
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", {})
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(network(), replace(few_digits, train=part), epochs=9, checkpoint=checkpoint, progress=False)
    assert signal.getsignal(signal.SIGINT) is handler
    model = network()
    fitting.compile_for_training(model, 36, 1e-3)
    state = checkpoint.restore(model)
    assert 8 < state.position < 24
    assert len(state.history["loss"]) == state.position // 4
    assert bool(state.metrics) == (state.position % 4 != 0)


def test_resuming_after_the_last_epoch_trains_no_more(
    few_digits: Dataset,
    tmp_path: Path,
    network: Callable[..., keras.Model],
    same: Callable[[keras.Model, keras.Model], bool],
) -> None:
    recipe = {"epochs": 1, "progress": False, "checkpoint": Checkpoint(tmp_path / "checkpoint.npz", {})}
    first, second = network(), network(seed=5)
    expected = fitting.fit(first, few_digits, **recipe)
    assert fitting.fit(second, few_digits, resume=True, **recipe) == expected
    assert same(first, second)


def test_a_checkpoint_of_other_settings_or_half_of_one_is_refused(
    few_digits: Dataset, tmp_path: Path, network: Callable[..., keras.Model]
) -> None:
    recipe = {"epochs": 1, "progress": False}
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", {"learning_rate": 0.1})
    fitting.fit(network(), few_digits, checkpoint=checkpoint, **recipe)
    other = Checkpoint(checkpoint.path, {"learning_rate": 0.2})
    with pytest.raises(InputError, match=r"written with learning rate 0\.1 and not 0\.2; resume with its settings"):
        fitting.fit(network(), few_digits, checkpoint=other, resume=True, **recipe)
    whole = checkpoint.path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"something else"):
        checkpoint.path.write_bytes(content)
        with pytest.raises(InputError, match=r"checkpoint\.npz is not a whole checkpoint"):
            fitting.fit(network(), few_digits, checkpoint=checkpoint, resume=True, **recipe)
