"""What each mode of export gives and costs, for several models: one table, written to docs/benchmarks/modes.md.

    python benchmarks/modes.py [--models resnet50 …] [--make-only] [--output FOLDER]

LeNet-5 and the slim MobileNetV2 are trained on MNIST first; the others have random weights, and their
quality is the distance of their outputs from the float model's. First the files of all modes are made, where the
folder does not have them yet; then those of one model after the other are timed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from interleaved import DOCS, Ratio, fastest_within, footnote, litert, merged, ratios, rounds
from published import kept, table
from random_weights import live_in

import keras_classics as kc
from export import FineTuning, Worker, export_tflite
from export.data.samples import smooth_images
from keras_classics import train
from keras_classics.datasets import data
from keras_classics.files import write_text

TRAINED = ("lenet5", "mobilenet_v2")
RANDOM = ("alexnet", "vgg16", "googlenet", "resnet18", "resnet50", "mobilenet_v1", "mobilenet_v2")
SIZE = 224
MODES: dict[str, dict[str, Any]] = {
    "float32": {},
    "float16": {"mode": "float16"},
    "dynamic": {"mode": "dynamic"},
    "int8": {"mode": "int8"},
    "int8, plain": {"mode": "int8", "ptq": "plain"},
    "int8, QAT": {"mode": "int8", "qat": True},
    "int16x8": {"mode": "int16x8"},
}
OF_TRAINED = ("int8, QAT", "int16x8")
REFERENCE = "float32"
TURN = 0.1  # seconds
HEAD = """# Modes compared

Made by `python benchmarks/modes.py`. Latency is that of LiteRT at one thread, as a ratio to float32 measured in
turn with it ({rounds} rounds; in brackets the 95 % interval of the median). Accuracy is that of 1,000 MNIST test
images after {epochs} epochs of training. Models with random weights have none and are compared on smooth random
images, from which their batch normalizations have their statistics; the share of images that keep their class says
little there. SQNR is that of the logits.
"""
COLUMNS = ("model", "mode", "bytes", "gzip", "accuracy", "same class", "SQNR dB", "latency", "integer only")


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


def random(name: str) -> Subject:
    """With random weights."""
    keras.utils.set_random_seed(0)
    images = smooth_images((SIZE, SIZE, 3))
    model = live_in(kc.create_model(name, input_shape=(SIZE, SIZE, 3)), images)
    return Subject(
        f"{name}, random weights, {_pixels(model)}", model, {"calibration": images, "input_range": (0.0, 1.0)}
    )


def _pixels(model: keras.Model) -> str:
    return "×".join(str(side) for side in model.inputs[0].shape[1:])


def make(build: Callable[[], Subject], folder: Path) -> dict[str, Any]:
    """A subject's files, and their reports by mode."""
    subject, reports = build(), {}
    with Worker() as worker:
        for mode, settings in MODES.items():
            if mode in OF_TRAINED and subject.qat is None:
                continue
            if "qat" in settings:
                settings = settings | {"qat": subject.qat}
            path = folder / f"{mode}.tflite"
            report = export_tflite(subject.model, path, gate=False, worker=worker, **settings, **subject.data)
            reports[mode] = asdict(report)
    return {"title": subject.title, "reports": reports}


def timing(made: dict[str, Any], folder: Path, count: int) -> dict[str, Any]:
    """Seconds of every round, by mode, and where they were measured."""
    tasks = {mode: fastest_within(litert(folder / f"{mode}.tflite"), TURN) for mode in made["reports"]}
    return {"seconds": rounds(tasks, count), "made": footnote("keras", "tensorflow", "ai-edge-litert")}


def main() -> None:
    """Make, time, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=RANDOM, default=RANDOM, help="those with random weights")
    parser.add_argument("--epochs", type=int, default=8, help="of training the others (default 8)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--make-only", action="store_true", help="make the files and time nothing")
    parser.add_argument("--again", action="store_true", help="time what was timed before")
    parser.add_argument("--output", type=Path, default=Path("benchmark-output/modes"))
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the table goes")
    options = parser.parse_args()
    makers = {f"{name}-trained": lambda name=name: trained(name, options.epochs) for name in TRAINED}
    makers |= {f"{name}-random": lambda name=name: random(name) for name in options.models}
    made = {}
    for name, build in makers.items():
        folder = options.output / name
        folder.mkdir(parents=True, exist_ok=True)
        made[name] = kept(folder / "reports.json", make, build, folder)
    if options.make_only:
        return
    head, rows, footnotes = HEAD.format(rounds=options.rounds, epochs=options.epochs), [], []
    for name, files in made.items():
        folder = options.output / name
        timed = kept(folder / "timing.json", timing, files, folder, options.rounds, again=options.again)
        found = ratios(timed["seconds"], REFERENCE)
        rows += [_cells(files["title"], mode, report, found[mode]) for mode, report in files["reports"].items()]
        footnotes.append(timed["made"])
        write_text(options.docs / "modes.md", f"{head}\n{table(COLUMNS, rows)}\n\n{merged(footnotes)}\n")


def _cells(title: str, mode: str, report: dict[str, Any], latency: Ratio) -> list[str]:
    parity = report["parity"]
    return [
        *(title, mode, f"{report['size_bytes']:,}"),
        f"{report['gzip_bytes']:,}" if report["gzip_bytes"] else "",
        "" if report["accuracy"] is None else f"{report['accuracy']:.2%}",
        f"{parity['argmax_agreement']:.1%}",
        "" if parity["sqnr_db"] is None else f"{parity['sqnr_db']:.1f}",
        "1" if mode == REFERENCE else str(latency),
        "yes" if report["fully_integer"] else "no",
    ]


if __name__ == "__main__":
    main()
