"""The command that `python -m export.tflite` runs: train or load, export, say what came of it."""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from export.errors import CalibrationWarning
from export.quantization.qat import DISTILLATION_STEPS, SCHEDULES
from export.report import Report
from export.verification.gate import FLOAT_PARITY
from keras_classics.errors import ArgumentParser, command_line

DEFAULT_MODEL = "mobilenet_v2"
DEFAULT_EPOCHS = 15
MODES = {
    "float32": "32-bit floats (the default)",
    "float16": "weights stored in 16 bits",
    "dynamic": "8-bit weights, float in and out; needs no data",
    "int8": "integer arithmetic throughout",
    "int16x8": "the same with 16-bit activations; slow",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = ArgumentParser(
        prog="python -m export.tflite",
        description="From a model's name or a .keras file to a verified TFLite file and its report.",
    )
    result.add_argument(
        "model", nargs="?", default=DEFAULT_MODEL, help="a name of keras_classics.list_models(), or a .keras file"
    )
    modes = result.add_mutually_exclusive_group()
    for mode, text in MODES.items():
        modes.add_argument(f"--{mode}", dest="mode", action="store_const", const=mode, help=text)
    quantization = result.add_argument_group("quantization")
    quantization.add_argument("--qat", action="store_true", help="fine-tune under simulated int8 (TF-MOT) first")
    quantization.add_argument(
        "--distill", action="store_true", help="with --qat: learn from the float model's outputs; needs no labels"
    )
    quantization.add_argument(
        "--qat-epochs",
        type=_positive,
        metavar="N",
        help=f"default 2, or as many as {DISTILLATION_STEPS} steps take on --calibration",
    )
    quantization.add_argument(
        "--prune", type=_pruning, metavar="SPARSITY", help="train this share of the weights to zero, or 2:4 of them"
    )
    quantization.add_argument(
        "--prune-block",
        type=_positive,
        nargs=2,
        metavar=("INPUTS", "OUTPUTS"),
        help="prune dense kernels in blocks of this size",
    )
    quantization.add_argument(
        "--prune-schedule",
        choices=SCHEDULES,
        default=SCHEDULES[0],
        help="let the zeros grow, or have all of them from the start",
    )
    quantization.add_argument(
        "--cluster", type=_positive, metavar="N", help="train each kernel to N different values, which compress well"
    )
    quantization.add_argument(
        "--ptq",
        choices=("tuned", "plain"),
        default="tuned",
        help="how int8 is made: weights and ranges tuned, or only measured",
    )
    quantization.add_argument(
        "--keep-float",
        nargs="+",
        action="extend",
        default=[],
        metavar="LAYER",
        help="layers that stay in float in an int8 file: names, or wildcards such as 'block1_*'",
    )
    quantization.add_argument(
        "--mixed", action="store_true", help="leave those layers in float that mend an int8 file at the least latency"
    )
    quantization.add_argument(
        "--min-sqnr", type=float, metavar="DB", help="what the logits' SQNR must reach (default 10 without labels)"
    )
    quantization.add_argument(
        "--io", choices=("int8", "uint8", "float32"), default="int8", help="type of in- and output"
    )
    quantization.add_argument("--logits", action="store_true", help="cut off a softmax at the end")
    quantization.add_argument(
        "--max-drop", type=float, default=1.0, metavar="POINTS", help="accuracy that int8 may lose (default 1.0)"
    )
    quantization.add_argument("--no-gate", action="store_true", help="ship a file that lost more, and say so")
    quantization.add_argument("--layers", action="store_true", help="show the error of each layer, worst marked")
    source = result.add_argument_group("model and data")
    source.add_argument("--weights", metavar="W", help="a checkpoint's name, a file, or 'random'; else it is trained")
    source.add_argument(
        "--data", help="mnist (default for training), fashion-mnist, digits, tfds:NAME, or a folder of classes"
    )
    source.add_argument("--calibration", metavar="PATH", help="a folder of images, or .npz/.npy in the model's range")
    source.add_argument(
        "--input-range", metavar="LOW,HIGH", help="of the model's input: 0,1 or -1,1 or 0,255 or imagenet"
    )
    source.add_argument(
        "--epochs", type=_positive, default=DEFAULT_EPOCHS, metavar="N", help="of training (default 15)"
    )
    source.add_argument("--seed", type=int, default=0, metavar="N")
    source.add_argument("--input-shape", type=_positive, nargs=3, metavar=("H", "W", "C"))
    source.add_argument("--classes", type=_positive, metavar="N")
    source.add_argument(
        "--import", dest="import_module", metavar="MODULE", help="a module that registers custom layers"
    )
    result.add_argument("--output", default="exports", metavar="DIR", help="folder for the results (default exports)")
    result.add_argument("--benchmark", action="store_true", help="then time the file on this CPU")
    result.add_argument("--verbose", action="store_true", help="show the converter's messages")
    return result


def _pruning(text: str) -> dict[str, Any]:
    """What `export.quantization.qat.Pruning` takes besides the training."""
    if pattern := re.fullmatch(r"(\d+):(\d+)", text):
        zeros, group = int(pattern[1]), int(pattern[2])
        if 0 < zeros < group:
            return {"pattern": (zeros, group)}
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 1:
            return {"sparsity": float(text)}
    raise argparse.ArgumentTypeError(f"{text!r} is no share between 0 and 1, such as 0.7, nor a pattern such as 2:4")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


@command_line
def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, train or load, export, and say what came of it."""
    options = parser().parse_args(arguments)
    options.mode = options.mode or "float32"
    integer = options.mode in ("int8", "int16x8")
    _check_folder(Path(options.output))
    from export.cli.job import prepare
    from export.client import Worker
    from export.pipeline import export_tflite

    job = prepare(options, integer)
    path = Path(options.output) / f"{job.name}-{options.mode}.tflite"
    with StepProgress() as progress, Worker(options.verbose, progress) as worker, warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)  # the report has it
        report = export_tflite(
            job.model,
            path,
            options.mode,
            calibration=job.calibration,
            io=options.io,
            evaluation=job.evaluation,
            qat=job.qat,
            prune=job.prune,
            cluster=job.cluster,
            ptq=options.ptq,
            keep_float=options.keep_float,
            logits=options.logits,
            input_range=job.input_range.limits,
            max_drop=options.max_drop,
            min_sqnr=options.min_sqnr,
            mixed=options.mixed,
            layers=options.layers,
            gate=job.gate,
            name=job.name,
            worker=worker,
        )
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if report.layers:
        show_layers(report.layers)
    if report.mixed:
        show_mixed(report.mixed)
    show(report)
    if options.benchmark:
        sys.stdout.flush()
        subprocess.run([sys.executable, "-m", "android_bench", "run", str(path)], check=True)


def _check_folder(folder: Path) -> None:
    """Find out that nothing can be written before minutes of work, not after."""
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()


class StepProgress:
    """A bar for what the worker says of its long steps; on a terminal only."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> StepProgress:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def __call__(self, message: Mapping[str, Any]) -> None:
        step = message["step"]
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step, figures="")
        rest = {name: value for name, value in message.items() if name not in ("step", "done", "total")}
        figures = " ".join(f"{name} {value:.4f}" for name, value in rest.items())
        self._progress.update(self._tasks[step], completed=message["done"], total=message["total"], figures=figures)


