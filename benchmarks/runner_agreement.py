"""Do our runners measure what ai-edge-litert's own `litert-benchmark` measures? One thread, interleaved, as ratios.

python benchmarks/runner_agreement.py mobilenet_v2-float32.tflite mobilenet_v2-int8.tflite
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from android_bench.jobs import Configuration, Job
from android_bench.model_file import ModelFile, open_model
from android_bench.targets.local import LocalTarget

RUNS, WARMUP = 100, 20
PEER = "litert-benchmark"


def ours(runtime: str, model: ModelFile, folder: Path) -> tuple[float, float]:
    """Return (median, minimum) in milliseconds of one process of our runner."""
    job = Job(model, Configuration(runtime, "xnnpack", 1), folder / model.sha256, RUNS, WARMUP, timeout=600)
    samples = LocalTarget().run(job).document["samples_us"]
    return statistics.median(samples) / 1000, min(samples) / 1000


def peer(model: ModelFile, folder: Path) -> tuple[float, float]:
    """Return (median, minimum) in milliseconds of one process of `litert-benchmark`; it rounds to 0.01 ms."""
    result = folder / "peer.json"
    command = [Path(sys.executable).parent / PEER, "--model", model.path, "--result_json", result]
    counts = ["--num_runs", str(RUNS), "--warmup_runs", str(WARMUP), "--num_threads", "1"]
    subprocess.run([*command, *counts], check=True, capture_output=True)
    latency = json.loads(result.read_text())["latency"]
    return latency["median_ms"], latency["min_ms"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    models = [open_model(path) for path in options.models]
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in models:
            job = Job(model, Configuration("litert", "xnnpack", 1), None, runs=1, warmup=0, timeout=600)
            LocalTarget().save_input(job, folder / model.sha256)
        for _ in range(options.rounds):
            cells = [(model, tool) for model in models for tool in ("litert", "native", PEER)]
            random.shuffle(cells)
            for model, tool in cells:
                figures = peer(model, folder) if tool == PEER else ours(tool, model, folder)
                found.setdefault((model.name, tool), []).append(figures)
    table = Table(title=f"{options.rounds} rounds of {RUNS} runs; ratios are to {PEER}", title_justify="left")
    for column in ("model", "runner", "median ms", "ratio", "minimum ms", "ratio"):
        table.add_column(column, justify="left" if column in ("model", "runner") else "right")
    for (model_name, tool), figures in sorted(found.items()):
        reference = found[model_name, PEER]
        medians = [statistics.median(each[0] for each in rows) for rows in (figures, reference)]
        minima = [min(each[1] for each in rows) for rows in (figures, reference)]
        ratios = [f"{own:.3f} {own / other:.3f}" for own, other in (medians, minima)]
        table.add_row(model_name, tool, *" ".join(ratios).split())
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
