"""`keras-classics demo`: the whole road on data that packages ship, on two cores in minutes. `make demo` runs it.

Digits: LeNet-5, trained from nothing. Photos: MobileNetV2 with its published ImageNet weights gets a new classifier for
views of six photos of scikit-image. Both are exported in float, in int8 and with quantization-aware training; each file
is verified on the whole test part and timed on this CPU. It is also an example of the library: what the commands do,
called from Python.
"""

from __future__ import annotations

import argparse
import html
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_classics.errors import ArgumentParser, FailedPartError, InputError, command_line, require
from keras_classics.quiet import start_keras

if TYPE_CHECKING:
    import keras

    from export.client import Worker
    from export.report import Report
    from keras_classics.datasets.parts import Dataset

NAME = "keras-classics demo"
MODES = {"float32": "float32", "int8": "int8", "int8-qat": "int8 QAT"}
DIGIT_EPOCHS, QAT_EPOCHS = 20, 2
PHOTOS = ("astronaut", "cat", "coffee", "hubble_deep_field", "retina", "rocket")
PHOTO_SIDE, VIEW_SIDE = 96, 128
VIEWS = {"train": 20, "val": 4, "test": 20}
PHOTO_EPOCHS = 10
SHOWN_PHOTOS = 12
MARK = ".keras-classics-demo"
"""The file that says of a folder that a demo made it, and that the next one may empty it."""


@dataclass(frozen=True)
class Row:
    """One file of the table: what its report says, and its latency in µs."""

    model: str
    mode: str
    report: Report
    p50: float
    p90: float


def parser(prog: str = NAME) -> argparse.ArgumentParser:
    """What the verb takes."""
    result = ArgumentParser(prog=prog, description="The whole road in minutes: train, quantize, verify, time.")
    result.add_argument("--quick", action="store_true", help="the digits alone, without photos")
    result.add_argument("--output", type=Path, default=Path("demo-output"), metavar="DIR", help="default demo-output")
    result.add_argument("--verbose", action="store_true", help="let the backend say what it has to say")
    return result


@command_line
def main(arguments: Sequence[str] | None = None, prog: str = NAME) -> None:
    """Train, export, time; print one table, draw one picture and write one page."""
    chosen = parser(prog).parse_args(arguments)
    require("tensorflow", "ai_edge_litert", "tf_keras", "tensorflow_model_optimization", "mlxtend", "jsonschema")
    if not chosen.quick:
        require("skimage")
    start_keras(chosen.verbose)
    from rich.console import Console

    from export.client import Worker

    console, started, output = Console(), time.perf_counter(), chosen.output
    emptied(output)
    reports: list[tuple[str, str, Report]] = []
    with Worker() as worker:
        console.rule("digits: LeNet-5, from nothing")
        reports += exported("lenet5", *digits(output), output, worker)
        if not chosen.quick:
            console.rule("photos: MobileNetV2, from its ImageNet weights")
            reports += exported("mobilenet_v2", *photos(output), output, worker)
    console.rule("latency on this CPU")
    rows = timed(reports, output / "latency.jsonl")
    draw(rows, output / "accuracy-latency.png")
    if not chosen.quick:
        write_page(rows, output)
    show(rows, console)
    console.print(
        f"files      {output}/*.tflite\nreports    {output}/*.json\nlatencies  {output / 'latency.jsonl'}\n"
        f"picture    {output / 'accuracy-latency.png'}"
        + ("" if chosen.quick else f"\npage       {output / 'photos.html'}"),
        highlight=False,
    )
    console.print(f"{time.perf_counter() - started:.0f} s in all")


