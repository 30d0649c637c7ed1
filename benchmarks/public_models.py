"""Models that the public builds, float and int8 by us and by TensorFlow's converter, with the same calibration.

    python benchmarks/public_models.py [NAME…]

The networks (`public_models_zoo.py`) are trained for a little on data that packages ship: MNIST's digits as images, row
by row as sequences, in pairs, beside each other and on a background; scikit-learn's breast cancer table. Figures of
models that are not named stay as the JSON has them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"  # the one backend that the converter takes
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import agreement
import interleaved
import keras
import numpy as np
import public_models_zoo as zoo
import tensorflow as tf
from published import publish, table

from export import Worker, export_tflite
from export.tflite_file.audit import audit
from export.tflite_file.interpreter import Interpreter
from export.verification.parity import keras_outputs, relative_rms
from keras_classics.datasets import data

CALIBRATION = 100
JUDGED = 256
NOISE = 2.0  # standard errors
COLUMNS = ("model", "parameters", "float parity: ours", "converter", "SQNR, dB: ours", "converter", "ours − converter")
COLUMNS += ("agree: ours", "converter", "metric: float", "ours", "converter", "integer only: ours", "converter")


@dataclass
class Task:
    """A network and its data.

    Attributes:
        train, calibration, test: (N, …) for each input.
        targets, test_targets: for the loss, and for the metric: classes of samples or of their places, or values.
        loss: as `keras.Model.compile` takes it.
        epochs, learning_rate: of training by Adam.
        of_classes: whether outputs are scores of classes, or one score of "yes".
    """

    model: keras.Model
    train: list[np.ndarray]
    targets: np.ndarray
    calibration: list[np.ndarray]
    test: list[np.ndarray]
    test_targets: np.ndarray
    loss: Any
    epochs: int = 3
    learning_rate: float = 2e-3
    of_classes: bool = True


def digits() -> tuple[Any, Any, Any]:
    """Images (N, 32, 32, 1) and classes of the training, calibration and test part."""
    parts = data.load("mnist")
    images = [each.images().astype(np.float32) for each in (parts.train, parts.calibration, parts.test)]
    labels = [each.labels for each in (parts.train, parts.calibration, parts.test)]
    return tuple(zip(images, labels, strict=True))


CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def classified(
    build: Callable[..., keras.Model], as_rows: bool = False, epochs: int = 4, learning_rate: float = 2e-3
) -> Callable[[], Task]:
    """A task of digits, as images or row by row."""

    def task() -> Task:
        (train, labels), (calibration, _), (test, truth) = digits()
        if as_rows:
            train, calibration, test = (each[..., 0] for each in (train, calibration, test))
        model = build(train.shape[1:], 10)
        return Task(model, [train], labels, [calibration], [test], truth, CROSS_ENTROPY, epochs, learning_rate)

    return task


def segmented(build: Callable[..., keras.Model]) -> Callable[[], Task]:
    """A task of finding a digit on a background and naming it, place by place; class 0 is the background."""

    def scene(images: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        slope = random.uniform(-0.3, 0.3, (2, len(images), 1, 1))
        places = np.linspace(-1, 1, 32)
        ground = 0.4 + slope[0] * places[:, None] + slope[1] * places[None]
        ground = ground[..., None] + random.normal(0, 0.03, images.shape)
        classes = np.where(images[..., 0] > 0.3, labels[:, None, None] + 1, 0)
        return np.clip(np.maximum(ground, images), 0, 1).astype(np.float32), classes

    def task() -> Task:
        parts = [scene(*part, seed) for seed, part in enumerate(digits())]
        (train, classes), (calibration, _), (test, truth) = parts
        model = build(train.shape[1:], 11)
        return Task(model, [train], classes, [calibration], [test], truth, CROSS_ENTROPY)

    return task


def paired() -> Task:
    """Do two digits show the same?"""

    def pairs(images: np.ndarray, labels: np.ndarray, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
        random = np.random.default_rng(seed)
        other = random.permutation(len(images))
        for index in range(0, len(images), 2):  # every other pair shows the same
            other[index] = random.choice(np.flatnonzero(labels == labels[index]))
        return [images, images[other]], (labels == labels[other]).astype(np.float32)[:, None]

    (train, same), (calibration, _), (test, truth) = (pairs(*part, seed) for seed, part in enumerate(digits()))
    model = zoo.siamese(train[0].shape[1:])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return Task(model, train, same, calibration, test, truth, loss, epochs=5)


def rebuilt() -> Task:
    """Digits through a narrow place."""
    (train, _), (calibration, _), (test, _) = digits()
    model = zoo.autoencoder(train.shape[1:])
    return Task(model, [train], train, [calibration], [test], test, "binary_crossentropy", of_classes=False)


def tabular() -> Task:
    """Numbers and categories: some columns of a table as numbers, others by their tenths."""
    from sklearn.datasets import load_breast_cancer

    values, classes = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(values))
    values, classes = values[order], classes[order]
    numbers = ((values[:, :20] - values[:, :20].mean(0)) / values[:, :20].std(0)).astype(np.float32)
    ranks = (values[:, 20:26].argsort(0).argsort(0) * 10 // len(values)).astype(np.int32)
    inputs = [numbers, *(ranks[:, index : index + 1] for index in range(6))]

    def part(start: int, stop: int) -> list[np.ndarray]:
        return [each[start:stop] for each in inputs]

    model = zoo.deep_and_wide(20, 6, 10, 2)
    train, calibration, test = part(0, 300), part(200, 300), part(300, 569)
    return Task(model, train, classes[:300], calibration, test, classes[300:], CROSS_ENTROPY, epochs=30)


def written() -> Task:
    """Three digits beside each other, and at each step the one that is there."""

    def lines(images: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = np.random.default_rng(seed).integers(0, len(images), (len(images), 3))
        joined = np.concatenate([images[chosen[:, place]] for place in range(3)], axis=2)
        inked = joined[..., 0].max(axis=1).reshape(len(images), -1, 4).max(axis=2) > 0.3
        return joined, np.where(inked, np.repeat(labels[chosen] + 1, 8, axis=1), 0)

    (train, steps), (calibration, _), (test, truth) = (lines(*part, seed) for seed, part in enumerate(digits()))
    return Task(zoo.crnn(train.shape[1:], 11), [train], steps, [calibration], [test], truth, CROSS_ENTROPY, epochs=6)


TASKS: dict[str, Callable[[], Task]] = {
    "ViT": classified(zoo.vit, epochs=10, learning_rate=5e-4),
    "MobileViT-like": classified(zoo.mobilevit),
    "MLP-Mixer": classified(zoo.mlp_mixer, epochs=6),
    "ConvMixer": classified(zoo.convmixer),
    "Siamese": paired,
    "U-Net": segmented(zoo.unet),
    "DeepLab-like": segmented(zoo.deeplab),
    "Keyword GRU": classified(zoo.keyword_gru, as_rows=True, epochs=6),
    "TCN": classified(zoo.tcn, as_rows=True),
    "Autoencoder": rebuilt,
    "Deep & Wide": tabular,
    "CRNN": written,
}


def trained(task: Task) -> keras.Model:
    """The task's network after its training."""
    inputs = task.train if len(task.train) > 1 else task.train[0]
    task.model.compile(keras.optimizers.Adam(task.learning_rate), task.loss)
    task.model.fit(inputs, task.targets, batch_size=64, epochs=task.epochs, verbose=0)
    return task.model


