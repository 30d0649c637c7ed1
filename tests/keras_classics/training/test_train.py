"""The command: what it trains on and goes on from, and what it says of bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from keras_classics import train, weights
from keras_classics.training.checkpoint import Checkpoint, State

SMALL = ["lenet5", "--data", "digits", "--input-shape", "16", "16", "1"]


def test_training_goes_on_from_a_keras_file(run: Path, tmp_path: Path) -> None:
    arguments = [str(run / "model.keras"), "--data", "digits", "--epochs", "1", "--learning-rate", "1e-9"]
    assert train.main([*arguments, "--output", str(tmp_path)]) == 0
    before, after = (json.loads((folder / "run.json").read_text()) for folder in (run, tmp_path))
    assert after["test_accuracy"] == before["test_accuracy"]


def test_constructor_arguments_and_weights_reach_the_model(run: Path, tmp_path: Path) -> None:
    arguments = [*SMALL, "--epochs", "1", "--learning-rate", "1e-9", "--weights", str(run / "model.keras")]
    assert train.main([*arguments, "--model-argument", "name=mine", "--output", str(tmp_path)]) == 0
    assert weights.load_model(tmp_path / "model.keras").name == "mine"
    before, after = (json.loads((folder / "run.json").read_text()) for folder in (run, tmp_path))
    assert after["test_accuracy"] == before["test_accuracy"]


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [(signal.SIGINT, 130, "stopped by Ctrl-C"), (signal.SIGTERM, 143, "ended by SIGTERM")],
)
def test_signals_leave_the_old_model_and_resuming_gives_the_uninterrupted_result(
    number: signal.Signals,
    code: int,
    words: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    same: Callable[[keras.Model, keras.Model], bool],
) -> None:
    arguments = [*SMALL, "--epochs", "2", "--output", str(tmp_path)]
    (tmp_path / "model.keras").write_text("an earlier model")
    save = Checkpoint.save

    def save_then_interrupt(self: Checkpoint, model: keras.Model, state: State) -> None:
        save(self, model, state)
        signal.raise_signal(number)

    monkeypatch.setattr(Checkpoint, "save", save_then_interrupt)
    assert train.main(arguments) == code
    error = capsys.readouterr().err
    assert f"{words}; nothing half-written is left, and --resume goes on" in error
    assert error.count("\n") == 1
    assert (tmp_path / "model.keras").read_text() == "an earlier model"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.npz", "model.keras"]

    monkeypatch.undo()
    assert train.main([*arguments, "--resume"]) == 0
    assert (tmp_path / "history.csv").read_text() == (run / "history.csv").read_text()
    assert same(*(weights.load_model(folder / "model.keras") for folder in (run, tmp_path)))
    assert not (tmp_path / "checkpoint.npz").exists()


def test_resuming_a_finished_run_trains_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "fit", None)
    assert train.main([*SMALL, "--epochs", "2", "--output", str(run), "--resume"]) == 0
    assert "holds this training's result already" in capsys.readouterr().out
    assert train.main([*SMALL, "--epochs", "3", "--output", str(run), "--resume"]) == 2
    assert "was written with epochs 2 and not 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenet55"], "unknown model 'lenet55'; did you mean lenet5"),
        (["lenet5", "--data", "mnits"], "unknown dataset 'mnits'"),
        (["lenet5", "--data", "./none"], "none is not a folder"),
        ([*SMALL, "--epochs", "0"], "epochs is 0"),
        ([*SMALL, "--classes", "7"], "--classes is 7 and digits has 10 classes; leave it out"),
        (["lenet5", "--data", "digits", "--input-shape", "8", "8", "1"], "input of 8×8 pixels is too small"),
        (["lenet5", "--data", "digits", "--input-shape", "32", "32", "3"], "use 32×32×1"),
        (["lenet5", "--data", "digits", "--input-shape", "0", "32", "1"], "it takes three positive integers"),
        ([*SMALL, "--model-argument", "alpha"], "--model-argument 'alpha': it takes KEY=VALUE"),
        ([*SMALL, "--model-argument", "alpha=1"], "unknown argument of lenet5 'alpha'"),
        ([*SMALL, "--model-argument", "seed=1"], "use --seed"),
        ([*SMALL, "--model-argument", "classes=3"], "has 3 outputs and digits 10 classes"),
        ([*SMALL, "--weights", "none.keras"], "none.keras is not a file"),
        ([*SMALL, "--seed", "-1"], "argument --seed"),
        ([*SMALL, "--import", "no_such_module"], "--import no_such_module: No module named 'no_such_module'"),
        (["none.keras"], "none.keras is not a file"),
        (["none.keras", "--weights", "x"], "go with a model's name"),
    ],
)
def test_bad_input_is_told_in_one_line(
    arguments: Any, message: str, tmp_path: Path, complaint: Callable[[list[str]], str]
) -> None:
    assert message in complaint([*arguments, "--output", str(tmp_path / "out")])
    assert not any((tmp_path / "out").rglob("*"))


@pytest.mark.slow
def test_devices_share_batches_of_any_size(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    environment = os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
    command = [sys.executable, "-m", "keras_classics.train", *SMALL, "--epochs", "2", "--output", str(tmp_path)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert json.loads((tmp_path / "run.json").read_text())["test_accuracy"] > 0.5


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([*SMALL, "--epochs", "3", "--dry-run", "--output", str(tmp_path / "new")]) == 0
    out = capsys.readouterr().out
    assert "1,237 train, 100 validation, 100 calibration, 360 test; 10 classes" in out
    assert "3 epochs, 57 steps of 64 images" in out
    assert "last time  not known" in out
    assert not (tmp_path / "new").exists()
    assert train.main([*SMALL, "--dry-run", "--output", str(run)]) == 0
    assert f"{run}, where a training stands\nlast time  " in capsys.readouterr().out


def test_images_that_cannot_be_read_are_skipped_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(6):
            Image.fromarray(random.integers(0, 255, (16, 16), np.uint8)).save(tmp_path / f"photos/{name}/{index}.png")
    (tmp_path / "photos" / "a" / "phone.heic").write_bytes(b"not for Pillow")
    arguments = ["lenet5", "--data", str(tmp_path / "photos"), "--epochs", "1", "--output", str(tmp_path / "run")]
    assert train.main(arguments) == 2
    assert "or give --skip-unreadable" in capsys.readouterr().err
    assert train.main([*arguments, "--skip-unreadable"]) == 0
    assert capsys.readouterr().err.startswith(f"skipped: {tmp_path / 'photos/a/phone.heic'} cannot be read")
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["skipped"] == 1
    assert sum(run["images"].values()) == 12
