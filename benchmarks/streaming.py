"""What unrolling a recurrent layer over a sequence costs beside streaming it: file size and time.

    python benchmarks/streaming.py

A keyword spotter's LSTM and GRU (40 numbers a step, 64 units, 12 scores) are exported unrolled at several lengths, and
as one step that is run as often. Times are of LiteRT on one thread, in turn; those of a stream include handing its
states on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import interleaved
import keras
import numpy as np
from keras import layers
from published import publish, table

from export import Worker, export_tflite
from keras_classics.quiet import quiet_stderr

STEPS = (16, 49, 128)
NUMBERS, UNITS, SCORES = 40, 64, 12
ROUNDS = 15
SECONDS = 0.1  # of each turn
KINDS = {"LSTM": layers.LSTM, "GRU": layers.GRU}
COLUMNS = ("layer", "mode", "steps", "unrolled, bytes", "one step, bytes", "stream / unrolled, time")


def model(kind: str, steps: int) -> keras.Model:
    """Scores of a sequence."""
    keras.utils.set_random_seed(0)
    sound = layers.Input((steps, NUMBERS), name="sound")
    return keras.Model(sound, layers.Dense(SCORES)(KINDS[kind](UNITS, name="memory")(sound)))


def stream(path: Path, steps: int) -> Callable[[], object]:
    """A call that runs a file of one step so often, its states handed on."""
    from ai_edge_litert.interpreter import Interpreter

    with quiet_stderr():
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
    inputs = {each["name"]: each for each in interpreter.get_input_details()}
    outputs = {each["name"]: each for each in interpreter.get_output_details()}
    states = [(each["index"], outputs[f"{name}_next"]["index"]) for name, each in inputs.items() if name != "sound"]
    zeros = {each["index"]: np.full(each["shape"], each["quantization"][1], each["dtype"]) for each in inputs.values()}

    def run() -> None:
        for index, values in zeros.items():
            interpreter.set_tensor(index, values)
        for _ in range(steps):
            interpreter.invoke()
            for before, after in states:
                interpreter.set_tensor(before, interpreter.get_tensor(after))

    return run


def measure(worker: Worker, folder: Path) -> list[dict[str, Any]]:
    """A row for each layer, mode and length."""
    sequences = np.cumsum(np.random.default_rng(0).normal(size=(32, max(STEPS), NUMBERS)), axis=1).astype(np.float32)
    sequences /= np.abs(sequences).max()
    rows = []
    for kind in KINDS:
        for mode in ("float32", "int8"):
            step = folder / f"{kind}-{mode}-step.tflite"
            options: dict[str, Any] = {"worker": worker, "gate": False, "ptq": "plain"}
            given = sequences[:, : STEPS[0]] if mode == "int8" else None
            export_tflite(model(kind, STEPS[0]), step, mode, streaming=True, calibration=given, **options)
            for steps in STEPS:
                path = folder / f"{kind}-{mode}-{steps}.tflite"
                shorter = sequences[:, :steps] if mode == "int8" else None
                export_tflite(model(kind, steps), path, mode, calibration=shorter, **options)
                runs = {"unrolled": interleaved.litert(path), "stream": stream(step, steps)}
                tasks = {name: interleaved.fastest_within(run, SECONDS) for name, run in runs.items()}
                ratio = interleaved.ratios(interleaved.rounds(tasks, ROUNDS), "unrolled")["stream"]
                sizes = {"unrolled_bytes": path.stat().st_size, "step_bytes": step.stat().st_size}
                rows.append({"layer": kind, "mode": mode, "steps": steps, **sizes, "time": asdict(ratio)})
    return rows


def main() -> None:
    """Measure, and write `streaming.md` and `streaming.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--docs", type=Path, default=interleaved.DOCS, help="where the table goes")
    options = parser.parse_args()
    with Worker() as worker, tempfile.TemporaryDirectory() as folder:
        rows = measure(worker, Path(folder))
    cells = [
        (
            row["layer"],
            row["mode"],
            str(row["steps"]),
            f"{row['unrolled_bytes']:,}",
            f"{row['step_bytes']:,}",
            str(interleaved.Ratio(**row["time"])),
        )
        for row in rows
    ]
    text = (
        "# Sequences unrolled, and as one step\n\n"
        f"A keyword spotter of {NUMBERS} numbers a step, {UNITS} units and {SCORES} scores, unrolled over its steps "
        "and exported with `--streaming` as one step that is run as often. Above 1, the stream takes longer for the "
        "same sequence, since Python hands on its states; a device that gets steps one by one has the score after each "
        f"for the time of one. The median of {ROUNDS} rounds, in brackets the 95 % interval of it; "
        "LiteRT on one thread."
    )
    footnote = interleaved.footnote("keras", "tensorflow", "ai-edge-litert")
    publish(options.docs, "streaming", [text, table(COLUMNS, cells), footnote], rows)


if __name__ == "__main__":
    sys.exit(main())
