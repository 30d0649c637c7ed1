"""Our int8 beside the stock converter's on models that nobody tuned our export for: same graph, same calibration.

    python benchmarks/untuned.py [MODEL.keras…] [--applications NAME…] [--output FOLDER]

The .keras files are trainings of `python -m keras_classics.train`; what they were trained on is read from the
`run.json` beside them, and both files are judged on the whole test part. The models of keras.applications
have random weights and are judged on photos. A model whose figures are in the output folder is not done again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import agreement
import interleaved
import keras
import numpy as np
import photos
import produce
from PIL import Image
from published import kept, publish, table
from random_weights import live_in

from export import GateError, export_tflite
from export.tflite_file.interpreter import Interpreter
from export.verification import intervals
from keras_classics import weights
from keras_classics.datasets import data
from keras_classics.errors import InputError, command_line

# name → pixels a side, input range
APPLICATIONS: dict[str, tuple[int, tuple[float, float]]] = {
    "MobileNet": (96, (-1, 1)),
    "MobileNetV2": (96, (-1, 1)),
    "MobileNetV3Small": (96, (0, 255)),
    "EfficientNetB0": (96, (0, 255)),
    "ResNet50": (64, (-1, 1)),
    "ResNet50V2": (64, (-1, 1)),
    "DenseNet121": (64, (-1, 1)),
    "InceptionV3": (96, (-1, 1)),
    "Xception": (96, (-1, 1)),
    "VGG16": (64, (-1, 1)),
}
CLASSES = 100
NOISE = 2.0  # standard errors
JUDGED = ("accuracy", "sqnr")
COLUMNS = ("model", "float", "ours", "converter", "ours: drop from float", "ours − converter, points")
COLUMNS += ("SQNR ours", "converter", "ours − converter, dB", "agree ours", "converter")


@dataclass
class Subject:
    """A model and its data.

    Attributes:
        model: that ends in logits.
        calibration, samples: what ranges come from, and what the files are judged on.
        groups: for each sample, what it belongs to; errors count groups.
        labels: class numbers of the samples, if they have any.
        input_range: of the model's input.
    """

    model: keras.Model
    calibration: np.ndarray
    samples: np.ndarray
    groups: list[str]
    labels: np.ndarray | None
    input_range: tuple[float, float]


def trained(path: Path) -> Subject:
    """A trained model and the dataset of its training."""
    dataset = data.load(_run(path)["data"])
    test = dataset.test.images()
    model = _in_logits(weights.load_model(path))
    groups = list(map(str, range(len(test))))
    return Subject(model, dataset.calibration.images(), test, groups, dataset.test.labels, (0.0, 1.0))


def application(name: str, folder: Path) -> Subject:
    """keras.applications' model with random weights, and the photos at its size."""
    side, limits = APPLICATIONS[name]
    (calibration, _), (samples, groups) = (photos.load(folder, part) for part in ("calibration", "evaluation"))
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(side, side, 3), classes=CLASSES, classifier_activation=None
    )
    calibration, samples = (_resized(images, side, *limits) for images in (calibration, samples))
    return Subject(live_in(model, calibration[: produce.LIVED_IN]), calibration, samples, groups, None, limits)


def compare(make: Callable[[], Subject], folder: Path) -> dict[str, Any]:
    """Both files of one model, and how ours differs from the converter's with the standard error of that.

    Where our export refuses to ship, `refused` says why.
    """
    subject = make()
    expected = subject.model.predict(subject.samples, batch_size=64, verbose=0)
    paths = {name: folder / f"{name}.tflite" for name in ("ours", "converter")}
    folder.mkdir(parents=True, exist_ok=True)
    data_of = {"calibration": subject.calibration, "input_range": subject.input_range}
    try:
        report = export_tflite(subject.model, paths["ours"], "int8", gate=False, **data_of)
    except GateError as error:
        return {"refused": str(error)}
    with contextlib.redirect_stdout(io.StringIO()):
        produce.stock(subject.model, "int8", subject.calibration, paths["converter"])
    found = {name: Interpreter(path).run([subject.samples])[0] for name, path in paths.items()}
    figures: dict[str, Any] = {
        name: asdict(agreement.compare(expected, logits, subject.groups)) for name, logits in found.items()
    }
    figures["tuning"] = asdict(report.tuning) if report.tuning else None
    measured = {"sqnr": {name: _sqnr(expected, logits) for name, logits in found.items()}}
    if subject.labels is not None:
        before = expected.argmax(axis=1) == subject.labels
        right = {name: logits.argmax(axis=1) == subject.labels for name, logits in found.items()}
        measured["accuracy"] = right
        figures["float"] = {"accuracy": float(before.mean())}
        for name in paths:
            figures[name] |= {"accuracy": float(right[name].mean()), "drop": _drop(before, right[name])}
    for quantity, values in measured.items():
        difference = values["ours"].astype(float) - values["converter"]
        error = agreement.standard_error(difference, subject.groups)
        figures[quantity] = {
            "difference": float(difference.mean()),
            "error": error,
            "worse": bool(difference.mean() < -NOISE * error),
        }
    return figures