def stock(model: keras.Model, samples: Sequence[np.ndarray] | None, path: Path) -> None:
    """`TFLiteConverter.from_keras_model`: float, or full-integer as TensorFlow's guide has it."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if samples is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        names = [each.name for each in model.inputs]
        converter.representative_dataset = lambda: (
            {name: array[index : index + 1] for name, array in zip(names, samples, strict=True)}
            for index in range(len(samples[0]))
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        path.write_bytes(converter.convert())


def compare(task: Task, worker: Worker, folder: Path) -> dict[str, Any]:
    """Both producers' float and int8 files beside the Keras model."""
    model = trained(task)
    test = [array[:JUDGED] for array in task.test]
    (expected,) = keras_outputs(model, test)
    calibration = [array[:CALIBRATION] for array in task.calibration]
    given = tuple(calibration) if len(calibration) > 1 else calibration[0]
    figures: dict[str, Any] = {"parameters": model.count_params(), "metric": _metric(task, expected)}
    noise: dict[str, np.ndarray] = {}
    for producer in ("ours", "converter"):
        row: dict[str, Any] = {}
        figures[producer] = row
        for mode in ("float32", "int8"):
            path = folder / f"{producer}-{mode}.tflite"
            samples = calibration if mode == "int8" else None
            try:
                if producer == "ours":
                    options = {"calibration": given} if samples else {}
                    export_tflite(model, path, mode, gate=False, worker=worker, **options)
                else:
                    stock(model, samples, path)
                (found,) = Interpreter(path).run(_in_order_of(path, model, test))
            except Exception as error:  # what a converter raises is its own affair
                row[f"{mode}_refused"] = " ".join(str(error).split())[:300]
                continue
            if mode == "float32":
                row["parity"] = relative_rms([expected], [found])
                continue
            noise[producer] = _sqnr(expected, found)
            row |= {"sqnr": float(noise[producer].mean()), "metric": _metric(task, found)}
            row["agree"] = _agreement(task, expected, found)
            row["integer_only"] = audit(path).fully_integer
            row["bytes"] = path.stat().st_size
    if len(noise) == 2:
        difference = noise["ours"] - noise["converter"]
        error = agreement.standard_error(difference, list(map(str, range(len(difference)))))
        worse = bool(difference.mean() < -NOISE * error)
        figures["difference"] = {"mean": float(difference.mean()), "error": error, "worse": worse}
    return figures


