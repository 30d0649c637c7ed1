"""Signs that something beside the model took part in a latency."""

from __future__ import annotations

from collections.abc import Sequence

from android_bench.document import Document
from android_bench.stats import percentile
from android_bench.yardstick import MOVED, moved_within

# Below this share of its time on a core, a process of one thread had to wait for others.
LOWEST_CPU_SHARE = 0.95
# The processor clock is too coarse for a share of samples that are shorter than this, in microseconds.
SHORTEST_SHARE_US = 100.0
# The scheduler may push a process off its core in this share of its runs, and twice in any case.
MOST_SWITCHES = 0.02
FEWEST_SWITCHES = 2
# The 90th percentile over the median, above which some runs met something that others did not.
HIGHEST_SPREAD = 1.25
# The percentage of the measured time in which tasks may wait for a core (Linux's pressure stall information).
HIGHEST_PRESSURE = 10.0
# The clock after the samples over the clock before, below which it was throttled meanwhile.
LOWEST_CLOCK_RATIO = 0.95
# How much warmer the hottest sensor may be after the samples, in degrees Celsius.
HIGHEST_HEATING = 10.0


def reasons(document: Document, threads: int, on_gpu: bool = False) -> list[str]:
    """Return why a measurement should not be trusted to a few percent.

    Args:
        document: what the runner told.
        threads: those of one inference.
        on_gpu: whether a GPU computed; a process that waits for one is off its core by right.

    Returns:
        The reasons, each a sign, a colon and its measure; none for a quiet run.
    """
    found = []
    samples = document.samples_us
    if samples:
        cpu = document.cpu_us if threads == 1 and not on_gpu else None
        found += _signs_of_samples(samples, cpu, document.involuntary_switches)
    moved = moved_within(document.yardstick.bursts_us) if document.yardstick else 0.0
    if moved > MOVED:
        found.append(f"uneven machine: its own speed moved by {moved:.0%} meanwhile")
    pressure = document.cpu_pressure
    if pressure is not None and pressure > HIGHEST_PRESSURE:
        found.append(f"busy machine: tasks waited for a core {pressure:.0f} % of the time")
    if document.steady is False:
        found.append("unsteady: latency still moved after warm-up")
    clock = document.frequency
    if clock.before and clock.after and clock.after < LOWEST_CLOCK_RATIO * clock.before:
        found.append(f"throttled: the clock fell from {clock.before:.0f} to {clock.after:.0f} MHz")
    heat = document.temperature
    if heat.before is not None and heat.after is not None and heat.after - heat.before > HIGHEST_HEATING:
        found.append(f"heated: from {heat.before:.0f} to {heat.after:.0f} °C")
    return found


def _signs_of_samples(samples: Sequence[float], cpu: Sequence[float] | None, switches: int | None) -> list[str]:
    found = []
    median = percentile(samples, 50)
    if cpu and median >= SHORTEST_SHARE_US:
        share = sum(cpu) / sum(samples)
        if share < LOWEST_CPU_SHARE:
            found.append(f"shared its core: {share:.0%} of the time on it")
    if switches is not None and switches > max(FEWEST_SWITCHES, MOST_SWITCHES * len(samples)):
        found.append(f"pushed off its core: {switches} times in {len(samples)} runs")
    spread = percentile(samples, 90) / median if median else 1.0
    if spread > HIGHEST_SPREAD:
        found.append(f"spread: p90 is {spread:.2f} × p50")
    return found
