"""The figures as one HTML page that needs nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from android_bench import charts, table
from android_bench.charts import Point
from android_bench.figures import figures
from android_bench.operator_names import readable
from android_bench.results import Row, Summary, cell
from android_bench.table import milliseconds

STYLE = Path(__file__).parent / "report.css"
# The kinds of operators that are shown one by one; the rest is one bar.
MOST_OPERATORS = 12
# A repeat is drawn over time if its samples took so long, in microseconds, and fill so many windows of so many samples.
SHORTEST_SUSTAINED_US = 5e6
WINDOWS = 40
FEWEST_IN_WINDOW = 5
# An accuracy in percent lies between these.
PERCENTAGES = (0.0, 100.0)
# What may differ between configurations: its name, its value, and how a label says it.
VARYING: tuple[tuple[str, Callable[[Row], Any], str], ...] = (
    ("target", lambda row: row.target, "{}"),
    ("runtime", lambda row: row.runtime, "{}"),
    ("version", lambda row: row.runtime_version, "{}"),
    ("delegate", lambda row: row.delegate, "delegate {}"),
    ("threads", lambda row: row.threads, "threads: {}"),
    ("cores", lambda row: tuple(row.cpus), "cores {}"),
)


def page(summaries: Sequence[Summary]) -> str:
    """Return the HTML page."""
    rows = [row for summary in summaries for row in summary.rows]
    times = sorted(row.time for row in rows)
    period = times[0][:10] if times[0][:10] == times[-1][:10] else f"{times[0][:10]} to {times[-1][:10]}"
    targets = {row.target for row in rows}
    labels = label(summaries)
    unchecked = any(row.output_check is None for row in rows)
    sections = [
        ("Figures", _figures(summaries)),
        ("Accuracy against latency", _accuracy(summaries, labels)),
        ("Distribution of latency", _distributions(summaries, labels)),
        ("Latency over time", _over_time(summaries, labels)),
        ("Operators", _operators(summaries, labels)),
        ("Threads", _threads(summaries)),
        ("Temperature", _temperature(rows)),
        ("What to know before believing a figure", _notes(summaries, labels)),
        ("Devices", _devices(rows)),
        ("Files", _files(rows)),
    ]
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections if content)
    models = len({row.model_sha256 for row in rows})
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>Latency of {models} models</title>'
        f"<style>{STYLE.read_text(encoding='utf-8')}</style></head><body><main>"
        f"<h1>Latency of {models} model{'s' * (models > 1)}</h1>"
        f'<p class="soft">{len(rows)} measurements on {len(targets)} target{"s" * (len(targets) > 1)}, {period} (UTC). '
        "Milliseconds for one inference at batch 1. Every output was compared with LiteRT's on the same file before "
        f"its latency counted{', except those marked unchecked' if unchecked else ''}.</p>"
        f"{body}</main></body></html>\n"
    )


def label(summaries: Sequence[Summary]) -> list[str]:
    """Return a short name for each: its model, and of its configuration what is not the same for all."""
    firsts = [summary.rows[0] for summary in summaries]
    varying = [
        (value, form)
        for name, value, form in VARYING
        if len({value(row) for row in firsts}) > (len({row.runtime for row in firsts}) if name == "version" else 1)
    ]
    return [
        " · ".join([name, *(form.format(value(row)) for value, form in varying)])
        for row, name in zip(firsts, table.model_names(firsts), strict=True)
    ]


def _table(
    head: Iterable[str],
    rows: Iterable[Iterable[Any]],
    numbers: Iterable[str] = (),
    wide: str = "",
    noisy: Container[int] = (),
) -> str:
    """Return a table: `numbers` are the columns of figures, `wide` is one that may wrap, `noisy` are rows to mark."""
    names, right = list(head), set(numbers)
    kinds = ["number" if name in right else "wrap" if name == wide else "" for name in names]
    head_cells = "".join(f'<th class="{kind}">{escape(name)}</th>' for name, kind in zip(names, kinds, strict=True))
    lines = "".join(
        f'<tr class="{"noisy" if number in noisy else ""}">'
        + "".join(f'<td class="{kind}">{escape(str(cell))}</td>' for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for number, row in enumerate(rows)
    )
    return f'<div class="panel"><table><tr>{head_cells}</tr>{lines}</table></div>'


def _figures(summaries: Sequence[Summary]) -> str:
    rows = [figures(summary) for summary in summaries]
    for row, name in zip(rows, _models(summaries), strict=True):
        row["model"], row["sha256"] = name, row["sha256"][:12]
    left = {
        "model",
        "mode",
        "target",
        "runtime",
        "delegate",
        "emulated",
        "noisy",
        "sha256",
        "delegated",
        "output",
        "energy from",
    }
    varying = [name for name in ("target", "runtime", "delegate") if len({row[name] for row in rows}) > 1]
    order = dict.fromkeys(("model", "threads", "p50", "noisy", *varying, *rows[0]))
    kept = [name for name in order if any(str(row[name]) for row in rows)]
    noisy = {number for number, row in enumerate(rows) if row["noisy"] != "no"}
    return _table(kept, [[row[name] for name in kept] for row in rows], set(kept) - left, noisy=noisy)


def _models(summaries: Sequence[Summary]) -> list[str]:
    return table.model_names([summary.rows[0] for summary in summaries])


def _colours(summaries: Sequence[Summary]) -> dict[str, int]:
    """Return a colour's number for each file."""
    digests = dict.fromkeys(summary.rows[0].model_sha256 for summary in summaries)
    return {digest: number for number, digest in enumerate(digests)}


