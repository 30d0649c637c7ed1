"""Does `compare` call two runs of the same file alike, and a file that does 5 % more slower?

    python benchmarks/idle_comparison.py [--pairs 20]

Needs a machine with nothing else to do. The file is a stack of 20 equal convolutions; the slower one has 21. Each
pair is three calls of `run`: the file, the file again, the slower file. Exit code 1 where fewer than 19 of 20
pairs of the same file are "no change", or a slower file is missed as often.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import subprocess
import sys
import tempfile
from pathlib import Path

from android_bench import results
from android_bench.__main__ import main as android_bench
from android_bench.compare import Comparison, compare

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
    folder.mkdir()
    path = folder / "model.tflite"
    subprocess.run([sys.executable, "-c", MAKE_MODEL, str(layers), str(path)], check=True, capture_output=True)
    return path


def measured(model: Path, output: Path, runtime: str, repeats: int) -> list[results.Row]:
    """Return the rows of one call of `run`."""
    words = ["run", model, "--runtime", runtime, "--repeats", repeats, "--output", output]
    with contextlib.redirect_stdout(io.StringIO()):
        code = android_bench([str(word) for word in words])
    if code:
        raise SystemExit(code)
    return results.read(output)


def show(name: str, comparisons: list[Comparison], right: list[bool]) -> None:
    ratios = sorted(each.median.estimate for each in comparisons)
    noisy = sum(each.noisy for each in comparisons)
    print(
        f"{name}: {sum(right)} of {len(right)} right; ratio of the medians {ratios[len(ratios) // 2]:.3f} "
        f"({ratios[0]:.3f} to {ratios[-1]:.3f}); {noisy} with too few quiet repeats"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runtime", default="litert", choices=["litert", "native"])
    options = parser.parse_args()
    same, slower = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_model(folder / "model", LAYERS)
        slow_model = make_model(folder / "slower", SLOWER_LAYERS)
        for pair in range(options.pairs):
            base, again, slow = (
                measured(each, folder / f"{pair}-{role}.jsonl", options.runtime, options.repeats)
                for role, each in (("base", model), ("again", model), ("slow", slow_model))
            )
            same += compare(base, again, MAX_REGRESSION)
            slower += compare(base, slow, MAX_REGRESSION)
            print(f"{pair + 1}: {same[-1].verdict} {same[-1].median.estimate:.3f}; {slower[-1].verdict}", flush=True)
    alike = [each.verdict == "no change" for each in same]
    caught = [each.verdict == "slower" for each in slower]
    show("the same file", same, alike)
    show(f"{SLOWER_LAYERS} layers instead of {LAYERS}", slower, caught)
    return int(min(sum(alike), sum(caught)) < FEWEST_RIGHT * options.pairs)


if __name__ == "__main__":
    sys.exit(main())