def show_layers(errors: Mapping[str, Any]) -> None:
    """Print each operation's error, all that was made so far and its own, in order of execution."""
    title = f"SQNR in dB over {errors['samples']} samples, * the worst"
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("layer", overflow="fold")
    table.add_column("operator")
    table.add_column("so far", justify="right")
    table.add_column("its own", justify="right")
    for row in errors["rows"]:
        figures = []
        for column, worst in (("sqnr_db", "worst"), ("own_sqnr_db", "worst_own")):
            mark = "*" if row["operation"] == errors[worst] else " "
            figures.append("exact " if row[column] is None else f"{row[column]:.1f}{mark}")
        table.add_row(" ".join([*row["fused"], row["operation"]]), row["operator"], *figures)
    Console().print(table)


def show_mixed(tried: Mapping[str, Any]) -> None:
    """Print the sets of operations that were tried in float, and what each gained and cost."""
    table = Table(title="left in float", title_justify="left", box=None)
    for column in ("operations", "SQNR, dB", "drop, points", "latency over int8"):
        table.add_column(column, justify="right")
    for row in tried["sets"]:
        sqnr = "" if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f}"
        drop = f"{row['drop']['points']:.2f}" if row["drop"] else ""
        latency = f"{row['latency']['ratio']:.2f}" if row["latency"] else "1"
        table.add_row(str(len(row["operations"])), sqnr, drop, latency)
    Console().print(table)


