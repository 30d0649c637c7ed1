"""A machine's temperature and clocks, as its shell shows them: for runners that do not read them themselves."""

from __future__ import annotations

from collections.abc import Sequence

TEMPERATURES = "cat /sys/class/thermal/thermal_zone*/temp 2>/dev/null"
SEPARATOR = "clocks"


def conditions_command(cpus: Sequence[int]) -> str:
    """Return the shell command that prints what `read_conditions` takes, for the cores `cpus`."""
    cores = " ".join(map(str, cpus))
    clocks = f"for core in {cores}; do cat /sys/devices/system/cpu/cpu$core/cpufreq/scaling_cur_freq"
    return f"{TEMPERATURES}; echo {SEPARATOR}; {clocks} 2>/dev/null; done"


def read_conditions(text: str) -> tuple[float | None, float | None]:
    """Return the hottest sensor in °C and the fastest clock in MHz; None for what is not shown."""
    temperatures, _, frequencies = text.partition(SEPARATOR)
    return largest(temperatures), largest(frequencies)


def largest(lines: str) -> float | None:
    """Return the largest of some lines of thousandths, in whole units; None where there is no number."""
    readings = [float(line) for line in lines.split() if line.lstrip("-").isdecimal() and len(line) < 16]
    return max(readings) / 1000 if readings else None
