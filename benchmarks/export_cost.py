"""What an export costs, in seconds and in memory, beside the converter on the Keras model and Keras's own export.

    python benchmarks/export_cost.py [--rounds N] [--case CASE…] [--docs FOLDER]

Every export runs in a process of its own, in random order, as many times as there are rounds. Imports (and,
for this library, the start of its worker) are a column of their own. Memory is the greatest sum over the
process and its children, sampled; pages that they share count for each of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import interleaved
import numpy as np
import produce
from published import publish, table

from export.data.samples import smooth_images
from keras_classics.errors import command_line

IMAGES = 100
PEERS = ("converter", "Keras")


@dataclass(frozen=True)
class Case:
    """One kind of export: what of, in which mode, and which way of ours."""

    model: str
    mode: str
    ours: str = "ours"


CASES = {
    "MobileNetV2 float32": Case("mobilenet_v2", "float32"),
    "MobileNetV2 int8": Case("mobilenet_v2", "int8", "ours, plain"),
    "VGG-16 float32": Case("vgg16", "float32"),
}


@dataclass(frozen=True)
class Cost:
    """Seconds of the imports, of building the model and of the export, and peak memory in bytes."""

    imports: float
    build: float
    export: float
    memory: int


def measure(case: Case, producer: str, folder: Path, calibration: Path) -> Cost:
    """One export in a process of its own."""
    command = [sys.executable, produce.__file__, producer, case.model, case.mode, str(folder / "model.tflite")]
    if case.mode == "int8":
        command += ["--calibration", str(calibration)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    memory = 0
    while process.poll() is None:
        memory = max(memory, _resident(process.pid))
        time.sleep(0.02)
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    if process.returncode:
        raise SystemExit(f"{producer} failed on {case}: {' '.join(command)}")
    seconds = json.loads(lines[-1])
    return Cost(seconds["imports"], seconds["build"], seconds["export"], memory)


def _resident(process: int) -> int:
    """Bytes of memory that the process and its children hold."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        children = [int(child) for path in Path(f"/proc/{process}/task").glob("*/children") for child in _words(path)]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(map(_resident, children))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []


@command_line
def main() -> None:
    """Measure all cases, and write `export_cost.md` and `export_cost.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--docs", type=Path, default=interleaved.DOCS, help="where the table goes")
    options = parser.parse_args()
    found: dict[str, dict[str, list[Cost]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calibration = folder / "calibration.npy"
        np.save(calibration, smooth_images((224, 224, 3), IMAGES))
        for label in options.case:
            case = CASES[label]
            tasks = {
                producer: lambda case=case, producer=producer: measure(case, producer, folder, calibration)
                for producer in (case.ours, *PEERS)
            }
            found[label] = interleaved.rounds(tasks, options.rounds)
    head = (
        f"Seconds and peak memory of an export; medians of {options.rounds} rounds, ours as a ratio to each other "
        f"producer in the same round, with its {_interval(options.rounds)}. int8 has {IMAGES} calibration images. "
        "Imports include the start of our worker."
    )
    columns = ("", "producer", "imports, s", "build, s", "export, s", "ours / it", "memory, MB", "ours / it")
    rows = [row for label, costs in found.items() for row in _rows(label, costs)]
    figures = {
        label: {name: [vars(cost) for cost in costs] for name, costs in by_producer.items()}
        for label, by_producer in found.items()
    }
    paragraphs = (head, table(columns, rows), interleaved.footnote("keras", "tensorflow"))
    publish(options.docs, "export_cost", paragraphs, figures)


def _interval(rounds: int) -> str:
    return "95 % interval" if rounds >= 6 else "range"


def _rows(label: str, found: dict[str, list[Cost]]) -> list[tuple[str, ...]]:
    """The table's rows of one case: ours, and each peer with the ratios to it."""
    ours = CASES[label].ours
    rows: list[tuple[str, ...]] = []
    for name, costs in found.items():
        imports, build, export, memory = (
            statistics.median(getattr(cost, field) for cost in costs) for field in Cost.__dataclass_fields__
        )
        time_ratio, memory_ratio = (
            "" if name == ours else _ratio(found, ours, name, field) for field in ("export", "memory")
        )
        seconds = (f"{imports:.1f}", f"{build:.1f}", f"{export:.1f}")
        rows.append((label, name, *seconds, time_ratio, f"{memory / 1e6:.0f}", memory_ratio))
    return rows


def _ratio(found: dict[str, list[Cost]], ours: str, peer: str, field: str) -> str:
    values = {name: [getattr(cost, field) for cost in found[name]] for name in (ours, peer)}
    return str(interleaved.ratios(values, peer)[ours])


if __name__ == "__main__":
    sys.exit(main())
