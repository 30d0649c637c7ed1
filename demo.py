"""The whole road on 5,000 real digits: train, quantize, verify, time on this CPU. `make demo` runs this.

It is also the shortest example of the library: what the three command lines do, called from Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

OUTPUT = Path("demo-output")
EPOCHS = {"lenet5": 20, "mobilenet_v2": 15}
QAT_EPOCHS = 2
MODES = {"float32": "float32", "int8": "int8 PTQ", "int8-qat": "int8 QAT"}
RESULTS = OUTPUT / "latency.jsonl"
PICTURE = OUTPUT / "accuracy-latency.png"


def main() -> int:
    """Train both models, export each three ways, time the six files, print one table."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from rich.console import Console

    console, started = Console(), time.perf_counter()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    from export import Worker
    from keras_classics import train

    for name, epochs in EPOCHS.items():
        console.rule(f"training {name}, {epochs} epochs on 3,500 digits")
        code = train.main([name, "--data", "mnist", "--epochs", str(epochs), "--output", str(OUTPUT / name)])
        if code:
            return code
    console.rule("exporting")
    with Worker() as worker:
        for name in EPOCHS:
            for report in export(name, worker):
                console.print(f"{report.path}: {report.accuracy:.2%} of {report.evaluated} test digits")
    console.rule("timing on this CPU")
    if code := measure():
        return code
    console.rule()
    show(console)
    console.print(f"{time.perf_counter() - started:.0f} s in all")
    return 0


def export(name: str, worker) -> Iterator:
    """Three files of one trained model: float, int8 after training, int8 with quantization-aware training."""
    import keras

    from export import FineTuning, export_tflite
    from keras_classics import train
    from keras_classics.datasets import data

    digits = data.load("mnist")
    model = keras.saving.load_model(OUTPUT / name / "model.keras")

    def batches(epoch: int) -> Iterator:
        return train.batches(digits.train, 32, [1, epoch], digits.augmentation)

    for mode in MODES:
        yield export_tflite(
            model,
            OUTPUT / f"{name}-{mode}.tflite",
            "float32" if mode == "float32" else "int8",
            calibration=digits.calibration.images(),
            evaluation=(digits.test.images(), digits.test.labels),
            qat=FineTuning(batches, len(digits.train) // 32, QAT_EPOCHS) if mode == "int8-qat" else None,
            input_range=(0.0, 1.0),
            worker=worker,
        )


def measure() -> int:
    """Time all files, interleaved, in LiteRT and, where its environment is, in tflite-runtime."""
    runtimes = ["litert"]
    if Path(".venv-tflite-runtime/bin/python").exists():
        runtimes.append("tflite-runtime")
    files = [str(OUTPUT / f"{name}-{mode}.tflite") for name in EPOCHS for mode in MODES]
    command = [sys.executable, "-m", "android_bench", "run", *files, "--runtime", *runtimes, "--repeats", "3"]
    return subprocess.run([*command, "--output", str(RESULTS)]).returncode


def show(console) -> None:
    """Print the table and draw the picture, from the reports and the measured rows alone."""
    import json

    import numpy as np
    from rich import box
    from rich.table import Table

    from android_bench import results

    rows = results.read(RESULTS)
    caption = "latency in µs on this CPU with 1 thread, LiteRT, all repeats together; *: tflite-runtime"
    table = Table(title="1,000 test digits of the MNIST sample", caption=caption, box=box.SIMPLE_HEAD)
    for column in ("model", "mode", "accuracy", "kB", "p50", "p90", "p50*", "ops", "int only"):
        table.add_column(column, justify="left" if column in ("model", "mode") else "right")
    points = []
    for name in EPOCHS:
        for mode, title in MODES.items():
            path = OUTPUT / f"{name}-{mode}.tflite"
            report = json.loads(path.with_suffix(".json").read_text())
            samples = {
                runtime: [
                    sample
                    for row in rows
                    if row.model_sha256 == report["sha256"] and row.runtime == runtime
                    for sample in row.samples_us
                ]
                for runtime in ("litert", "tflite-runtime")
            }
            p50, p90 = np.percentile(samples["litert"], [50, 90])
            other = f"{np.median(samples['tflite-runtime']):.0f}" if samples["tflite-runtime"] else "–"
            integer = "yes" if report["fully_integer"] else "no"
            figures = (f"{report['accuracy']:.1%}", f"{report['size_bytes'] / 1000:.0f}")
            table.add_row(
                name, title, *figures, f"{p50:.0f}", f"{p90:.0f}", other, str(sum(report["ops"].values())), integer
            )
            points.append((name, title, report["accuracy"], p50, p90))
    draw(points)
    console.print(table)
    console.print(
        f"files      {OUTPUT}/*.tflite\nreports    {OUTPUT}/*.json\nlatencies  {RESULTS}\npicture    {PICTURE}"
    )


def draw(points: list[tuple[str, str, float, float, float]]) -> None:
    """Accuracy against latency; the whisker reaches from p50 to p90."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    markers = dict(zip(MODES.values(), "os^", strict=True))
    colors = dict(zip(EPOCHS, ("tab:blue", "tab:orange"), strict=True))
    for name, mode, accuracy, p50, p90 in points:
        axes.errorbar(
            p50, 100 * accuracy, xerr=[[0], [p90 - p50]], marker=markers[mode], color=colors[name], markersize=9,
            label=f"{name}, {mode}", linestyle="none", capsize=3,
        )  # fmt: skip
    axes.set(
        xscale="log", xlabel="latency on this CPU, LiteRT, 1 thread (µs, p50 to p90)",
        ylabel="accuracy on 1,000 test digits (%)", title="Accuracy against latency: MNIST sample",
    )  # fmt: skip
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(PICTURE, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
