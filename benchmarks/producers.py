"""Each classic in each mode as each producer of TFLite files makes it: latency, size and what it keeps.

    python benchmarks/producers.py [--models NAME…] [--modes MODE…] [--make-only | --time-only] [--output FOLDER]

First every file is made that is not in the folder yet; then the files of one model after the other are timed, with
one thread, in random order. Figures stay beside the files: an interrupted run goes on where it stopped, `--again`
times anew. SQNR compares a file with its own float model, before any softmax, on evaluation photos. MobileNetV2 has
torchvision's weights, except where keras.applications builds it; all others have random ones. litert-torch and
onnx2tf live in environments of their own (`produce_torch.py`); without them their rows say so.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import agreement
import interleaved
import matplotlib
import numpy as np
import peaks
import produce
from published import kept, publish, table

from export.tflite_file.interpreter import Interpreter
from keras_classics.errors import InputError, command_line
from keras_classics.files import replacing

matplotlib.use("Agg")

from matplotlib import pyplot as plt

MODELS = ("mobilenet_v2", "mobilenet_v1", "resnet50", "googlenet", "alexnet", "vgg16")
OF_PYTORCH = ("litert-torch", "onnx2tf")
PRODUCERS = {
    "float32": ("ours", "converter", "Keras", "applications", *OF_PYTORCH),
    "dynamic": ("ours", "converter", "LiteRT quantizer", *OF_PYTORCH),
    "int8": ("ours", "ours, plain", "converter", "LiteRT quantizer", "applications", *OF_PYTORCH),
}
COMPARED = 50
TURN = 0.15  # seconds
QUANTIZED = ("dynamic", "int8")
NEXT_TO = 0.05  # of the picture's height, or of our float32's latency
COLUMNS = ("model", "mode, producer", "MB", "ms", "/ our float32", "ours / it", "of the peak", "SQNR, dB", "agree")


def known(name: str, producer: str) -> bool:
    """Whether the producer has this architecture."""
    if producer == "applications":
        return name in produce.APPLICATIONS
    return producer not in OF_PYTORCH or name not in produce.WITHOUT_PYTORCH


def missing(producer: str, options: argparse.Namespace) -> list[Path]:
    """What the producer needs and is not here."""
    needs = {"litert-torch": [options.torch_python], "onnx2tf": [options.torch_python, options.onnx2tf]}
    return [path for path in needs.get(producer, []) if not path.exists()]


def make(name: str, mode: str, producer: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One file, made in a process of its own, and what it keeps; `error` where the producer cannot make it."""
    path = folder / name / f"{mode}, {producer}.tflite"
    command = [sys.executable, produce.__file__]
    if producer in OF_PYTORCH:
        command = [options.torch_python, Path(produce.__file__).with_name("produce_torch.py")]
    command += [producer, name, mode, path]
    command += ["--calibration", folder / "calibration.npy", "--evaluation", folder / "evaluation.npy"]
    if producer == "onnx2tf":
        command += ["--onnx2tf", options.onnx2tf.absolute()]
    if name == "mobilenet_v2" and producer != "applications":
        command += ["--weights", agreement.checkpoint()]
    path.parent.mkdir(exist_ok=True)
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:200]}
    images, expected = np.load(folder / "evaluation.npy"), np.load(path.with_suffix(".npy"))
    found = agreement.compare(expected, Interpreter(path).run([images])[0], list(map(str, range(len(images)))))
    figures = {"bytes": path.stat().st_size, "sqnr": found.sqnr_mean, "agree": found.agree}
    return figures | json.loads(done.stdout.splitlines()[-1])


