"""Signs that something beside the model took part in a latency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from android_bench.stats import percentile
from android_bench.yardstick import MOVED, moved_within

LOWEST_CPU_SHARE = 0.95
SHORTEST_SHARE_US = 100.0
MOST_SWITCHES = 0.02
HIGHEST_SPREAD = 1.25
HIGHEST_PRESSURE = 10.0
LOWEST_CLOCK_RATIO = 0.95
HIGHEST_HEATING = 10.0


def reasons(document: dict[str, Any], threads: int, on_gpu: bool = False) -> list[str]:
    """Return why the runner's `document` should not be trusted to a few percent; empty for a quiet run.

    Each reason is a sign, a colon and its measure. A process that waits for a GPU is off its core by right.
    """
    found = []
    samples = document["samples_us"]
    if samples:
        cpu = document["cpu_us"] if threads == 1 and not on_gpu else None
        found += _signs_of_samples(samples, cpu, document["involuntary_switches"])
    yardstick = document.get("yardstick")
    moved = moved_within(yardstick["bursts_us"]) if yardstick else 0.0
    if moved > MOVED:
        found.append(f"uneven machine: its own speed moved by {moved:.0%} meanwhile")
    pressure = document["cpu_pressure"]
    if pressure is not None and pressure > HIGHEST_PRESSURE:
        found.append(f"busy machine: tasks waited for a core {pressure:.0f} % of the time")
    if document["steady"] is False:
        found.append("unsteady: latency still moved after warm-up")
    clock = document["frequency"]
    if clock["before"] and clock["after"] and clock["after"] < LOWEST_CLOCK_RATIO * clock["before"]:
        found.append(f"throttled: the clock fell from {clock['before']:.0f} to {clock['after']:.0f} MHz")
    heat = document["temperature"]
    if heat["before"] is not None and heat["after"] is not None and heat["after"] - heat["before"] > HIGHEST_HEATING:
        found.append(f"heated: from {heat['before']:.0f} to {heat['after']:.0f} °C")
    return found


def _signs_of_samples(samples: Sequence[float], cpu: Sequence[float] | None, switches: int | None) -> list[str]:
    found = []
    median = percentile(samples, 50)
    if cpu and median >= SHORTEST_SHARE_US:
        share = sum(cpu) / sum(samples)
        if share < LOWEST_CPU_SHARE:
            found.append(f"shared its core: {share:.0%} of the time on it")
    if switches is not None and switches > max(2, MOST_SWITCHES * len(samples)):
        found.append(f"pushed off its core: {switches} times in {len(samples)} runs")
    spread = percentile(samples, 90) / median if median else 1.0
    if spread > HIGHEST_SPREAD:
        found.append(f"spread: p90 is {spread:.2f} × p50")
    return found
