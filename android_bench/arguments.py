"""What the command takes, apart from all that measuring imports."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from android_bench.errors import InputError

COMMANDS = ("run", "compare", "report", "devices")
RUNTIMES = ("litert", "tflite-runtime", "tensorflow", "native", "benchmark_model")
DELEGATES = ("none", "xnnpack", "gpu")


def positive(text: str) -> int:
    """Return `text` as an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def not_negative(text: str) -> int:
    """Return `text` as an integer of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def share(text: str) -> float:
    """Return `text` as a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def cpu_mask(text: str) -> tuple[int, ...]:
    """Return the cores of a hexadecimal mask, as taskset takes it: f0 or 0xf0 is cores 4 to 7."""
    try:
        mask = int(text, 16)
    except ValueError:
        mask = 0
    if mask <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no hexadecimal mask of cores, such as 3 or f0")
    return tuple(core for core in range(mask.bit_length()) if mask >> core & 1)


class Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    commands: Mapping[str, argparse.ArgumentParser]

    def parse_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        """Parse; of a flag or word that is not known, tell the nearest that is."""
        words = sys.argv[1:] if args is None else list(args)
        if words and not words[0].startswith("-") and words[0] not in COMMANDS:
            self.error(f"unknown command {words[0]!r}{_nearest(words[0], COMMANDS)}")
        found, rest = self.parse_known_args(words, namespace)
        if rest:
            flags = re.findall(r"--[\w-]+", self.commands[found.command].format_help())
            self.error(f"unrecognized arguments: {' '.join(rest)}{_nearest(rest[0].partition('=')[0], flags)}")
        return found

    def error(self, message: str) -> NoReturn:
        """Raise InputError in place of argparse's usage text."""
        raise InputError(f"{message}{'' if message.endswith('?') else ';'} see {self.prog} --help")


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def parser(prog: str = "python -m android_bench") -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = Parser(prog=prog, description="Measure TFLite models where they will run.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    top.commands = commands.choices
    run = commands.add_parser("run", help="measure models and append the rows to a results file")
    run.add_argument("models", nargs="+", metavar="MODEL.tflite")
    run.add_argument(
        "--target", action="append", metavar="TARGET", help="local (default), ssh:HOST or adb[:SERIAL]; may be repeated"
    )
    run.add_argument(
        "--runtime", nargs="+", choices=RUNTIMES, help="default: litert; on Android native; on a board what it has"
    )
    run.add_argument("--tflite-runtime-python", metavar="PATH", help="the Python that has tflite-runtime")
    run.add_argument("--remote-python", default="python3", metavar="PATH", help="the Python on an ssh target")
    run.add_argument("--native-runner", type=Path, metavar="FOLDER", help="your own NDK build of the runner, for adb")
    run.add_argument(
        "--benchmark-binary", metavar="FILE", help="a benchmark_model for the target; or its URL#sha256=DIGEST"
    )
    run.add_argument(
        "--unchecked", action="store_true", help="let a benchmark_model count that cannot write its output"
    )
    run.add_argument("--delegate", nargs="+", default=["xnnpack"], choices=DELEGATES)
    run.add_argument("--cpus", type=cpu_mask, default=(), metavar="MASK", help="hexadecimal mask of cores, as taskset")
    run.add_argument("--threads", nargs="+", type=positive, default=[1])
    run.add_argument("--repeats", type=positive, default=5, help="processes for each model and configuration")
    length = run.add_mutually_exclusive_group()
    length.add_argument("--runs", type=positive, help="inferences a repeat (default: half a second, at least 50)")
    length.add_argument("--seconds", type=positive, help="measure each repeat for so long: how it is when it is hot")
    run.add_argument("--warmup", type=not_negative, help="inferences before them (default: until steady)")
    run.add_argument(
        "--cooldown", type=float, metavar="CELSIUS", help="wait before each repeat until the target is so cool"
    )
    run.add_argument("--input", type=Path, metavar="FILE.npy", help="one input, instead of fixed-seed noise")
    run.add_argument("--timeout", type=positive, default=600, metavar="SECONDS", help="for one repeat")
    run.add_argument("--keep-files", action="store_true", help="leave what was pushed on the device")
    run.add_argument("--dry-run", action="store_true", help="say what would be measured, and measure nothing")
    run.add_argument("--resume", action="store_true", help="measure only what the results file lacks")
    run.add_argument("--output", type=Path, default=Path("results.jsonl"), metavar="FILE", help="rows are appended")

    comparing = commands.add_parser("compare", help="regression or noise; exit code 3 on a regression")
    comparing.add_argument("base", metavar="BASE.jsonl")
    comparing.add_argument("new", metavar="NEW.jsonl")
    comparing.add_argument("--max-regression", type=share, default=0.05, metavar="SHARE", help="default 0.05")
    reporting = commands.add_parser("report", help="write one HTML page, and its figures as .csv and .md")
    reporting.add_argument("results", nargs="+", metavar="RESULTS.jsonl")
    reporting.add_argument("--output", type=Path, default=Path("report.html"), metavar="FILE.html")
    commands.add_parser("devices", help="list what can be measured on")
    return top