def emptied(output: Path) -> None:
    """Make the folder, without what an earlier demo left in it.

    Raises:
        InputError: it holds something else, which is not ours to remove.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir()) and not (output / MARK).is_file()):
        raise InputError(f"{output} holds other things than a demo; give another --output, or remove it")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    (output / MARK).touch()


def digits(output: Path) -> tuple[keras.Model, Dataset]:
    """LeNet-5, trained on 3,500 digits."""
    from keras_classics.datasets import data

    return trained(output / "lenet5", ["lenet5", "--data", "mnist", "--epochs", str(DIGIT_EPOCHS)]), data.load("mnist")


def photos(output: Path) -> tuple[keras.Model, Dataset]:
    """MobileNetV2 with a new classifier, of which alone the weights are trained, on views of photos."""
    from keras_classics.datasets import data

    write_views(output / "photos")
    shape = (PHOTO_SIDE, PHOTO_SIDE, 3)
    size = ["--input-shape", *map(str, shape), "--epochs", str(PHOTO_EPOCHS)]
    words = ["mobilenet_v2", "--weights", "imagenet", "--data", str(output / "photos"), *size]
    return trained(output / "mobilenet_v2", words), data.load(str(output / "photos"), shape)


def trained(folder: Path, words: list[str]) -> keras.Model:
    """What `keras-classics train` makes of these words."""
    from keras_classics import train
    from keras_classics.weights import load_model

    if code := train.main([*words, "--output", str(folder)]):
        raise FailedPartError(f"the training of {words[0]} ended with exit code {code}; its message stands above")
    return load_model(folder / "model.keras")


def write_views(folder: Path) -> None:
    """Random crops of each photo, turned and lit at random, as files by part and class."""
    import numpy as np
    import skimage.data
    from PIL import Image, ImageEnhance

    random = np.random.default_rng(0)
    for name in PHOTOS:
        photo = Image.fromarray(getattr(skimage.data, name)())
        photo.thumbnail((512, 512))
        for part, count in VIEWS.items():
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                side = min(photo.size) * random.uniform(0.55, 0.95)
                left, top = (random.uniform(0, length - side) for length in photo.size)
                view = photo.crop((int(left), int(top), int(left + side), int(top + side)))
                turned = view.rotate(random.uniform(-12, 12), Image.Resampling.BILINEAR)
                small = turned.resize((VIEW_SIDE, VIEW_SIDE))
                lit = ImageEnhance.Brightness(small).enhance(random.uniform(0.7, 1.2))
                lit.save(folder / part / name / f"{index:02}.jpg", quality=90)


def exported(
    name: str, model: keras.Model, dataset: Dataset, output: Path, worker: Worker
) -> Iterator[tuple[str, str, Report]]:
    """Three files of one trained model: float, int8 after training, int8 with quantization-aware training."""
    import numpy as np

    from export.pipeline import export_tflite
    from export.quantization.qat import FineTuning
    from keras_classics import train

    size = min(32, len(dataset.train))

    def batches(epoch: int) -> Iterator[Any]:
        yield from train.batches(dataset.train, size, [1, epoch], dataset.augmentation)

    few = len(dataset.calibration) < len(dataset.train) < 500
    parts = [dataset.calibration, dataset.train] if few else [dataset.calibration]
    for mode in MODES:
        report = export_tflite(
            model,
            output / f"{name}-{mode}.tflite",
            "float32" if mode == "float32" else "int8",
            calibration=np.concatenate([part.images() for part in parts]),
            evaluation=(dataset.test.images(), dataset.test.labels),
            qat=FineTuning(batches, len(dataset.train) // size, QAT_EPOCHS) if mode == "int8-qat" else None,
            input_range=(0.0, 1.0),
            class_names=dataset.class_names,
            max_drop=5.0 if few else None,  # 120 photos cannot show one point
            worker=worker,
        )
        print(f"{report.path}: {report.accuracy:.2%} of {report.evaluated} test images", flush=True)
        yield name, mode, report


def timed(reports: Sequence[tuple[str, str, Report]], results: Path) -> list[Row]:
    """Time all files, interleaved, in LiteRT with one thread."""
    import numpy as np

    files = [report.path for _, _, report in reports]
    command = [sys.executable, "-m", "android_bench", "run", *files, "--repeats", "3", "--output", str(results)]
    ended = subprocess.run(command, stdout=subprocess.DEVNULL)
    if ended.returncode:
        raise FailedPartError(f"android_bench ended with exit code {ended.returncode}; its message stands above")
    measured = [json.loads(line) for line in results.read_text().splitlines()]
    rows = []
    for model, mode, report in reports:
        samples = [each for row in measured if row["model_sha256"] == report.sha256 for each in row["samples_us"]]
        p50, p90 = np.percentile(samples, [50, 90])
        rows.append(Row(model, mode, report, float(p50), float(p90)))
    return rows


def interval(right: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, in percent: what `count` test images tell of all others."""
    from scipy.stats import binomtest

    found = binomtest(round(right * count), count).proportion_ci(method="wilson")
    return 100 * float(found.low), 100 * float(found.high)


