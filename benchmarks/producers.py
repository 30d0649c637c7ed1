"""Each classic in each mode as each producer of TFLite files makes it: latency, size and what it keeps.

    python benchmarks/producers.py [--models NAME…] [--modes MODE…] [--rounds N] [--output FOLDER]

Latency is that of LiteRT with one thread, all files of a model interleaved in random order. SQNR compares a file
with its own float model, before any softmax, on evaluation photos. MobileNetV2 has torchvision's weights, except
where keras.applications builds it; all others have random ones.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import agreement
import interleaved
import matplotlib
import numpy as np
import produce
from rich.console import Console

from export.interpreter import Interpreter
from keras_classics.errors import command_line
from keras_classics.files import replacing, write_json, write_text

matplotlib.use("Agg")

from matplotlib import pyplot as plt

MODELS = ("mobilenet_v2", "mobilenet_v1", "resnet50", "googlenet", "alexnet", "vgg16")
PRODUCERS = {
    "float32": ("ours", "converter", "Keras", "applications"),
    "dynamic": ("ours", "converter", "LiteRT quantizer"),
    "int8": ("ours", "ours, plain", "converter", "LiteRT quantizer", "applications"),
}
COMPARED = 50


def make(name: str, mode: str, producer: str, folder: Path) -> dict[str, Any]:
    """One file, in a process of its own; `error` where the producer cannot make it."""
    path = folder / f"{name}-{mode}-{producer}.tflite"
    command = [sys.executable, produce.__file__, producer, name, mode, str(path)]
    command += ["--calibration", str(folder / "calibration.npy"), "--evaluation", str(folder / "evaluation.npy")]
    if name == "mobilenet_v2" and producer != "applications":
        command += ["--weights", str(agreement.checkpoint())]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1][:200]}
    images, expected = np.load(folder / "evaluation.npy"), np.load(path.with_suffix(".npy"))
    found = agreement.compare(expected, Interpreter(path).run([images])[0], list(map(str, range(len(images)))))
    costs = json.loads(done.stdout.splitlines()[-1])
    return {"path": path, "bytes": path.stat().st_size, "sqnr": found.sqnr_mean, "agree": found.agree, **costs}


def compare(name: str, modes: list[str], rounds: int, folder: Path) -> dict[str, dict[str, Any]]:
    """All files of one model, timed in turn; ratios are to our float32 file."""
    plans = [(mode, producer) for mode in modes for producer in PRODUCERS[mode]]
    known = [plan for plan in plans if plan[1] != "applications" or name in produce.APPLICATIONS]
    rows = {f"{mode}, {producer}": make(name, mode, producer, folder) for mode, producer in known}
    tasks = {
        label: interleaved.fastest(interleaved.litert(row["path"])) for label, row in rows.items() if "path" in row
    }
    timed = interleaved.rounds(tasks, rounds)
    for label in timed:
        mode = label.partition(",")[0]
        rows[label] |= vars(interleaved.ratios(timed, f"{modes[0]}, ours")[label])
        own = interleaved.ratios({"ours": timed[f"{mode}, ours"], label: timed[label]}, label)["ours"]
        rows[label] |= {"ours_to_it": str(own), "path": rows[label]["path"].name}
    return rows


def pareto(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """A picture of one model's quantized files: latency against SQNR, a marker for each mode.

    In float32 all are exact and alike, so that a line stands for them.
    """
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    axes.axvline(1, color="tab:blue", linestyle=":", label="our float32")
    for marker, mode in zip("s^", ("dynamic", "int8"), strict=True):
        for label, row in rows.items():
            if label.startswith(mode) and "ratio" in row:
                colour = "tab:blue" if ", ours" in label else "tab:gray"
                axes.scatter(row["ratio"], row["sqnr"], marker=marker, color=colour)
                place = (row["ratio"], row["sqnr"])
                side = dict(xytext=(-6, 5), ha="right") if row["ratio"] > 1 else dict(xytext=(6, 5))
                axes.annotate(label, place, textcoords="offset points", fontsize=8, color=colour, **side)
    axes.set(xlabel="latency / our float32", ylabel="SQNR of the logits, dB")
    axes.set_xlim(left=0)
    axes.legend(loc="lower right")
    axes.margins(0.15)
    axes.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
    plt.close(figure)


@command_line
def main() -> None:
    """Compare all, and write `producers.md`, `producers.json` and the Pareto pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--modes", nargs="+", choices=PRODUCERS, default=list(PRODUCERS))
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--photos", type=Path, default=Path("benchmark-output/photos"))
    parser.add_argument("--output", type=Path, default=Path("benchmark-output/producers"))
    parser.add_argument("--docs", type=Path, default=interleaved.DOCS, help="where the table goes")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for part, count in (("calibration", None), ("evaluation", COMPARED)):
        images, _ = agreement.normalized(options.photos, part)
        np.save(options.output / f"{part}.npy", images[:: len(images) // count][:count] if count else images)
    found = {}
    for name in options.models:
        found[name] = compare(name, options.modes, options.rounds, options.output)
        pareto(found[name], options.docs / f"pareto-{name}.png")
    table = _markdown(found, options.rounds)
    write_json(options.docs / "producers.json", found)
    write_text(options.docs / "producers.md", table)
    Console(soft_wrap=True).print(table, markup=False, highlight=False)


def _markdown(found: dict[str, dict[str, dict[str, Any]]], rounds: int) -> str:
    lines = [
        f"LiteRT, one thread, {rounds} interleaved rounds of the fastest of {interleaved.BLOCK} calls; medians of the "
        f"ratios with 95 % intervals. SQNR and agreement with each one's own float model on {COMPARED} photos; with "
        "random weights agreement means nothing and is left out.",
        "",
        "| model | mode, producer | MB | ms | / our float32 | ours / it | SQNR, dB | agree |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in found.items():
        for label, row in rows.items():
            if "error" in row:
                lines.append(f"| {name} | {label} | {row['error']} | | | | | |")
                continue
            real = name == "mobilenet_v2" and "applications" not in label
            agree = f"{row['agree']:.0%}" if real else ""
            lines.append(
                f"| {name} | {label} | {row['bytes'] / 1e6:.1f} | {1000 * row['seconds']:.2f} "
                f"| {row['ratio']:.3f} ({row['low']:.3f}–{row['high']:.3f}) | {row['ours_to_it']} "
                f"| {row['sqnr']:.1f} | {agree} |"
            )
    made = interleaved.footnote("keras", "tensorflow", "ai-edge-litert", "litert-quantizer")
    return "\n".join([*lines, "", made, ""])


if __name__ == "__main__":
    sys.exit(main())
