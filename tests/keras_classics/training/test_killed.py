"""Trainings that are ended from outside, in a process of their own, and go on to the same weights."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import pytest

from keras_classics import weights

TRAINING = ["lenet5", "--data", "digits", "--input-shape", "16", "16", "1", "--epochs", "3", "--batch-size", "32"]

# Trains as the command does, and ends itself by a signal once a checkpoint of a step has been written.
ENDED = """
import os, sys
from keras_classics import train
from keras_classics.training.checkpoint import Checkpoint

number, step, *arguments = sys.argv[1:]
save = Checkpoint.save

def save_and_end(self, model, state):
    save(self, model, state)
    if state.position == int(step):
        os.kill(os.getpid(), int(number))

Checkpoint.save = save_and_end
sys.exit(train.main(arguments))
"""


def run(output: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "keras_classics.train", *TRAINING, "--output", str(output), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def ended(output: Path, number: signal.Signals, step: int, *more: str) -> subprocess.CompletedProcess[str]:
    arguments = [*TRAINING, "--output", str(output), "--checkpoint-minutes", "0", *more]
    command = [sys.executable, "-c", ENDED, str(int(number)), str(step), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("whole")
    assert run(output).returncode == 0
    return output


@pytest.mark.slow
def test_sigterm_writes_a_checkpoint_and_exits_with_its_code(
    whole: Path, tmp_path: Path, same: Callable[[keras.Model, keras.Model], bool]
) -> None:
    result = ended(tmp_path, signal.SIGTERM, 50)
    assert result.returncode == 143
    told = "interrupted: ended by SIGTERM; nothing half-written is left, and --resume goes on where it stopped"
    assert result.stderr.splitlines()[-1] == told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.npz"]
    assert run(tmp_path, "--resume").returncode == 0
    assert same(*(weights.load_model(folder / "model.keras") for folder in (whole, tmp_path)))
    assert (tmp_path / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()


@pytest.mark.slow
def test_killed_at_five_random_steps_it_still_ends_in_the_same_weights(
    whole: Path, tmp_path: Path, same: Callable[[keras.Model, keras.Model], bool]
) -> None:
    steps = sorted(random.Random(0).sample(range(1, 114), 5))
    for number, step in enumerate(steps):
        result = ended(tmp_path, signal.SIGKILL, step, *(["--resume"] if number else []))
        assert result.returncode == -signal.SIGKILL
    assert run(tmp_path, "--resume").returncode == 0
    assert same(*(weights.load_model(folder / "model.keras") for folder in (whole, tmp_path)))