def show(rows: Sequence[Row], console: Any) -> None:
    """Print the table, which fits 80 columns."""
    from rich import box
    from rich.table import Table

    caption = "95 %: interval of the accuracy; p50, p90: µs of an inference, LiteRT, 1 thread"
    table = Table(caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("model", "mode", "accuracy", "95 %", "kB", "p50", "p90"):
        table.add_column(column, justify="left" if column in ("model", "mode") else "right", no_wrap=True)
    for row in rows:
        accuracy = row.report.accuracy or 0.0
        low, high = interval(accuracy, row.report.evaluated)
        figures = (f"{accuracy:.1%}", f"{low:.1f} – {high:.1f}", f"{row.report.size_bytes / 1000:.0f}")
        table.add_row(row.model, MODES[row.mode], *figures, f"{row.p50:.0f}", f"{row.p90:.0f}")
    console.print(table)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Accuracy with its interval against latency; a horizontal whisker reaches from p50 to p90."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row.model for row in rows))
    figure = Figure(figsize=(5 * len(names), 4), layout="constrained")
    markers = dict(zip(MODES, "os^", strict=True))
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for row in (row for row in rows if row.model == name):
            accuracy = 100 * (row.report.accuracy or 0.0)
            low, high = interval(accuracy / 100, row.report.evaluated)
            axes.errorbar(
                row.p50,
                accuracy,
                xerr=[[0], [max(0.0, row.p90 - row.p50)]],
                yerr=[[accuracy - low], [max(0.0, high - accuracy)]],
                marker=markers[row.mode],
                markersize=9,
                markeredgecolor="white",
                linestyle="none",
                capsize=3,
                label=MODES[row.mode],
            )
        count = next(row.report.evaluated for row in rows if row.model == name)
        axes.set(xlabel="latency on this CPU, 1 thread (µs, p50 to p90)", ylabel="accuracy (%, 95 % interval)")
        axes.set_title(f"{name}, {count} test images")
        axes.set_xlim(left=0)
        axes.set_ylim(top=100.2)
        axes.grid(alpha=0.3)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize="small", loc="outside lower center", ncols=len(MODES))
    figure.savefig(path, dpi=120)


def write_page(rows: Sequence[Row], output: Path) -> None:
    """Test photos with what the float and the int8 file say of them."""
    from export.classifier import load_classifier
    from keras_classics.files import write_text

    paths = sorted((output / "photos" / "test").rglob("*.jpg"))
    shown = paths[:: max(1, len(paths) // SHOWN_PHOTOS)]
    cards = {path: [f"<p><b>{html.escape(path.parent.name)}</b></p>"] for path in shown}
    for row in rows:
        if row.model == "mobilenet_v2":
            found = load_classifier(row.report.path).predict(shown, top=1)
            for path, (best,) in zip(shown, found, strict=True):
                mark = "right" if best.name == path.parent.name else "wrong"
                answer = f"{html.escape(best.name)} {best.probability:.1%}"
                cards[path].append(f'<p class="{mark}">{MODES[row.mode]}: {answer}</p>')
    figures = "\n".join(
        f'<figure><img src="{path.relative_to(output).as_posix()}" alt="{html.escape(path.parent.name)}" width="128" '
        f'height="128">{"".join(lines)}</figure>'
        for path, lines in cards.items()
    )
    style = (
        "body{font:15px/1.4 system-ui;margin:1rem;max-width:70rem}main{display:flex;flex-wrap:wrap;gap:1rem}"
        "figure{margin:0;width:11rem}p{margin:.1rem 0}.wrong{color:#b00020}.wrong::after{content:' ✗'}"
    )
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    text = (
        "Test views of photos that scikit-image ships, and what each file says of them. Other views of the same "
        "photos, cropped, turned and lit otherwise, were trained on."
    )
    body = f"<h1>What the files say</h1><p>{text}</p><main>{figures}</main>"
    write_text(
        output / "photos.html", f"{head}<title>Keras Classics: demo</title><style>{style}</style>{body}</html>\n"
    )


if __name__ == "__main__":
    sys.exit(main())
