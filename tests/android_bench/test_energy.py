"""What machines show of their energy, as files of the kernel would."""

from collections.abc import Callable
from pathlib import Path

import pytest

from android_bench.runners.python import energy
from android_bench.runners.python.energy import EnergyMeter


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.setattr(energy, "DEVICES", str(tmp_path))

    def write(**files: object) -> None:
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")

    return write


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that sets RAPL's counters: two packages and what must not be counted twice."""
    monkeypatch.setattr(energy, "DEVICES", str(tmp_path))
    names = {"intel-rapl:0": "package-0", "intel-rapl:1": "package-1", "intel-rapl:0:0": "core", "intel-rapl:2": "psys"}

    def count(microjoules: int) -> None:
        for folder, name in names.items():
            place = tmp_path / "powercap" / folder
            place.mkdir(parents=True, exist_ok=True)
            (place / "name").write_text(f"{name}\n")
            (place / "energy_uj").write_text(f"{microjoules}\n")

    return count


def test_packages_are_counted_once(powercap: Callable[[int], None]) -> None:
    powercap(1_000_000)
    meter = EnergyMeter()
    powercap(3_500_000)
    reading = meter.reading()
    assert (reading["source"], reading["joules"]) == ("rapl", 5.0)
    assert reading["seconds"] > 0


def test_a_counter_that_began_anew_tells_nothing(powercap: Callable[[int], None]) -> None:
    powercap(9_000_000)
    meter = EnergyMeter()
    powercap(1_000)
    assert meter.reading() is None


def test_a_boards_own_meter(write: Callable[..., None]) -> None:
    write(hwmon__hwmon3__energy1_input=2_000_000)
    meter = EnergyMeter()
    write(hwmon__hwmon3__energy1_input=2_250_000)
    assert (meter.reading()["source"], meter.reading()["joules"]) == ("hwmon", 0.25)


def test_a_battery_that_discharges_is_integrated(write: Callable[..., None]) -> None:
    write(power_supply__BAT0__current_now=-1_000_000, power_supply__BAT0__voltage_now=4_000_000)
    write(power_supply__BAT0__status="Discharging")
    meter = EnergyMeter()
    reading = meter.reading()
    assert reading["source"] == "battery"
    assert reading["joules"] == pytest.approx(4 * reading["seconds"])
    write(power_supply__BAT0__status="Charging")
    assert meter.reading() is None
    assert EnergyMeter().reading() is None


def test_a_machine_that_shows_nothing(write: Callable[..., None]) -> None:
    assert EnergyMeter().reading() is None