def _in_order_of(path: Path, model: keras.Model, samples: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Samples as a file has its inputs, which the converter orders by their names."""
    from ai_edge_litert.interpreter import Interpreter as Runtime

    details = Runtime(str(path)).get_input_details()
    given = {each.name: array for each, array in zip(model.inputs, samples, strict=True)}
    return [given[each["name"].removeprefix("serving_default_").removesuffix(":0")] for each in details]


def _sqnr(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Of each sample, in dB."""
    expected, found = (each.reshape(len(each), -1).astype(np.float64) for each in (expected, found))
    noise = np.square(expected - found).sum(axis=1)
    return 10 * np.log10(np.maximum(np.square(expected).sum(axis=1), 1e-30) / np.maximum(noise, 1e-30))


def _chosen(outputs: np.ndarray) -> np.ndarray:
    return outputs[..., 0] > 0 if outputs.shape[-1] == 1 else outputs.argmax(axis=-1)


def _agreement(task: Task, expected: np.ndarray, found: np.ndarray) -> float | None:
    return float((_chosen(expected) == _chosen(found)).mean()) if task.of_classes else None


def _metric(task: Task, outputs: np.ndarray) -> float:
    """Accuracy, of samples or places; of values the mean absolute error."""
    truth = task.test_targets[: len(outputs)]
    if not task.of_classes:
        return float(np.abs(outputs - truth).mean())
    return float((_chosen(outputs) == (truth[..., 0] if outputs.shape[-1] == 1 else truth)).mean())


def _cells(name: str, row: dict[str, Any]) -> list[str]:
    def of(producer: str, key: str, form: str) -> str:
        value = row[producer].get(key)
        refused = f"{'float32' if key == 'parity' else 'int8'}_refused" in row[producer]
        return "refused" if refused else "" if value is None else f"{value:{form}}"

    difference = row.get("difference")
    return [
        name,
        f"{row['parameters']:,}",
        *(of(producer, "parity", ".0e") for producer in ("ours", "converter")),
        *(of(producer, "sqnr", ".1f") for producer in ("ours", "converter")),
        f"{difference['mean']:+.1f} ± {difference['error']:.1f}" if difference else "",
        *(of(producer, "agree", ".1%") for producer in ("ours", "converter")),
        f"{row['metric']:.4f}",
        *(of(producer, "metric", ".4f") for producer in ("ours", "converter")),
        *(
            {True: "yes", False: "no"}.get(row[producer].get("integer_only"), "refused")
            for producer in ("ours", "converter")
        ),
    ]


def paragraphs(found: dict[str, dict[str, Any]]) -> list[str]:
    """The page."""
    compared = [name for name, row in found.items() if "difference" in row]
    worse = [name for name in compared if found[name]["difference"]["worse"]]
    refusals = [
        f"{name}, {mode} by {'our export' if producer == 'ours' else 'the converter'}: "
        f"{row[producer][f'{mode}_refused'][:160]}"
        for name, row in found.items()
        for producer in ("ours", "converter")
        for mode in ("float32", "int8")
        if f"{mode}_refused" in row[producer]
    ]
    verdict = f"Ours is worse by more than noise on {len(worse)} of {len(compared)}"
    return [
        "# Networks that the public builds\n\n"
        "Small networks written from their descriptions, trained for a little, then each a file by our export "
        "(`--int8`) and by `TFLiteConverter.from_keras_model` (full-integer post-training quantization), "
        f"both calibrated on the same {CALIBRATION} samples. Figures are of {JUDGED} samples that neither has seen. "
        "Float parity is the relative RMS to the Keras model; SQNR is of the outputs, the mean over samples, ± one "
        "standard error of the paired difference; agreement is of the first class with the Keras model's, of each "
        "place where there are several. The metric is accuracy (autoencoder: mean absolute error). Noise is two "
        "standard errors.",
        table(COLUMNS, [_cells(name, row) for name, row in found.items()]),
        f"{verdict}{': ' * bool(worse)}{', '.join(worse)}.",
        *(["Refused:\n\n" + "\n".join(f"- {each}" for each in refusals)] if refusals else []),
        interleaved.footnote("keras", "tensorflow", "ai-edge-litert"),
    ]


def main() -> None:
    """Compare those that are named, or all, and write `public_models.md` and `public_models.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TASKS)}; all by default")
    parser.add_argument("--docs", type=Path, default=interleaved.DOCS, help="where the table goes")
    options = parser.parse_args()
    record = options.docs / "public_models.json"
    before: dict[str, Any] = json.loads(record.read_text()) if record.exists() else {}
    found: dict[str, Any] = {}
    with Worker() as worker, tempfile.TemporaryDirectory() as folder:
        for name, make in TASKS.items():
            if name in (options.names or TASKS):
                keras.utils.set_random_seed(0)
                found[name] = compare(make(), worker, Path(folder))
            elif name in before:
                found[name] = before[name]
            publish(options.docs, "public_models", paragraphs(found), found)


if __name__ == "__main__":
    sys.exit(main())
