"""The figures of each model in each configuration, as CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from android_bench import table
from android_bench.results import Row, Summary
from android_bench.stats import percentile_interval
from android_bench.table import milliseconds
from android_bench.yardstick import moved_between


def figures(summary: Summary) -> dict[str, Any]:
    """Return the figures of one model in one configuration on one target; times in milliseconds."""
    row = summary.rows[0]
    blocks = [each.block_us for each in summary.rows if each.block_us]
    interval = percentile_interval(blocks, 50)
    energy, moved = summary.energy_joules, moved_between(summary.rows)
    return {
        "model": row.model,
        "mode": row.mode or "",
        "accuracy": "" if row.accuracy is None else f"{row.accuracy:.4f}",
        "threads": row.threads,
        "p50": milliseconds(summary.p50_us, ""),
        "p50 95 %": f"{milliseconds(interval.low)}–{milliseconds(interval.high)}" if interval else "",
        "p90": milliseconds(summary.p90_us, ""),
        "p95": milliseconds(summary.percentile(95), ""),
        "p99": milliseconds(summary.percentile(99), ""),
        "min": milliseconds(summary.minimum_us, ""),
        "init": milliseconds(summary.init_us),
        "peak MB": "" if summary.peak_rss_bytes is None else f"{summary.peak_rss_bytes / 1e6:.0f}",
        "mJ": "" if energy is None else f"{1000 * energy:.3g}",
        "energy from": table.energy_source(summary),
        "target": row.target,
        "runtime": f"{row.runtime} {row.runtime_version}",
        "delegate": row.delegate,
        "delegated": table.delegated(row, ""),
        "output": _output(row),
        "samples": len(summary.samples_us),
        "emulated": "yes" if row.emulated else "no",
        "noisy": f"{summary.noisy_repeats} of {len(summary.rows)}" if summary.noisy else "no",
        "machine moved": "" if moved is None else f"{moved:.0%}",
        "sha256": row.model_sha256,
    }


def _output(row: Row) -> str:
    """Return how far the output is from the reference: not at all, or the relative RMS of the difference."""
    if row.output_check is None:
        return "unchecked"
    return "identical" if row.output_check.identical else f"{row.output_check.relative_rms:.1g} off"


def as_csv(summaries: Sequence[Summary]) -> str:
    """Return the figures as CSV with a header line."""
    rows = [figures(summary) for summary in summaries]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_markdown(summaries: Sequence[Summary]) -> str:
    """Return the figures as a Markdown table."""
    rows = [figures(summary) for summary in summaries]
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[str(value).replace("|", "\\|") for value in row.values()] for row in rows]
    return "Latency in milliseconds, batch 1.\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