def _accuracy(summaries: Sequence[Summary], labels: Sequence[str]) -> str:
    colours = _colours(summaries)
    panels: dict[str, list[Point]] = defaultdict(list)
    for summary, name, model in zip(summaries, labels, _models(summaries), strict=True):
        row = summary.rows[0]
        if row.accuracy is not None and summary.p50_us is not None:
            detail = f"{name}: {100 * row.accuracy:.2f} %, {milliseconds(summary.p50_us)} ms"
            point = Point(summary.p50_us / 1000, 100 * row.accuracy, model, detail, colours[row.model_sha256])
            panels[row.target].append(point)
    if not panels:
        return (
            '<p class="note">No measured file had an export report of its own hash beside it, so that no accuracy is '
            "known here.</p>"
        )
    content = ""
    for target, points in panels.items():
        chart = charts.scatter(points, "p50, ms", "accuracy, %", PERCENTAGES)
        content += f'<div class="panel"><h3>{escape(target)}</h3>{chart}</div>'
    return (
        '<p class="note">One dot for each configuration of a file. Up and left is better; the dashed line joins the '
        f'dots that no other beats in both.</p><div class="panels">{content}</div>'
    )


def _distributions(summaries: Sequence[Summary], labels: Sequence[str]) -> str:
    colours = _colours(summaries)
    rows = [
        (name, summary.samples_us, summary.p50_us, colours[summary.rows[0].model_sha256])
        for summary, name in zip(summaries, labels, strict=True)
        if summary.samples_us and summary.p50_us is not None
    ]
    if not rows:
        return '<p class="note">No runtime told its samples.</p>'
    content = charts.histograms(rows, _with_unit)
    return (
        '<p class="note">Every sample of every repeat, on one logarithmic axis; the tick and the figure are the '
        f'median.</p><div class="panel">{content}</div>'
    )


def _over_time(summaries: Sequence[Summary], labels: Sequence[str]) -> str:
    """Return the medians of successive windows of sustained repeats (`--seconds`), or nothing where there are none."""
    panels: dict[str, list[list[Point]]] = defaultdict(list)
    for summary, name in zip(summaries, labels, strict=True):
        row = max(summary.rows, key=lambda each: sum(each.samples_us))
        if sum(row.samples_us) < SHORTEST_SUSTAINED_US or len(row.samples_us) < FEWEST_IN_WINDOW * WINDOWS:
            continue
        samples = np.asarray(row.samples_us)
        ends = np.cumsum(samples) / 1e6
        points = []
        for part in np.array_split(np.arange(len(samples)), WINDOWS):
            median = float(np.median(samples[part]))
            detail = f"{name}: {milliseconds(median)} ms at {ends[part[-1]]:.0f} s"
            points.append(Point(float(ends[part[-1]]), median / 1000, name, detail, len(panels[row.target])))
        panels[row.target].append(points)
    content = ""
    for target, series in panels.items():
        chart = charts.lines(series, "seconds", "median, ms", from_zero=True)
        content += f'<div class="panel"><h3>{escape(target)}</h3>{chart}</div>'
    return f'<div class="panels">{content}</div>' if content else ""


