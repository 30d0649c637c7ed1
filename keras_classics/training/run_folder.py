"""The folder that a training leaves: the model, its history as figures and picture, and how it came about."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib.metadata
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_classics import files
from keras_classics.datasets.parts import Dataset
from keras_classics.errors import InputError
from keras_classics.feature_maps import inference_model
from keras_classics.training.checkpoint import Checkpoint, History, require_same


@contextlib.contextmanager
def reserved(output: Path) -> Iterator[None]:
    """Within this, `output` is there, can be written to, and is that of no other training on this machine.

    Raises:
        ValueError: another process trains into the folder.
        OSError: it cannot be made or written to.
    """
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=output):
        pass
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.locked(output / ".training.lock", wait=False))
        except BlockingIOError as error:
            raise InputError(
                f"another training writes to {output}; wait until it has ended or choose another folder"
            ) from error
        yield


def checkpoint(output: Path, settings: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint of an unfinished training in `output`."""
    return Checkpoint(output / "checkpoint.npz", settings)


def is_finished(output: Path, settings: Mapping[str, Any]) -> bool:
    """Whether `output` holds a training's results. Raises ValueError if its settings were others."""
    record = output / "run.json"
    if not record.is_file():
        return False
    try:
        saved = json.loads(record.read_text(encoding="utf-8"))["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{record} is not the record of a training; remove it or choose another folder") from error
    require_same(record, saved, settings)
    return True


def write(output: Path, model: keras.Model, dataset: Dataset, history: History, run: Mapping[str, Any]) -> None:
    """Write every file, each whole or not at all; `run.json`, with the model's hash, is the last.

    A model with auxiliary outputs is joined by `inference.keras`, which is without them.
    """
    preprocess = {"input_range": [0, 1], "image_shape": dataset.image_shape, "class_names": dataset.class_names}
    files.write_json(output / "model.preprocess.json", preprocess)
    inputs, outputs = (ends[0] if len(ends) == 1 else ends for ends in (model.inputs, model.outputs))
    without_optimizer = keras.Model(inputs, outputs, name=model.name)
    with files.replacing(output / "model.keras") as temporary:
        without_optimizer.save(temporary)
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    if len(model.outputs) > 1:
        with files.replacing(output / "inference.keras") as temporary:
            inference_model(without_optimizer).save(temporary)
        files.write_json(output / "inference.preprocess.json", preprocess)
    with files.replacing(output / "history.csv") as temporary, temporary.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["epoch", *history])
        rows.writerows(zip(range(1, len(history["loss"]) + 1), *history.values(), strict=True))
    with files.replacing(output / "history.png") as temporary:
        plot(temporary, history, run["test_accuracy"])
    files.write_json(output / "run.json", {**run, "model_sha256": digest, "versions": versions(), "machine": machine()})


def plot(path: Path, history: History, test_accuracy: float) -> None:
    """Draw loss and accuracy over the epochs, and the accuracy on the test part at the end."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    epochs = range(1, len(history["loss"]) + 1)
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, history[measure], ".-", label="training")
        axes.plot(epochs, history[f"val_{measure}"], ".-", label="validation")
        axes.set(xlabel="epoch", ylabel=measure)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
    axes.plot(epochs[-1], test_accuracy, "k*", label=f"test {test_accuracy:.2%}")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def versions() -> dict[str, str]:
    """Versions of what the result depends on."""
    packages = ("keras-classics", "keras", keras.backend.backend(), "numpy")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def machine() -> dict[str, Any]:
    """What the training ran on."""
    return {"platform": platform.platform(), "cores": os.cpu_count(), "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
