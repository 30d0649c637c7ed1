"""What `run` prints: one line for each model and configuration, and what to know before believing it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from android_bench.results import Row, Summary
from android_bench.yardstick import MOVED, moved_between

DELEGATES = {"xnnpack": "XNNPACK", "gpu": "the GPU"}


def milliseconds(microseconds: float | None, unknown: str = "?") -> str:
    """Return milliseconds with three significant digits, in full notation; `unknown` for None."""
    if microseconds is None:
        return unknown
    value = microseconds / 1000
    decimals = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:.{decimals}f}"


def model_names(rows: Sequence[Row]) -> list[str]:
    """Return the name of each row's model, with the start of its hash where several files have that name."""
    hashes: dict[str, set[str]] = {}
    for row in rows:
        hashes.setdefault(row.model, set()).add(row.model_sha256)
    return [f"{row.model} ({row.model_sha256[:6]})" if len(hashes[row.model]) > 1 else row.model for row in rows]


def undelegated_reason(row: Row) -> str | None:
    """Return why no delegate took a node of an int8 graph, or None where one did or the graph is not int8."""
    if not row.integer_nodes or row.delegated_nodes != 0:
        return None
    if row.delegate == "none":
        return "no delegate was asked for (--delegate none)"
    if row.runtime == "tflite-runtime":
        return (
            f"tflite-runtime {row.runtime_version} comes with XNNPACK's int8 kernels switched off, so built-in "
            "kernels ran: this is the runtime's speed, not int8's"
        )
    operators = f" ({', '.join(row.undelegated_operators)})" if row.undelegated_operators else ""
    return f"{DELEGATES[row.delegate]} takes none of its operators{operators}"


def delegated(row: Row, unknown: str = "?") -> str:
    """Return delegated nodes / all nodes and in how many partitions, as far as the runtime tells."""
    if row.nodes is None or row.partitions is None:
        return unknown
    return f"{'?' if row.delegated_nodes is None else row.delegated_nodes}/{row.nodes} in {row.partitions}"


def notes(summary: Summary) -> list[str]:
    """Return what to know before believing a summary."""
    row = summary.rows[0]
    found = []
    if row.emulated:
        found.append("ran on an emulated processor; its latency means nothing")
    reason = undelegated_reason(row)
    if reason:
        found.append(f"no node of this int8 graph is delegated: {reason}")
    if row.delegate == "gpu" and row.delegated_nodes is None:
        found.append("the GPU took a part of the graph, or none: the runtime does not tell how much")
    if row.statistics is not None:
        mean = milliseconds(statistics.fmean([each.statistics.mean_us for each in summary.rows if each.statistics]))
        found.append(f"{row.runtime} tells statistics and not its samples (mean {mean} ms); what it does not tell is ?")
    if row.output_check is None:
        found.append("nothing shows that its output is right: this benchmark_model cannot write it (--unchecked)")
    elif row.output_check.constant:
        found.append("its output has one value only on this input, which proves little; give a real one with --input")
    moved = moved_between(summary.rows)
    if moved is not None and moved > MOVED:
        found.append(f"the machine's own speed moved by {moved:.0%} between its repeats")
    if summary.noisy:
        found.append(f"noisy in {summary.noisy_repeats} of {len(summary.rows)}: {'; '.join(summary.noisy)}")
    return found


def energy_source(summary: Summary) -> str:
    """Return what told the energy: rapl, hwmon or battery; nothing where there is none."""
    return ", ".join(sorted({row.energy.source for row in summary.rows if row.energy}))


def _energy(summary: Summary) -> list[str]:
    if summary.energy_joules is None:
        return []
    millijoules = 1000 * summary.energy_joules
    return [f"{millijoules:.3g} mJ an inference, with all that ran meanwhile ({energy_source(summary)})"]


def show(summaries: Sequence[Summary], console: Console) -> None:
    """Print the table and its notes. "delegated" is delegated nodes / all nodes, and in how many partitions."""
    table = Table(title="latency in milliseconds, batch 1", title_justify="left")
    firsts = [summary.rows[0] for summary in summaries]
    columns: dict[str, Callable[[Row], str]] = {"target": lambda row: row.target, "delegate": lambda row: row.delegate}
    optional = {name: value for name, value in columns.items() if len({value(row) for row in firsts}) > 1}
    for column in (*optional, "model", "runtime"):
        table.add_column(column, overflow="fold")
    for column in ("threads", "p50", "p90", "min", "init", "peak MB", "delegated", "noisy"):
        table.add_column(column, justify="right", no_wrap=True)
    lines = []
    for summary, row, name in zip(summaries, firsts, model_names(firsts), strict=True):
        values = [value(row) for value in optional.values()]
        table.add_row(
            *map(Text, values),  # names may hold what rich takes for markup
            Text(name),
            Text(f"{row.runtime} {row.runtime_version}" + (" (emulated)" if row.emulated else "")),
            str(row.threads),
            milliseconds(summary.p50_us),
            milliseconds(summary.p90_us),
            milliseconds(summary.minimum_us),
            milliseconds(summary.init_us),
            "?" if summary.peak_rss_bytes is None else f"{summary.peak_rss_bytes / 1e6:.0f}",
            delegated(row),
            f"{summary.noisy_repeats} of {len(summary.rows)}" if summary.noisy_repeats else "no",
        )
        place = ", ".join([*values, name, row.runtime, f"{row.threads} thread{'s' * (row.threads > 1)}"])
        lines += [f"{place}: {note}" for note in (*_energy(summary), *notes(summary))]
    console.print(table)
    for line in lines:
        console.print(f"• {line}", markup=False, highlight=False, soft_wrap=True)