def show(report: Report) -> None:
    """Print what was exported."""
    table = Table(show_header=False, box=None)
    if report.accuracy is not None and report.float_accuracy is not None:
        table.add_row(
            "accuracy", f"{report.accuracy:.2%} of {report.evaluated} test images, float {report.float_accuracy:.2%}"
        )
    if report.drop and report.mode not in FLOAT_PARITY:
        interval = f"95 % interval {report.drop['low']:.2f} to {report.drop['high']:.2f}"
        table.add_row("", f"a drop of {report.drop['points']:.2f} points ({interval})")
    if report.qat and report.qat["ptq_accuracy"] is not None:
        table.add_row("", f"{report.qat['ptq_accuracy']:.2%} without quantization-aware training")
    parity = report.parity
    sqnr = "" if parity["sqnr_db"] is None else f", SQNR {parity['sqnr_db']:.1f} dB"
    agreement = parity["argmax_agreement"]
    agreeing = "" if agreement is None else f", same class {agreement:.1%}"
    table.add_row("against float", f"relative RMS {parity['relative_rms']:.2g}{sqnr}{agreeing}")
    if report.structure:
        values = f", at most {report.values_per_channel} values in a channel" if report.values_per_channel else ""
        structure = f"{report.sparsity:.1%} zeros{values}"
        left = len(report.structure["left_alone"])
        table.add_row("kernels", f"{structure}; {left} depthwise or shared ones left alone" if left else structure)
    gzipped = f" ({report.gzip_bytes:,} gzipped)" if report.gzip_bytes else ""
    table.add_row("size", f"{report.size_bytes:,} bytes{gzipped}")
    if report.keep_float:
        price = report.keep_float["latency_over_int8"]
        layers = ", ".join(report.keep_float["operations"])
        spread = f"quartiles {price['low']:.2f} to {price['high']:.2f} of {price['rounds']} rounds on {price['cpu']}"
        table.add_row("kept in float", layers)
        table.add_row("", f"which takes {price['ratio']:.2f} times as long as all in int8 ({spread})")
    integer = "integer only" if report.fully_integer else "with float tensors"
    table.add_row("operators", ", ".join(f"{count} {name}" for name, count in report.ops.items()) + f" ({integer})")
    for end, port in (("input", report.input), ("output", report.output)):
        scale = "" if port["scale"] is None else f", scale {port['scale']:.6g}, zero point {port['zero_point']}"
        table.add_row(end, f"{port['dtype']} {tuple(port['shape'])}{scale}")
    if report.gate["faults"]:
        table.add_row("gate", f"would refuse: {'; '.join(report.gate['faults'])}")
    if report.keras_model:
        table.add_row("Keras model", report.keras_model)
    table.add_row("file", report.path)
    table.add_row("report", str(Path(report.path).with_suffix(".json")))
    Console().print(table)
