"""Charts as SVG and HTML text: no script, no font and no file from elsewhere; colours come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

# The colours that the style has, --c0 to --c7; series after them begin anew.
COLOURS = 8
# A chart's size and margins, in SVG's units; the top margin holds the vertical axis's title.
WIDTH, HEIGHT = 520, 352
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 50, 60
# The largest letters that the style gives a chart, which those on a phone are: height, and about the width of a digit.
LETTER_HEIGHT, DIGIT_WIDTH = 20, 11.5
# Lines of more points have smaller dots.
MOST_DOTS = 12
# Bins of a histogram over the whole axis.
BINS = 80


Scale = Callable[[float], float]
Limits = tuple[float, float]
UNLIMITED = (-math.inf, math.inf)


@dataclass(frozen=True)
class Point:
    """One mark: where it is, the name of its series, what a pointer over it shows, and its series' colour."""

    x: float
    y: float
    name: str
    detail: str
    colour: int


def front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats in both, lowest x first: the least x for each attainable y."""
    best: list[Point] = []
    for point in sorted(points, key=lambda each: (each.x, -each.y)):
        if not best or point.y > best[-1].y:
            best.append(point)
    return best


def scatter(points: Sequence[Point], x_title: str, y_title: str, y_limits: Limits = UNLIMITED) -> str:
    """Draw points over a logarithmic x, with the Pareto front (little x, much y) as a line.

    Args:
        points: the marks.
        x_title: what x is, and its unit.
        y_title: the same of y.
        y_limits: values beyond which the axis does not go.

    Returns:
        SVG, and a list of the series' names and colours.
    """
    x_scale, x_ticks = _log_scale([point.x for point in points], LEFT, WIDTH - RIGHT)
    y_scale, y_ticks = _linear_scale([point.y for point in points], HEIGHT - BOTTOM, TOP, y_limits)
    parts = _axes(x_scale, x_ticks, y_scale, y_ticks, x_title, y_title)
    line = " ".join(f"{x_scale(point.x):.1f},{y_scale(point.y):.1f}" for point in front(points))
    parts.append(f'<polyline class="front" points="{line}"/>')
    parts += _marks(points, x_scale, y_scale)
    return _svg(parts, f"{y_title} against {x_title}") + _legend(points)


def lines(series: Sequence[Sequence[Point]], x_title: str, y_title: str, from_zero: bool) -> str:
    """Draw one line for each series, with dots on it, smaller ones where there are many.

    Args:
        series: the points of each line.
        x_title: what x is, and its unit.
        y_title: the same of y.
        from_zero: whether the vertical axis begins at 0.

    Returns:
        SVG, and a list of the series' names and colours.
    """
    points = [point for each in series for point in each]
    x_scale, x_ticks = _linear_scale([point.x for point in points], LEFT, WIDTH - RIGHT)
    places = sorted({point.x for point in points})
    if len(places) <= 8 and all(place.is_integer() for place in map(float, places)):
        x_ticks = places
    lowest = [0.0] if from_zero else []
    y_scale, y_ticks = _linear_scale([*lowest, *(point.y for point in points)], HEIGHT - BOTTOM, TOP)
    parts = _axes(x_scale, x_ticks, y_scale, y_ticks, x_title, y_title)
    for each in series:
        path = " ".join(f"{x_scale(point.x):.1f},{y_scale(point.y):.1f}" for point in each)
        parts.append(f'<polyline class="line c{each[0].colour % COLOURS}" points="{path}"/>')
        parts += _marks(each, x_scale, y_scale, radius=5 if len(each) <= MOST_DOTS else 2)
    return _svg(parts, f"{y_title} against {x_title}") + _legend(points)


def histograms(rows: Sequence[tuple[str, Sequence[float], float, int]], unit: Callable[[float], str]) -> str:
    """Draw histograms over a shared logarithmic axis.

    Args:
        rows: label, samples, median and colour of each.
        unit: how a value is written.

    Returns:
        HTML, one histogram below the other.
    """
    everything = [value for _, samples, _, _ in rows for value in samples]
    low, high = math.log(min(everything)), math.log(max(everything))
    margin = max(0.02, (high - low) * 0.03)
    low, high = low - margin, high + margin
    edges = np.linspace(low, high, BINS + 1)
    parts = []
    for label, samples, median, colour in rows:
        counts, _ = np.histogram(np.log(np.asarray(samples)), edges)
        heights = counts / counts.max() * 26
        steps = " ".join(f"L{i},{28 - h:.1f} L{i + 1},{28 - h:.1f}" for i, h in enumerate(heights))
        middle = (math.log(median) - low) / (high - low) * BINS
        parts.append(
            f'<div class="row"><div class="name">{escape(label)}<b>{escape(unit(median))}</b></div>'
            f'<svg class="histogram" viewBox="0 0 {BINS} 28" preserveAspectRatio="none" aria-hidden="true">'
            f'<path class="c{colour % COLOURS}" d="M0,28 {steps} L{BINS},28 Z"/>'
            f'<line class="median" x1="{middle:.2f}" x2="{middle:.2f}" y1="0" y2="28"/></svg></div>'
        )
    middle = math.exp((low + high) / 2)
    ends = "".join(f"<span>{escape(unit(value))}</span>" for value in (math.exp(low), middle, math.exp(high)))
    return f'<div class="rows">{"".join(parts)}<div class="scale">{ends}</div></div>'


def bars(rows: Sequence[tuple[str, float]], unit: Callable[[float], str]) -> str:
    """Draw horizontal bars from zero.

    Args:
        rows: label and value of each.
        unit: how a value is written.

    Returns:
        HTML, one bar below the other.
    """
    largest = max(value for _, value in rows) or 1.0
    parts = [
        f'<div class="row"><div class="name">{escape(label)}<b>{escape(unit(value))}</b></div>'
        f'<div class="bar" style="width:{100 * value / largest:.1f}%"></div></div>'
        for label, value in rows
    ]
    return f'<div class="rows">{"".join(parts)}</div>'


def _log_scale(values: Sequence[float], start: float, end: float) -> tuple[Scale, list[float]]:
    low, high = math.log10(min(values)), math.log10(max(values))
    margin = max(0.08, (high - low) * 0.08)
    low, high = low - margin, high + margin
    steps = [factor * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for factor in (1, 2, 5)]
    ticks = [step for step in steps if low <= math.log10(step) <= high]
    if len(ticks) > 6:
        ticks = [step for step in ticks if math.log10(step).is_integer()] or ticks[:6]
    return lambda value: start + (math.log10(value) - low) / (high - low) * (end - start), ticks


def _linear_scale(
    values: Sequence[float], start: float, end: float, limits: Limits = UNLIMITED
) -> tuple[Scale, list[float]]:
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    step = 10.0 ** math.floor(math.log10((high - low + 2 * margin) / 3))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low + 2 * margin) / (step * factor) <= 5)
    low, high = max(low - margin if low else 0.0, limits[0]), min(high + margin, limits[1])
    ticks = [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return lambda value: start + (value - low) / (high - low) * (end - start), ticks


def _axes(
    x_scale: Scale, x_ticks: Sequence[float], y_scale: Scale, y_ticks: Sequence[float], x_title: str, y_title: str
) -> list[str]:
    parts = []
    for tick in _apart(y_ticks, y_scale, lambda text: LETTER_HEIGHT):
        y = y_scale(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 5:.1f}" text-anchor="end">{_tick_text(tick)}</text>')
    for tick in _apart(x_ticks, x_scale, lambda text: DIGIT_WIDTH * (len(text) + 1)):
        x = x_scale(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 22}" text-anchor="middle">{_tick_text(tick)}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_title)}</text>')
    parts.append(f'<text x="6" y="20">{escape(y_title)}</text>')
    return parts


def _tick_text(tick: float) -> str:
    return f"{tick:.6g}"


def _apart(ticks: Sequence[float], scale: Scale, size: Callable[[str], float]) -> list[float]:
    """Return as many of the ticks, in order, as have room beside each other for texts of some size."""
    kept: list[float] = []
    for tick in ticks:
        if kept:
            room = (size(_tick_text(tick)) + size(_tick_text(kept[-1]))) / 2
            if abs(scale(tick) - scale(kept[-1])) < room:
                continue
        kept.append(tick)
    return kept


def _marks(points: Sequence[Point], x_scale: Scale, y_scale: Scale, radius: int = 5) -> list[str]:
    return [
        f'<circle class="c{point.colour % COLOURS}" cx="{x_scale(point.x):.1f}" cy="{y_scale(point.y):.1f}" '
        f'r="{radius}">'
        f"<title>{escape(point.detail)}</title></circle>"
        for point in points
    ]


def _legend(points: Sequence[Point]) -> str:
    """Return the name and the colour of each series."""
    names = dict.fromkeys((point.name, point.colour % COLOURS) for point in points)
    entries = "".join(
        f'<li><svg viewBox="0 0 12 12" aria-hidden="true"><circle class="c{colour}" cx="6" cy="6" r="5"/></svg>'
        f"{escape(name)}</li>"
        for name, colour in names
    )
    return f'<ul class="legend">{entries}</ul>'


def _svg(parts: Sequence[str], title: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