def make_all(name: str, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """All files of one model that are not there yet, unless they are only to be timed, and the figures of all."""
    rows: dict[str, dict[str, Any]] = {}
    for mode in options.modes:
        for producer in PRODUCERS[mode]:
            label = f"{mode}, {producer}"
            record = options.output / name / f"{label}.figures.json"  # .json is our export's report
            if not known(name, producer) or (options.time_only and not record.exists()):
                continue
            if not record.exists() and (absent := missing(producer, options)):
                rows[label] = {"error": f"not run: no {absent[0]}"}
            else:
                rows[label] = kept(record, make, name, mode, producer, options.output, options)
    return rows


def timing(name: str, rows: dict[str, dict[str, Any]], folder: Path, count: int) -> dict[str, Any]:
    """Seconds of every round of all files of one model, in turn with the processor's peak, and where that was."""
    tasks = {label: folder / name / f"{label}.tflite" for label, row in rows.items() if "error" not in row}
    calls = {label: interleaved.fastest_within(interleaved.litert(path), TURN) for label, path in tasks.items()}
    found = interleaved.rounds(calls | peaks.peaks(folder), count)
    made = interleaved.footnote("keras", "tensorflow", "ai-edge-litert", "litert-quantizer")
    return {"peaks": {kind: found.pop(kind) for kind in peaks.KINDS if kind in found}, "seconds": found, "made": made}


def with_latency(name: str, rows: dict[str, dict[str, Any]], timed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows with latency, its ratios to our float32 file and of our file in that mode, and the share of the peak."""
    found, result = timed["seconds"], {label: dict(row) for label, row in rows.items()}
    ours = None if name in produce.OTHER_IN_TORCHVISION else rows["float32, ours"]["macs"]
    for label, seconds in found.items():
        mode = label.partition(",")[0]
        result[label] |= asdict(interleaved.ratios(found, "float32, ours")[label])
        result[label]["ours_to_it"] = asdict(
            interleaved.ratios({"": found[f"{mode}, ours"], label: seconds}, label)[""]
        )
        if mode in timed["peaks"] and (macs := result[label].get("macs", ours)):
            least = np.array(timed["peaks"][mode]) * 1e-9 * macs
            result[label]["of_peak"] = float(np.median(least / seconds))
    return result


def pareto(name: str, rows: dict[str, dict[str, Any]], path: Path) -> None:
    """A picture of one model's quantized files: latency against SQNR, a marker for each mode.

    In float32 all are exact and alike, so that a line stands for them. Files of keras.applications' model are left
    out, whose weights are others, and those of other networks; files that lie next to each other share a label.
    """
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    axes.axvline(1, color="tab:blue", linestyle=":", label="our float32")
    shown = {label: row for label, row in rows.items() if "ratio" in row and label.startswith(QUANTIZED)}
    others = ("applications", *(OF_PYTORCH if name in produce.OTHER_IN_TORCHVISION else ()))
    shown = {label: row for label, row in shown.items() if not label.endswith(others)}
    levels = [row["sqnr"] for row in shown.values()]
    apart = NEXT_TO * (max(levels) - min(levels))
    for marker, va, up, mode in zip("s^", ("bottom", "top"), (4, -4), QUANTIZED, strict=True):
        labels: list[tuple[float, float, list[str]]] = []
        files = {label: row for label, row in shown.items() if label.startswith(mode)}
        for label, row in sorted(files.items(), key=lambda item: item[1]["sqnr"]):
            ratio, sqnr = row["ratio"], row["sqnr"]
            producer = label.partition(", ")[2]
            axes.scatter(ratio, sqnr, marker=marker, color=_colour(producer))
            if labels and sqnr - labels[-1][1] < apart and abs(ratio - labels[-1][0]) < NEXT_TO:
                labels[-1][2].append(producer)
            else:
                labels.append((ratio, sqnr, [producer]))
        for ratio, sqnr, producers in labels:
            side = dict(ha="right", xytext=(-6, up)) if ratio > 1 else dict(xytext=(6, up))
            text = f"{mode}: {' and '.join(sorted(producers))}"
            axes.annotate(
                text, (ratio, sqnr), textcoords="offset points", fontsize=8, color=_colour(*producers), va=va, **side
            )
    axes.set(xlabel="latency / our float32", ylabel="SQNR of the logits, dB")
    axes.set_xlim(left=0)
    axes.legend(loc="lower right")
    axes.margins(0.15)
    axes.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
    plt.close(figure)


def _colour(*producers: str) -> str:
    return "tab:blue" if any(producer.startswith("ours") for producer in producers) else "tab:gray"


@command_line
def main() -> None:
    """Compare all, and write `producers.md`, `producers.json` and the Pareto pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--modes", nargs="+", choices=PRODUCERS, default=list(PRODUCERS))
    parser.add_argument("--rounds", type=int, default=15)
    steps = parser.add_mutually_exclusive_group()
    steps.add_argument("--make-only", action="store_true", help="make the files and time nothing")
    steps.add_argument("--time-only", action="store_true", help="make nothing and time the files that are there")
    parser.add_argument("--again", action="store_true", help="time what was timed before")
    parser.add_argument("--torch-python", type=Path, default=Path(".venv-torch/bin/python"))
    parser.add_argument("--onnx2tf", type=Path, default=Path(".venv-onnx2tf/bin/onnx2tf"))
    parser.add_argument("--photos", type=Path, default=Path("benchmark-output/photos"))
    parser.add_argument("--output", type=Path, default=Path("benchmark-output/producers"))
    parser.add_argument("--docs", type=Path, default=interleaved.DOCS, help="where the table goes")
    options = parser.parse_args()
    if not options.make_only and "float32" not in options.modes:
        raise InputError("latency is a ratio to our float32 file; add float32 to --modes, or give --make-only")
    options.output.mkdir(parents=True, exist_ok=True)
    for part, count in (("calibration", None), ("evaluation", COMPARED)):
        images, _ = agreement.normalized(options.photos, part)
        np.save(options.output / f"{part}.npy", images[:: len(images) // count][:count] if count else images)
    made = {name: make_all(name, options) for name in options.models}
    if options.make_only:
        return
    found: dict[str, dict[str, Any]] = {}
    timed: list[dict[str, Any]] = []
    for name, rows in made.items():
        record = options.output / name / "timing.json"
        timed.append(kept(record, timing, name, rows, options.output, options.rounds, again=options.again))
        found[name] = with_latency(name, rows, timed[-1])
        pareto(name, found[name], options.docs / f"pareto-{name}.png")
        publish(options.docs, "producers", _paragraphs(found, timed), found)


def _paragraphs(found: dict[str, dict[str, dict[str, Any]]], timed: list[dict[str, Any]]) -> list[str]:
    rounds = len(next(iter(timed[0]["seconds"].values())))
    peaks = {kind: [second for each in timed for second in each["peaks"][kind]] for kind in timed[0]["peaks"]}
    peak = ", ".join(f"{1 / statistics.median(seconds):.0f} in {kind}" for kind, seconds in peaks.items())
    rows = [_cells(name, label, row) for name, files in found.items() for label, row in files.items()]
    return [
        f"LiteRT, one thread, {rounds} interleaved rounds of the fastest call in {TURN} s; medians of the ratios with "
        f"95 % intervals. SQNR and agreement with each one's own float model on {COMPARED} photos; with random weights "
        "agreement means nothing and is left out. litert-torch and onnx2tf have torchvision's model, which is another "
        "network for GoogLeNet and AlexNet; applications' ResNet-50 has its strides elsewhere. The peak is what one "
        f"core does on registers alone, measured in the same rounds ({peak} thousand million multiply-accumulates a "
        "second); dynamic range has parts of both.",
        table(COLUMNS, rows),
        interleaved.merged(each["made"] for each in timed),
    ]


def _cells(name: str, label: str, row: dict[str, Any]) -> list[str]:
    if "error" in row:
        return [name, label, row["error"].replace("|", "\\|"), *[""] * (len(COLUMNS) - 3)]
    latency = ["", "", ""]
    if "ratio" in row:
        latency = [f"{1000 * row['seconds']:.2f}"]
        latency += [f"{each['ratio']:.3f} ({each['low']:.3f}–{each['high']:.3f})" for each in (row, row["ours_to_it"])]
    return [
        *(name, label, f"{row['bytes'] / 1e6:.1f}", *latency),
        f"{row['of_peak']:.0%}" if "of_peak" in row else "",
        f"{row['sqnr']:.1f}",
        f"{row['agree']:.0%}" if name == "mobilenet_v2" and "applications" not in label else "",
    ]


if __name__ == "__main__":
    sys.exit(main())
