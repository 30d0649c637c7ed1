"""What the command shows: progress while it works, and tables of what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from export.mixed_precision.search import MixedPrecision
from export.report import Report
from export.verification.gate import FLOAT_PARITY
from export.verification.layer_errors import LayerErrors
from export.verification.metrics import MetricRecord


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
        """Show what the worker says: `step`, how many parts of `total` are `done`, and figures."""
        step = message["step"]
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step, figures="")
        rest = {name: value for name, value in message.items() if name not in ("step", "done", "total")}
        figures = " ".join(f"{name} {value:.4f}" for name, value in rest.items())
        self._progress.update(self._tasks[step], completed=message["done"], total=message["total"], figures=figures)


def show_plan(rows: Mapping[str, str]) -> None:
    """Print what would be done."""
    width = max(map(len, rows))
    for name, text in rows.items():
        print(f"{name:{width}}  {text}")


def show_layers(errors: LayerErrors) -> None:
    """Print each operation's error, all that was made so far and its own, in order of execution."""
    title = f"SQNR in dB over {errors.samples} samples, * the worst"
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("layer", overflow="fold")
    table.add_column("operator")
    table.add_column("so far", justify="right")
    table.add_column("its own", justify="right")
    for row in errors.rows:
        figures = []
        for sqnr_db, worst in ((row.sqnr_db, errors.worst), (row.own_sqnr_db, errors.worst_own)):
            mark = "*" if row.operation == worst else " "
            figures.append("exact " if sqnr_db is None else f"{sqnr_db:.1f}{mark}")
        table.add_row(" ".join([*row.fused, row.operation]), row.operator, *figures)
    Console().print(table)


def show_mixed(tried: MixedPrecision) -> None:
    """Print the sets of operations that were tried in float, and what each gained and cost."""
    table = Table(title="left in float", title_justify="left", box=None)
    for column in ("operations", "SQNR, dB", "drop, points", "latency over int8"):
        table.add_column(column, justify="right")
    for row in tried.sets:
        sqnr = "" if row.sqnr_db is None else f"{row.sqnr_db:.1f}"
        drop = f"{row.drop.points:.2f}" if row.drop else ""
        latency = f"{row.latency.ratio:.2f}" if row.latency else "1"
        table.add_row(str(len(row.operations)), sqnr, drop, latency)
    Console().print(table)


def show(report: Report) -> None:
    """Print what was exported."""
    table = Table(show_header=False, box=None)
    for metric in report.metrics:
        table.add_row(*_metric(metric))
        if metric.decides and report.mode not in FLOAT_PARITY:
            table.add_row("", _drop(metric, report.gate.max_drop))
    if report.qat and report.qat.ptq_accuracy is not None:
        table.add_row("", f"{report.qat.ptq_accuracy:.2%} without quantization-aware training")
    parity = report.parity
    sqnr = "" if parity.sqnr_db is None else f", SQNR {parity.sqnr_db:.1f} dB"
    agreeing = "" if parity.argmax_agreement is None else f", same class {parity.argmax_agreement:.1%}"
    table.add_row("against float", f"relative RMS {parity.relative_rms:.2g}{sqnr}{agreeing}")
    if report.structure:
        values = f", at most {report.values_per_channel} values in a channel" if report.values_per_channel else ""
        structure = f"{report.sparsity:.1%} zeros{values}"
        left = len(report.structure.left_alone)
        table.add_row("kernels", f"{structure}; {left} depthwise or shared ones left alone" if left else structure)
    gzipped = f" ({report.gzip_bytes:,} gzipped)" if report.gzip_bytes else ""
    table.add_row("size", f"{report.size_bytes:,} bytes{gzipped}")
    if report.keep_float:
        latency = report.keep_float.latency_over_int8
        layers = ", ".join(report.keep_float.operations)
        quartiles = f"quartiles {latency.low:.2f} to {latency.high:.2f}"
        spread = f"{quartiles} of {latency.rounds} rounds on {latency.cpu}"
        table.add_row("kept in float", layers)
        table.add_row("", f"which takes {latency.ratio:.2f} times as long as all in int8 ({spread})")
    integer = "integer only" if report.fully_integer else "with float tensors"
    table.add_row("operators", ", ".join(f"{count} {name}" for name, count in report.ops.items()) + f" ({integer})")
    for end, tensor in (("input", report.input), ("output", report.output)):
        scale = "" if tensor.scale is None else f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
        table.add_row(end, f"{tensor.dtype} {tuple(tensor.shape)}{scale}")
    if report.gate.faults:
        table.add_row("gate", f"would refuse: {'; '.join(report.gate.faults)}")
    if report.keras_model:
        table.add_row("Keras model", report.keras_model)
    table.add_row("file", report.path)
    table.add_row("report", str(Path(report.path).with_suffix(".json")))
    Console().print(table)


def _metric(metric: MetricRecord) -> tuple[str, str]:
    """A metric's name, and its values of file and model."""
    form = ".2%" if metric.unit == "points" else ".4g"
    name = "accuracy" if metric.is_accuracy else metric.name.replace("_", " ")
    return name, f"{metric.file:{form}} of {metric.samples} test samples, float {metric.float:{form}}"


def _drop(metric: MetricRecord, limit: float) -> str:
    """By how much it got worse, and whether so few samples can show that."""
    form, unit = (".2f", " points") if metric.unit == "points" else (".3g", "")
    worse = "a drop of" if metric.higher_is_better else "a rise of"
    if metric.low is None or metric.high is None:
        return f"{worse} {metric.drop:{form}}{unit}; nothing tells how sure that is"
    few = "; too few samples to show the limit" if (metric.high - metric.low) / 2 > limit else ""
    return f"{worse} {metric.drop:{form}}{unit} (95 % interval {metric.low:{form}} to {metric.high:{form}}{few})"
