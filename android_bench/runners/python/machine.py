"""What this machine is, which cores a process may use, and what can disturb a measurement on it."""

from __future__ import annotations

import glob
import os
import platform
import re
import resource
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from android_bench.runners.python.errors import RunnerError
from android_bench.runners.python.kernel_files import read_numbers, read_text

# A share of a shorter time than this, in seconds, would be one of few scheduler ticks and say nothing.
SHORTEST_PRESSURE_SECONDS = 0.2


def device() -> dict[str, Any]:
    """Return model, CPU, architecture, cores, operating system, kernel and governor, as the row has them."""
    information = read_text("/proc/cpuinfo") or ""
    names = re.findall(r"^(?:model name|Hardware|Model)\s*:\s*(.+)$", information, re.MULTILINE)
    system = re.search(r'^PRETTY_NAME="?([^"\n]+)', read_text("/etc/os-release") or "", re.MULTILINE)
    governors = {read_text(path) for path in glob.glob("/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")}
    return {
        "model": read_text("/proc/device-tree/model") or read_text("/sys/class/dmi/id/product_name"),
        "cpu": names[0].strip() if names else platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "os": system.group(1) if system else f"{platform.system()} {platform.release()}",
        "kernel": platform.release(),
        "governor": ", ".join(sorted(each for each in governors if each)) or None,
    }


def emulated() -> bool:
    """Return whether qemu-user runs this code; it hides itself everywhere but in the process's short name."""
    return (read_text("/proc/self/comm") or "").startswith("qemu-")


def usable_cpus() -> list[int]:
    """Return the cores that this process may use, in order."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def restrict_to(cpus: Sequence[int]) -> None:
    """Bind this process to some cores.

    Args:
        cpus: their numbers.

    Raises:
        RunnerError: of kind "cpus", where the system refuses.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise RunnerError("cpus", "this system cannot bind a process to cores")
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        raise RunnerError("cpus", str(error)) from error


def temperature() -> float | None:
    """Return the hottest sensor in degrees Celsius, or None where the machine shows none."""
    readings = read_numbers("/sys/class/thermal/thermal_zone*/temp") or read_numbers(
        "/sys/class/hwmon/hwmon*/temp*_input"
    )
    return max(readings) / 1000 if readings else None


def frequency(cpus: Sequence[int]) -> float | None:
    """Return the fastest clock of some cores in MHz, or None where the machine shows none."""
    readings: list[int] = []
    for cpu in cpus:
        readings += read_numbers(f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq")
    return max(readings) / 1000 if readings else None


def resident_bytes(field: str) -> int | None:
    """Return memory of this process in bytes.

    Not `ru_maxrss`, which a child inherits from the process that started it.

    Args:
        field: "VmRSS" for what is resident now, "VmHWM" for the most that was.
    """
    match = re.search(field + r":\s+(\d+) kB", read_text("/proc/self/status") or "")
    return int(match.group(1)) * 1024 if match else None


class Conditions(NamedTuple):
    """What can disturb a measurement, at one moment; None for what the machine does not show.

    Attributes:
        clock: seconds on a clock of its own.
        temperature: the hottest sensor in degrees Celsius.
        frequency: the fastest clock of the used cores in MHz.
        switches: how often the scheduler has pushed this process off a core.
        waited_us: for how long, since boot, some task of the machine waited for a core, in microseconds.
    """

    clock: float
    temperature: float | None
    frequency: float | None
    switches: int
    waited_us: int | None


def conditions(cpus: Sequence[int]) -> Conditions:
    """Return the conditions now, on the cores `cpus`."""
    return Conditions(time.perf_counter(), temperature(), frequency(cpus), _involuntary_switches(), _waited_us())


def disturbance(before: Conditions, after: Conditions) -> dict[str, Any]:
    """Return temperature, frequency, involuntary_switches and cpu_pressure between two moments, as the row has them."""
    return {
        "temperature": {"before": before.temperature, "after": after.temperature},
        "frequency": {"before": before.frequency, "after": after.frequency},
        "involuntary_switches": after.switches - before.switches,
        "cpu_pressure": _percentage(_grown(before.waited_us, after.waited_us), after.clock - before.clock),
    }


def _waited_us() -> int | None:
    match = re.search(r"some .*total=(\d+)", read_text("/proc/pressure/cpu") or "")
    return int(match.group(1)) if match else None


def _involuntary_switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _grown(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _percentage(microseconds: int | None, seconds: float) -> float | None:
    if microseconds is None or seconds < SHORTEST_PRESSURE_SECONDS:
        return None
    return round(min(100.0, microseconds / seconds / 1e4), 2)
