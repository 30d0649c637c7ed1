"""The energy that the whole machine takes, as far as it shows any."""

from __future__ import annotations

import glob
import time
from typing import Any

from android_bench.runners.python.kernel_files import read_numbers, read_text

# Where the kernel shows its devices.
DEVICES = "/sys/class"
# How often a battery's power is read, in seconds.
BATTERY_SECONDS = 0.1


def counted_joules() -> tuple[str, float] | None:
    """Return the source ("rapl" or "hwmon") and joules of the machine's own counters, or None where none is shown."""
    packages = [
        folder
        for folder in glob.glob(DEVICES + "/powercap/*rapl:*")
        if (read_text(folder + "/name") or "").startswith("package")
    ]
    counters = {
        "rapl": [number for folder in packages for number in read_numbers(folder + "/energy_uj")],
        "hwmon": read_numbers(DEVICES + "/hwmon/hwmon*/energy*_input"),
    }
    for source, microjoules in counters.items():
        if microjoules:
            return source, sum(microjoules) / 1e6
    return None


def battery_watts() -> float | None:
    """Return what a battery gives now in watts, or None where there is none, or where it is being charged."""
    for folder in glob.glob(DEVICES + "/power_supply/*"):
        microamperes = read_numbers(folder + "/current_now")
        microvolts = read_numbers(folder + "/voltage_now")
        if microamperes and microvolts and read_text(folder + "/status") == "Discharging":
            return abs(microamperes[0]) * microvolts[0] / 1e12
    return None


class EnergyMeter:
    """The whole machine's energy since this was made: counted, or a battery's power summed up over time."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._counted = counted_joules()
        self._watts = battery_watts() if self._counted is None else None
        self._joules = 0.0

    def look(self) -> None:
        """Read a battery again, if the last time was long enough ago."""
        if self._watts is not None and time.perf_counter() - self._last >= BATTERY_SECONDS:
            self._integrate(self._watts)

    def reading(self) -> dict[str, Any] | None:
        """Return source, joules and seconds; None where the machine shows no energy or a counter began anew."""
        if self._watts is not None:
            self._integrate(self._watts)
        source, joules = "battery", self._joules if self._watts is not None else None
        if self._counted is not None:
            now, self._last = counted_joules(), time.perf_counter()
            source, joules = self._counted[0], None if now is None else now[1] - self._counted[1]
        if joules is None or joules < 0:
            return None
        return {"source": source, "joules": joules, "seconds": self._last - self._start}

    def _integrate(self, before: float) -> None:
        now, watts = time.perf_counter(), battery_watts()
        if watts is not None:
            self._joules += (before + watts) / 2 * (now - self._last)
        self._watts, self._last = watts, now
