"""Does `compare` call two runs of the same file alike, and a file that does 5 % more slower?

    python benchmarks/idle_comparison.py [--runtime native] [--pairs 20] [--results FOLDER]

The file is a stack of 20 equal convolutions; the slower one has 21. Each pair is three calls of `run`: the file, the
file again, the slower file. Where FOLDER already holds results, only what it lacks is measured. What would have been
said without the yardstick stands beside what is said. Exit code 1 where fewer than 19 of 20 pairs of the same file are
"no change", or a slower file is missed as often.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from android_bench import results
from android_bench.__main__ import main as android_bench
from android_bench.compare import Comparison, Ratios, compare

LAYERS, SLOWER_LAYERS = 20, 21
FEWEST_RIGHT = 0.95
MAX_REGRESSION = 0.05
MAKE_MODEL = """
import sys
import tensorflow as tf
import tf_keras
tf_keras.utils.set_random_seed(0)
layers = [tf_keras.layers.Conv2D(32, 3, padding="same", activation="relu") for _ in range(int(sys.argv[1]))]
model = tf_keras.Sequential([tf_keras.layers.Input((28, 28, 32)), *layers, tf_keras.layers.GlobalAveragePooling2D()])
open(sys.argv[2], "wb").write(tf.lite.TFLiteConverter.from_keras_model(model).convert())
"""


def make_model(folder: Path, layers: int) -> Path:
    """Return a file called model.tflite in `folder`; the name is what `compare` goes by."""
    folder.mkdir(exist_ok=True)
    path = folder / "model.tflite"
    if not path.exists():
        subprocess.run([sys.executable, "-c", MAKE_MODEL, str(layers), str(path)], check=True, capture_output=True)
    return path


def measured(model: Path, output: Path, runtime: str, repeats: int) -> list[results.Row]:
    """Return the rows of one call of `run`, which goes on where an earlier one was interrupted."""
    words = ["run", model, "--runtime", runtime, "--repeats", repeats, "--output", output, "--resume"]
    with contextlib.redirect_stdout(io.StringIO()):
        code = android_bench([str(word) for word in words])
    if code:
        raise SystemExit(code)
    return results.read(output)


def pairs(folder: Path, count: int, runtime: str, repeats: int) -> tuple[list[Comparison], list[Comparison]]:
    """Return `count` comparisons of the file with itself, and as many with the slower file."""
    model, slow_model = make_model(folder / "model", LAYERS), make_model(folder / "slower", SLOWER_LAYERS)
    same, slower = [], []
    for pair in range(count):
        base, again, slow = (
            measured(each, folder / f"{runtime}-{pair}-{role}.jsonl", runtime, repeats)
            for role, each in (("base", model), ("again", model), ("slow", slow_model))
        )
        same += compare(base, again, MAX_REGRESSION)
        slower += compare(base, slow, MAX_REGRESSION)
        print(f"{pair + 1}: {describe(same[-1])}; the slower file {describe(slower[-1])}", flush=True)
    return same, slower


def describe(comparison: Comparison) -> str:
    raw = f"raw {comparison.raw.median.estimate:.3f} {comparison.raw.verdict}"
    if comparison.corrected is None:
        return raw
    corrected = f"{comparison.corrected.median.estimate:.3f} {comparison.corrected.verdict}"
    return f"{raw}, machine {comparison.machine:.3f}, corrected {corrected}"


def show(cases: dict[str, tuple[list[Comparison], str]]) -> None:
    """Print, for each case, its ratios of medians and how many got its verdict, raw and corrected."""
    table = Table(
        title=f"{datetime.datetime.now():%Y-%m-%d %H:%M}, load {os.getloadavg()[0]:.1f}", title_justify="left"
    )
    for column in ("pair", "ratios", "median", "from", "to", "right"):
        table.add_column(column)
    for name, (comparisons, verdict) in cases.items():
        table.add_row(name, "raw", *_figures([each.raw for each in comparisons], verdict))
        table.add_row("", "corrected", *_figures([each.decisive for each in comparisons], verdict))
    Console(width=100).print(table)
    noisy = sum(each.noisy for comparisons, _ in cases.values() for each in comparisons)
    print(f"{noisy} of {sum(len(comparisons) for comparisons, _ in cases.values())} with too few quiet repeats")


def _figures(ratios: Sequence[Ratios], verdict: str) -> list[str]:
    estimates = sorted(each.median.estimate for each in ratios)
    right = sum(each.verdict == verdict for each in ratios)
    middle, least, greatest = estimates[len(estimates) // 2], estimates[0], estimates[-1]
    return [f"{middle:.3f}", f"{least:.3f}", f"{greatest:.3f}", f"{right} of {len(ratios)}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runtime", default="litert", choices=["litert", "native"])
    parser.add_argument("--results", type=Path, help="a folder to keep results in, and to go on from")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.results or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        same, slower = pairs(folder, options.pairs, options.runtime, options.repeats)
    cases = {"the same file": (same, "no change"), f"{SLOWER_LAYERS} layers, not {LAYERS}": (slower, "slower")}
    show(cases)
    fewest = min(sum(each.verdict == verdict for each in comparisons) for comparisons, verdict in cases.values())
    return int(fewest < FEWEST_RIGHT * options.pairs)


if __name__ == "__main__":
    sys.exit(main())
