"""Quantization-aware training of any task: the int8 file is no worse on held-out data than without it.

The tasks are made of scikit-learn's handwritten digits (8×8 pixels).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from export import Clustering, FineTuning, InputError, Pruning, Worker, export_tflite
from export.tflite_file.interpreter import Interpreter

TRAINED, CALIBRATED, HELD_OUT = slice(0, 1200), slice(1200, 1300), slice(1300, 1797)
PIXELS, DIGITS = load_digits(return_X_y=True)
IMAGES = (PIXELS / 16).reshape(-1, 8, 8, 1).astype(np.float32)
NOISY = np.clip(IMAGES + np.random.default_rng(0).normal(0, 0.1, IMAGES.shape), 0, 1).astype(np.float32)
ONE_HOT = np.eye(10, dtype=np.float32)[DIGITS]
# Of each digit: is it even, has it a loop, is it above 4.
PROPERTIES = np.stack([DIGITS % 2 == 0, np.isin(DIGITS, (0, 6, 8, 9)), DIGITS > 4], axis=1)
ROWS = np.arange(8, dtype=np.float32)[:, None, None]
HEIGHTS = (IMAGES * ROWS).sum((1, 2)) / IMAGES.sum((1, 2))
MIDDLES = ((HEIGHTS - HEIGHTS.mean()) / HEIGHTS.std()).astype(np.float32)  # of the ink, from top to bottom


def trunk(image: Any) -> Any:
    x = layers.Conv2D(12, 3, padding="same", activation="relu")(image)
    return layers.Conv2D(12, 3, strides=2, padding="same", activation="relu")(x)


def flat(units: int, activation: str | None = None, name: str = "head") -> Callable[[Any], Any]:
    return lambda image: layers.Dense(units, activation, name=name)(layers.Flatten()(trunk(image)))


def segmenting(image: Any) -> Any:
    x = layers.Conv2DTranspose(12, 2, strides=2, activation="relu")(trunk(image))
    return layers.Conv2D(1, 1, activation="sigmoid", name="head")(x)


def autoencoding(image: Any) -> Any:
    code = layers.Dense(24, activation="relu")(layers.Flatten()(trunk(image)))
    return layers.Reshape((8, 8, 1), name="head")(layers.Dense(64)(code))


def cross_entropy(targets: np.ndarray, outputs: np.ndarray) -> float:
    return float(-np.mean(np.log(np.maximum((targets * outputs).sum(-1), 1e-2))))


def binary_cross_entropy(targets: np.ndarray, outputs: np.ndarray) -> float:
    return float(-np.mean(np.log(np.maximum(np.where(targets, outputs, 1 - outputs), 1e-2))))


def squared_error(targets: np.ndarray, outputs: np.ndarray) -> float:
    return float(np.square(targets - outputs).mean())


@dataclass(frozen=True)
class Task:
    """A model, what it is trained on, and how far its outputs are from the targets."""

    head: Callable[[Any], Any]
    targets: np.ndarray
    loss: str
    error: Callable[[np.ndarray, np.ndarray], float]
    images: np.ndarray
    named: Any = None  # the loss of the quantization-aware training, where it is not the one that goes without saying


TASKS = {
    "regression": Task(flat(1), MIDDLES, "mse", squared_error, IMAGES),
    "regression by another loss": Task(flat(1), MIDDLES[:, 0], "mse", squared_error, IMAGES, named="huber"),
    "autoencoder": Task(autoencoding, IMAGES, "mse", squared_error, NOISY),
    "segmentation": Task(
        segmenting, (IMAGES > 0.5).astype(np.float32), "binary_crossentropy", binary_cross_entropy, NOISY
    ),
    "segmentation by dice": Task(
        segmenting, (IMAGES > 0.5)[..., 0], "binary_crossentropy", binary_cross_entropy, NOISY, "dice"
    ),
    "one-hot": Task(flat(10, "softmax"), ONE_HOT, "categorical_crossentropy", cross_entropy, IMAGES),
    "multi-label": Task(flat(3, "sigmoid"), PROPERTIES, "binary_crossentropy", binary_cross_entropy, IMAGES),
}


SLOW = ("regression by another loss", "autoencoder", "segmentation by dice", "one-hot")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in TASKS])
def test_training_makes_the_file_no_worse(name: str, tmp_path: Path, worker: Worker) -> None:
    task = TASKS[name]
    keras.utils.set_random_seed(1)
    image = layers.Input((8, 8, 1), name="image")
    model = keras.Model(image, task.head(image))
    targets = task.targets.reshape(len(task.targets), *model.output.shape[1:])
    model.compile(keras.optimizers.Adam(3e-3), loss=task.loss)
    model.fit(task.images[TRAINED], targets[TRAINED].astype(np.float32), epochs=12, verbose=0)
    options: dict[str, Any] = {"calibration": task.images[CALIBRATED], "gate": False, "worker": worker}
    training = FineTuning.on_arrays(task.images[TRAINED], task.targets[TRAINED], epochs=2, loss=task.named)
    errors = {}
    for kind, qat in (("ptq", None), ("qat", training)):
        path = tmp_path / f"{kind}.tflite"
        report = export_tflite(model, path, "int8", qat=qat, **options)
        (outputs,) = Interpreter(path).run([task.images[HELD_OUT]])
        errors[kind] = task.error(targets[HELD_OUT], outputs)
    errors["float"] = task.error(targets[HELD_OUT], model.predict(task.images[HELD_OUT], verbose=0))
    errors["constant"] = task.error(targets[HELD_OUT], np.full_like(outputs, targets[TRAINED].mean(0)))
    assert report.qat is not None
    assert np.isfinite([row["loss"] for row in report.qat["history"]]).all()
    assert errors["float"] < errors["constant"] / 2  # there is something to lose
    assert errors["qat"] <= errors["ptq"] * 1.02


def test_two_outputs_are_trained_by_losses_of_their_own(tmp_path: Path, worker: Worker) -> None:
    keras.utils.set_random_seed(1)
    image = layers.Input((8, 8, 1), name="image")
    x = layers.Flatten()(trunk(image))
    heads = {"digit": layers.Dense(10, "softmax", name="a")(x), "middle": layers.Dense(1, name="b")(x)}
    model = keras.Model(image, heads)
    model.compile(keras.optimizers.Adam(3e-3), {"digit": "sparse_categorical_crossentropy", "middle": "mse"})
    model.fit(IMAGES[TRAINED], {"digit": DIGITS[TRAINED], "middle": MIDDLES[TRAINED]}, epochs=12, verbose=0)
    targets = {"middle": MIDDLES[TRAINED, 0], "digit": DIGITS[TRAINED]}
    errors = {}
    weights = {"digit": np.ones(1200), "middle": np.full(1200, 10.0)}
    training = FineTuning.on_arrays(IMAGES[TRAINED], targets, epochs=2, loss={"middle": "mae"}, sample_weight=weights)
    for kind, qat in (("ptq", None), ("qat", training)):
        path = tmp_path / f"{kind}.tflite"
        options: dict[str, Any] = {"calibration": IMAGES[CALIBRATED], "gate": False, "worker": worker}
        export_tflite(model, path, "int8", qat=qat, **options)
        digit, middle = Interpreter(path).run([IMAGES[HELD_OUT]])
        errors[kind] = cross_entropy(ONE_HOT[HELD_OUT], digit), squared_error(MIDDLES[HELD_OUT], middle)
    assert errors["qat"][0] <= 1.02 * errors["ptq"][0]
    assert errors["qat"][1] <= 1.02 * errors["ptq"][1]


def test_weights_of_zero_are_not_learned_from(tmp_path: Path, worker: Worker) -> None:
    """Half of the samples have wrong targets, on which a model that knows better has a large loss."""
    keras.utils.set_random_seed(1)
    image = layers.Input((8, 8, 1), name="image")
    model = keras.Model(image, flat(10, "softmax")(image))
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(IMAGES[TRAINED], DIGITS[TRAINED], epochs=6, verbose=0)
    wrong = np.arange(1200) % 2 == 1
    labels = np.where(wrong, (DIGITS[TRAINED] + 1) % 10, DIGITS[TRAINED])
    losses = {}
    for kind, weights in (("weighted", 1.0 - wrong), ("not", None)):
        training = FineTuning.on_arrays(IMAGES[TRAINED], labels, epochs=1, sample_weight=weights)
        options: dict[str, Any] = {"calibration": IMAGES[CALIBRATED], "gate": False, "worker": worker}
        report = export_tflite(model, tmp_path / f"{kind}.tflite", "int8", qat=training, **options)
        assert report.qat is not None
        losses[kind] = report.qat["history"][0]["loss"]
    assert losses["weighted"] < losses["not"] / 10


def test_pruning_and_clustering_learn_from_any_targets_too(tmp_path: Path, worker: Worker) -> None:
    keras.utils.set_random_seed(1)
    image = layers.Input((8, 8, 1), name="image")
    model = keras.Model(image, autoencoding(image))
    training = FineTuning.on_arrays(IMAGES[TRAINED], IMAGES[TRAINED], epochs=3, learning_rate=3e-3)
    compressed: dict[str, Any] = {"prune": Pruning(training, 0.5), "cluster": Clustering(training, 16)}
    report = export_tflite(model, tmp_path / "a.tflite", **compressed, worker=worker, gate=False)
    assert report.sparsity > 0.48
    (outputs,) = Interpreter(report.path).run([IMAGES[HELD_OUT]])
    assert squared_error(IMAGES[HELD_OUT], outputs) < squared_error(IMAGES[HELD_OUT], IMAGES[TRAINED].mean(0))


def test_a_training_that_diverges_is_refused(tmp_path: Path, worker: Worker) -> None:
    image = layers.Input((8, 8, 1), name="image")
    model = keras.Model(image, flat(1)(image))
    targets = np.where(np.arange(1200) == 700, np.nan, MIDDLES[TRAINED, 0])
    training = FineTuning.on_arrays(IMAGES[TRAINED], targets, epochs=2)
    with pytest.raises(InputError, match="training diverged: its loss is nan in epoch 1; give a lower learning rate"):
        export_tflite(model, tmp_path / "a.tflite", "int8", calibration=IMAGES[:50], qat=training, worker=worker)
    assert not list(tmp_path.iterdir())
