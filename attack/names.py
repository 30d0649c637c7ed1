"""Hostile names of files, models and arguments."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from attack.trial import Fell, Kind

PARTS = (
    "-x", "--output", "..", "~", "$(touch executed)", "`touch executed`", ";touch executed;", "'", '"', "\\", "\n",
    "\r", "\t", "\x1b[2J", "\x7f", "\u202e", "é", "日本", "😀", "\udc80", " ", "%s", "{0}", "*", "?", "[a]", "|",
    "&", "a" * 300, "con", ".", "#", "=",
)  # fmt: skip


def _name(generator: np.random.Generator) -> str:
    count = int(generator.integers(1, 4))
    return "".join(PARTS[int(generator.integers(0, len(PARTS)))] for _ in range(count))


def _one_line(main: Callable[[list[str]], int], words: list[str], folder: Path) -> None:
    os.chdir(folder)
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = main(words)
        except SystemExit as error:
            code = int(error.code or 0)
        except Exception as error:
            raise Fell(f"{words}: {type(error).__name__}: {str(error)[:200]}") from error
    text = errors.getvalue()
    if code not in (0, 2):
        raise Fell(f"{words}: exit code {code}: {text[-300:]}")
    if code and (text.count("\n") != 1 or not all(each.isprintable() for each in text.rstrip("\n"))):
        raise Fell(f"{words}: not one line that can be printed: {text[-300:]!r}")
    if (folder / "executed").exists():
        raise Fell(f"{words}: a name was run as a command")


def bench_names(generator: np.random.Generator, folder: Path) -> int:
    """Of files and targets of the bench."""
    from android_bench.__main__ import main

    for _ in range(50):
        name = _name(generator)
        with contextlib.suppress(OSError, ValueError):
            (folder / name.replace("/", "")).write_bytes(b"\x1c\0\0\0TFL3" if generator.random() < 0.5 else b"text")
        choices = (["run", f"./{name}"], ["run", name], ["report", name], ["compare", name, name], [name])
        _one_line(main, list(choices[int(generator.integers(0, len(choices)))]), folder)
    return 50


def export_names(generator: np.random.Generator, folder: Path) -> int:
    """Of models, folders and arguments of export and training."""
    from export.tflite import main as export
    from keras_classics.train import main as train

    for _ in range(20):
        name = _name(generator)
        choices = ([name], ["lenet5", "--weights", name], ["lenet5", "--data", name], ["lenet5", "--import", name])
        words = list(choices[int(generator.integers(0, len(choices)))])
        _one_line(export if generator.random() < 0.5 else train, words, folder)
    return 20


KINDS = (
    Kind("names given to the bench", "names", bench_names, 1, 300),
    Kind("names given to export and train", "names", export_names, 1, 300),
)