def _drop(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """In points, with its 95 % interval."""
    low, high = intervals.of_proportions(before, after)
    return {"points": 100 * float(before.mean() - after.mean()), "low": 100 * low, "high": 100 * high}


@command_line
def main() -> None:
    """Compare all, and write `untuned.md` and `untuned.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trained", nargs="*", type=Path, metavar="MODEL.keras")
    parser.add_argument("--applications", nargs="*", choices=APPLICATIONS, default=list(APPLICATIONS))
    parser.add_argument("--photos", type=Path, default=Path("benchmark-output/photos"))
    parser.add_argument("--output", type=Path, default=Path("benchmark-output/untuned"))
    parser.add_argument("--docs", type=Path, default=interleaved.DOCS, help="where the table goes")
    options = parser.parse_args()
    makers = {_title(path): lambda path=path: trained(path) for path in options.trained}
    makers |= {name: lambda name=name: application(name, options.photos) for name in options.applications}
    found = {}
    for title, make in makers.items():
        folder = options.output / title
        found[title] = kept(folder / "figures.json", compare, make, folder)
        publish(options.docs, "untuned", _paragraphs(found), found)


def _run(path: Path) -> dict[str, Any]:
    record = path.with_name("run.json")
    if not record.is_file():
        raise InputError(f"{record} is missing; give models in the folders that python -m keras_classics.train wrote")
    return json.loads(record.read_text())["settings"]


def _title(path: Path) -> str:
    run = _run(path)
    return f"{run['model']}, {run['data']}, seed {run['seed']}"


def _in_logits(model: keras.Model) -> keras.Model:
    """The same model without the softmax of its last layer."""

    def copied(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if layer is model.layers[-1] and "activation" in config:
            config["activation"] = "linear"
        return layer.from_config(config)

    result = keras.models.clone_model(model, clone_function=copied)
    result.set_weights(model.get_weights())
    return result


def _resized(images: np.ndarray, side: int, low: float, high: float) -> np.ndarray:
    small = [np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)) for image in images]
    return np.stack(small).astype(np.float32) / 255 * (high - low) + low


def _sqnr(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    noise = np.square(expected - found).sum(axis=1)
    return 10 * np.log10(np.square(expected).sum(axis=1) / np.maximum(noise, 1e-30))


def _paragraphs(found: dict[str, dict[str, Any]]) -> list[str]:
    compared = {title: row for title, row in found.items() if "refused" not in row}
    worse = [title for title, row in compared.items() if any(row.get(key, {}).get("worse") for key in JUDGED)]
    refused = [f"{title} ({row['refused']})" for title, row in found.items() if "refused" in row]
    verdict = f"Ours is worse by more than noise on {len(worse)} of {len(compared)}" + f": {'; '.join(worse)}" * bool(
        worse
    )
    return [
        "# Models that nobody tuned for\n\n"
        "int8 by `--int8` as it is by default, and by `TFLiteConverter` with the same calibration images. Models of "
        "keras.applications have random weights, whose batch normalizations have the statistics of photos; of "
        "theirs, agreement says little. Accuracy is that of the whole test part; SQNR is that of the logits, the mean "
        "over the samples. ± is one standard error of the paired difference (photos: by subject), noise is two. "
        "The drop from float is in points, with its 95 % interval.",
        table(COLUMNS, [_cells(title, row) for title, row in compared.items()]),
        f"{verdict}." + f" Refused by our export: {'; '.join(refused)}." * bool(refused),
        interleaved.footnote("keras", "tensorflow", "ai-edge-litert"),
    ]


def _cells(title: str, row: dict[str, Any]) -> list[str]:
    accuracy = ["", "", "", "", ""]
    if "accuracy" in row:
        drop, difference = row["ours"]["drop"], row["accuracy"]
        accuracy = [f"{row[name]['accuracy']:.2%}" for name in ("float", "ours", "converter")]
        accuracy.append(f"{drop['points']:.2f} ({drop['low']:.2f} to {drop['high']:.2f})")
        accuracy.append(f"{100 * difference['difference']:+.2f} ± {100 * difference['error']:.2f}")
    return [
        title,
        *accuracy,
        *(f"{row[name]['sqnr_mean']:.1f}" for name in ("ours", "converter")),
        f"{row['sqnr']['difference']:+.2f} ± {row['sqnr']['error']:.2f}",
        *(f"{row[name]['agree']:.1%}" for name in ("ours", "converter")),
    ]


if __name__ == "__main__":
    sys.exit(main())