def _operators(summaries: Sequence[Summary], labels: Sequence[str]) -> str:
    panels = []
    shown_files = set()
    for summary, name in zip(summaries, labels, strict=True):
        operators = next((row.operators for row in summary.rows if row.operators), None)
        file = summary.rows[0].target, summary.rows[0].model_sha256
        if operators and file not in shown_files:
            shown_files.add(file)
            slowest = sorted(operators, key=lambda each: -each.us)
            shown = [(f"{readable(each.name)} × {each.calls:.3g}", each.us) for each in slowest[:MOST_OPERATORS]]
            rest = sum(each.us for each in slowest[MOST_OPERATORS:])
            if rest:
                shown.append(("all others", rest))
            panels.append(f'<div class="panel"><h3>{escape(name)}</h3>{charts.bars(shown, _with_unit)}</div>')
    if not panels:
        return '<p class="note">Only the native runner (--runtime native) records operators; none was used.</p>'
    return (
        '<p class="note">Mean time of one inference in each kind of operator, from separate runs with the profiler '
        "on, in whole microseconds an operator. XNNPACK computes a 1×1 convolution as a fully connected layer and does "
        f'not tell the two apart.</p><div class="panels">{"".join(panels)}</div>'
    )


def _threads(summaries: Sequence[Summary]) -> str:
    groups: dict[tuple[str | int, ...], dict[int, tuple[Summary, float]]] = defaultdict(dict)
    for summary in summaries:
        row, median = summary.rows[0], summary.p50_us
        if median is not None:
            groups[cell(replace(row, threads=1, cpus=[]))][row.threads] = summary, median
    panels: dict[str, list[dict[int, tuple[Summary, float]]]] = defaultdict(list)
    for each in groups.values():
        if len(each) > 1:
            panels[each[min(each)][0].rows[0].target].append(each)
    content = ""
    for target, scaling in panels.items():
        names = label([each[min(each)][0] for each in scaling])
        series = []
        for number, (each, name) in enumerate(zip(scaling, names, strict=True)):
            _, slowest = each[min(each)]
            series.append(
                [
                    Point(
                        threads, slowest / median, name, f"{name}: {threads} threads, {milliseconds(median)} ms", number
                    )
                    for threads, (_, median) in sorted(each.items())
                ]
            )
        chart = charts.lines(series, "threads", "times as fast", from_zero=True)
        content += f'<div class="panel"><h3>{escape(target)}</h3>{chart}</div>'
    note = '<p class="note">By the median, against the fewest threads measured.</p>'
    return f'{note}<div class="panels">{content}</div>' if content else ""


def _temperature(rows: Sequence[Row]) -> str:
    start = min(datetime.fromisoformat(row.time) for row in rows)
    series: dict[str, list[Point]] = {}
    for row in sorted(rows, key=lambda each: each.time):
        heat = row.temperature.after
        if heat is not None:
            minutes = (datetime.fromisoformat(row.time) - start).total_seconds() / 60
            points = series.setdefault(row.target, [])
            number = list(series).index(row.target)
            points.append(Point(minutes, heat, row.target, f"{row.model}: {heat:.1f} °C", number))
    if not series:
        return '<p class="note">No target showed a temperature.</p>'
    chart = charts.lines(list(series.values()), "minutes", "hottest sensor, °C", from_zero=False)
    return f'<div class="panel">{chart}</div>'


def _notes(summaries: Sequence[Summary], labels: Sequence[str]) -> str:
    lines = [
        f"{name}: {note}" for summary, name in zip(summaries, labels, strict=True) for note in table.notes(summary)
    ]
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def _devices(rows: Sequence[Row]) -> str:
    devices: dict[str, dict[str, Any]] = {
        row.target: {**asdict(row.device), "emulated": "yes" if row.emulated else "no"} for row in rows
    }
    names = list(next(iter(devices.values())))
    cells = [[target, *(device[name] or "" for name in names)] for target, device in devices.items()]
    return _table(["target", *names], cells, ["cores"])


def _files(rows: Sequence[Row]) -> str:
    files = {row.model_sha256: row for row in rows}
    cells = [[row.model, f"{row.model_bytes:,}", digest, row.model_path] for digest, row in files.items()]
    return _table(["model", "bytes", "sha256", "measured from"], cells, ["bytes"], wide="sha256")


def _with_unit(microseconds: float) -> str:
    return f"{microseconds:.3g} µs" if microseconds < 1000 else f"{milliseconds(microseconds)} ms"
