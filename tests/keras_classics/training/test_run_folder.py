"""The folder of a training: what lies in it, one training at a time, and disks that refuse."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import pytest

from keras_classics import files, train, weights
from keras_classics.datasets import data
from keras_classics.training import measuring

SMALL = ["lenet5", "--data", "digits", "--input-shape", "16", "16", "1"]


def test_a_run_leaves_these_files_and_no_others(run: Path) -> None:
    assert sorted(path.name for path in run.iterdir()) == [
        "history.csv",
        "history.png",
        "model.keras",
        "model.preprocess.json",
        "run.json",
    ]
    assert (run / "history.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((run / "model.preprocess.json").read_text()) == {
        "input_range": [0, 1],
        "image_shape": [16, 16, 1],
        "class_names": list("0123456789"),
    }


def test_the_record_agrees_with_the_model_beside_it(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    digits = data.load("digits", (16, 16, 1))
    model = weights.load_model(run / "model.keras")
    assert record["model_sha256"] == hashlib.sha256((run / "model.keras").read_bytes()).hexdigest()
    assert record["test_accuracy"] == measuring.accuracy(model, digits.test)
    assert record["images"] == {"train": 1237, "validation": 100, "calibration": 100, "test": 360}
    assert record["settings"]["data_digests"]["test"] == digits.test.digest()
    assert record["settings"]["backend"] == keras.backend.backend()
    with (run / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["val_accuracy"]) == record["validation_accuracy"]


def test_a_saved_model_holds_no_optimizer(run: Path) -> None:
    model = weights.load_model(run / "model.keras")
    assert (run / "model.keras").stat().st_size < 1.5 * 4 * model.count_params() + 50_000


def test_an_output_that_cannot_be_written_to_is_told_before_training(
    tmp_path: Path, complaint: Callable[[list[str]], str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    error = complaint([*SMALL, "--output", str(tmp_path / "file")])
    assert f"{tmp_path / 'file'}: File exists; a file stands where a folder is needed" in error
    assert "Not a directory" in complaint([*SMALL, "--output", str(tmp_path / "file" / "below")])
    assert "/proc/run" in complaint([*SMALL, "--output", "/proc/run"])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["checkpoint.npz", "model.keras"])
def test_a_full_disk_leaves_the_old_model(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: Callable[[list[str]], str]
) -> None:
    (tmp_path / "model.keras").write_text("an earlier model")
    make = files._make

    def make_on_a_full_disk(path: Path) -> None:
        if path.name.startswith(f".{Path(name).stem}."):
            path.symlink_to("/dev/full")
        else:
            make(path)

    monkeypatch.setattr(files, "_make", make_on_a_full_disk)
    error = complaint([*SMALL, "--epochs", "1", "--output", str(tmp_path)])
    assert "No space left on device; free some space there" in error
    assert (tmp_path / "model.keras").read_text() == "an earlier model"
    assert not list(tmp_path.glob(".*"))


WAITING_TRAINING = """
import sys
from keras_classics import train
from keras_classics.training import command

fit = command.fit

def fit_when_told(*arguments, **options):
    print("training", flush=True)
    sys.stdin.readline()
    return fit(*arguments, **options)

command.fit = fit_when_told
sys.exit(train.main(sys.argv[1:]))
"""


@pytest.fixture
def waiting_training(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that trains into `tmp_path`, and goes on when a line is written to it."""
    command = [sys.executable, "-c", WAITING_TRAINING, *SMALL, "--epochs", "1", "--output", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "training\n"
            yield process
        finally:
            process.kill()


def test_a_second_training_into_one_folder_is_refused_and_the_first_goes_on(
    waiting_training: subprocess.Popen[str], tmp_path: Path, complaint: Callable[[list[str]], str]
) -> None:
    error = complaint([*SMALL, "--epochs", "2", "--output", str(tmp_path)])
    assert f"another training writes to {tmp_path}; wait until it has ended or choose another folder" in error
    waiting_training.communicate("\n")
    assert waiting_training.returncode == 0
    assert json.loads((tmp_path / "run.json").read_text())["settings"]["epochs"] == 1
    assert not list(tmp_path.glob(".*"))


def test_a_training_that_was_killed_holds_no_folder(waiting_training: subprocess.Popen[str], tmp_path: Path) -> None:
    waiting_training.kill()
    waiting_training.wait()
    assert train.main([*SMALL, "--epochs", "1", "--output", str(tmp_path)]) == 0
    assert not list(tmp_path.glob(".*"))
