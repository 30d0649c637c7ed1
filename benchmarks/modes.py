"""What each mode of export gives and costs, for several models: one table, written to docs/modes.md.

    python benchmarks/modes.py [--models resnet50 …] [--rounds N]

LeNet-5 and the slim MobileNetV2 are trained on MNIST first; the others have random weights, and their
quality is the distance of their outputs from the float model's.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from interleaved import fastest, footnote, litert, ratios, rounds
from rich.console import Console

import keras_classics as kc
from export import FineTuning, Report, Worker, export_tflite
from export.samples import smooth_images
from keras_classics import data, train
from keras_classics.files import write_text

TRAINED = ("lenet5", "mobilenet_v2")
RANDOM = ("alexnet", "vgg16", "googlenet", "resnet18", "resnet50")
MODES: dict[str, dict[str, Any]] = {
    "float32": {},
    "float16": {"mode": "float16"},
    "dynamic": {"mode": "dynamic"},
    "int8": {"mode": "int8"},
    "int8, converter's ranges": {"mode": "int8", "ptq": "plain"},
    "int8, QAT": {"mode": "int8", "qat": True},
    "int16x8": {"mode": "int16x8"},
}
OF_TRAINED = ("int8, QAT", "int16x8")
REFERENCE = "float32"
BLOCK = 5
HEAD = """# Modes compared

Made by `python benchmarks/modes.py`. Latency is that of LiteRT at one thread, as a ratio to float32 measured in
turn with it ({rounds} rounds; in brackets the 95 % interval of the median). Accuracy is that of 1,000 MNIST test
images after {epochs} epochs of training. Models with random weights have none and are compared on smooth random
images, where the share of images that keep their class says little; untrained MobileNets are left out, whose
values fade on the way (MobileNetV1's logits to 1e-17), so that int8 has nothing to keep. SQNR is that of the logits.

| model | mode | bytes | gzip | accuracy | same class | SQNR dB | latency | integer only |
|---|---|---:|---:|---:|---:|---:|---:|---|
"""


@dataclass
class Subject:
    """A model with the data that its exports need."""

    title: str
    model: keras.Model
    data: dict[str, Any]
    qat: FineTuning | None = None


def trained(name: str, epochs: int) -> Subject:
    """Trained on MNIST; calibrated and evaluated on its other parts."""
    mnist = data.load("mnist")
    model = train.build(name, mnist, seed=0)
    train.fit(model, mnist, epochs=epochs, seed=0)
    digits = {
        "calibration": mnist.calibration.images(),
        "evaluation": (mnist.test.images(), mnist.test.labels),
        "input_range": (0.0, 1.0),
    }
    qat = FineTuning.on_arrays(mnist.train.images(), mnist.train.labels, epochs=2)
    return Subject(f"{name}, trained, {_pixels(model)}", model, digits, qat)


def random(name: str, size: int) -> Subject:
    """As it is built."""
    keras.utils.set_random_seed(0)
    model = kc.create_model(name, input_shape=(size, size, 3))
    images = {"calibration": smooth_images((size, size, 3)), "input_range": (0.0, 1.0)}
    return Subject(f"{name}, random weights, {_pixels(model)}", model, images)


def _pixels(model: keras.Model) -> str:
    return "×".join(str(side) for side in model.inputs[0].shape[1:])


def compare(subject: Subject, folder: Path, count: int, worker: Worker) -> list[str]:
    """The table's rows of one model."""
    reports: dict[str, Report] = {}
    for number, (mode, options) in enumerate(MODES.items()):
        if mode in OF_TRAINED and subject.qat is None:
            continue
        if "qat" in options:
            options = options | {"qat": subject.qat}
        path = folder / f"{number}.tflite"
        reports[mode] = export_tflite(subject.model, path, gate=False, worker=worker, **options, **subject.data)
    tasks = {mode: fastest(litert(report.path), BLOCK) for mode, report in reports.items()}
    times = ratios(rounds(tasks, count), REFERENCE)
    rows = []
    for mode, report in reports.items():
        parity = report.parity
        sqnr = "" if parity["sqnr_db"] is None else f"{parity['sqnr_db']:.1f}"
        accuracy = "" if report.accuracy is None else f"{report.accuracy:.2%}"
        latency = "1" if mode == REFERENCE else str(times[mode])
        cells = (
            *(subject.title, mode, f"{report.size_bytes:,}", f"{report.gzip_bytes:,}", accuracy),
            *(f"{parity['argmax_agreement']:.1%}", sqnr, latency, "yes" if report.fully_integer else "no"),
        )
        rows.append("| " + " | ".join(cells) + " |\n")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=RANDOM, help="those with random weights")
    parser.add_argument("--size", type=int, default=224, help="their input's height and width (default 224)")
    parser.add_argument("--epochs", type=int, default=8, help="of training the others (default 8)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "docs" / "modes.md")
    options = parser.parse_args()
    text = HEAD.format(rounds=options.rounds, epochs=options.epochs)
    console = Console(stderr=True)
    makers = [(trained, name, options.epochs) for name in TRAINED]
    makers += [(random, name, options.size) for name in options.models]
    with Worker() as worker:
        for make, name, number in makers:
            subject = make(name, number)
            console.print(subject.title)
            with tempfile.TemporaryDirectory() as folder:
                text += "".join(compare(subject, Path(folder), options.rounds, worker))
            write_text(options.output, f"{text}\n{footnote('keras', 'tensorflow', 'ai-edge-litert')}\n")


if __name__ == "__main__":
    main()
