"""Do our runners measure what ai-edge-litert's own `litert-benchmark` measures? One thread, interleaved, as ratios.

python benchmarks/runner_agreement.py mobilenet_v2-float32.tflite mobilenet_v2-int8.tflite
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from interleaved import footnote, ratios, rounds
from rich.console import Console
from rich.table import Table

from android_bench.jobs import Configuration, Job
from android_bench.model_file import ModelFile, open_model
from android_bench.targets.local import LocalTarget

RUNS, WARMUP = 100, 20
OURS, PEER = ("litert", "native"), "litert-benchmark"


def ours(runtime: str, model: ModelFile, folder: Path) -> tuple[float, float]:
    """Return (median, minimum) in seconds of one process of our runner."""
    job = Job(model, Configuration(runtime, "xnnpack", 1), folder / model.sha256, RUNS, WARMUP, timeout=600)
    samples = LocalTarget().run(job).document.samples_us
    return statistics.median(samples) / 1e6, min(samples) / 1e6


def measure(tool: str, model: ModelFile, folder: Path) -> tuple[float, float]:
    """Return (median, minimum) in seconds of one process of `tool`."""
    return peer(model, folder) if tool == PEER else ours(tool, model, folder)


def peer(model: ModelFile, folder: Path) -> tuple[float, float]:
    """Return (median, minimum) in seconds of one process of `litert-benchmark`; it rounds to 0.01 ms."""
    result = folder / "peer.json"
    command = [str(Path(sys.executable).parent / PEER), "--model", str(model.path), "--result_json", str(result)]
    counts = ["--num_runs", str(RUNS), "--warmup_runs", str(WARMUP), "--num_threads", "1"]
    subprocess.run([*command, *counts], check=True, capture_output=True)
    latency = json.loads(result.read_text())["latency"]
    return latency["median_ms"] / 1000, latency["min_ms"] / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=24)
    options = parser.parse_args()
    models = [open_model(path) for path in options.models]
    table = Table(title=f"{options.rounds} rounds of {RUNS} runs; ratios are to {PEER}", title_justify="left")
    for column in ("model", "runner", "median ms", "ratio (95 %)", "minimum ms", "ratio (95 %)"):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in models:
            job = Job(model, Configuration("litert", "xnnpack", 1), None, runs=1, warmup=0, timeout=600)
            LocalTarget().save_input(job, folder / model.sha256)
            tools = {tool: partial(measure, tool, model, folder) for tool in (*OURS, PEER)}
            found = rounds(tools, options.rounds)
            median, minimum = (
                ratios({tool: [each[part] for each in figures] for tool, figures in found.items()}, PEER)
                for part in (0, 1)
            )
            for tool in tools:
                cells = [(f"{1000 * each.seconds:.3f}", str(each)) for each in (median[tool], minimum[tool])]
                table.add_row(model.name, tool, *cells[0], *cells[1])
    Console(width=110).print(table)
    print(footnote("ai-edge-litert"))


if __name__ == "__main__":
    main()
