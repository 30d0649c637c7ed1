"""Kills, signals, full and read-only disks while we train, export and measure."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from attack import models
from attack.commands import ended, nothing_half_written, start
from attack.trial import Fell, Kind

TRAIN = ["keras_classics.train", "lenet5", "--data", "digits", "--epochs", "2", "--output", "out"]
EXPORT = ["export.tflite", "small.keras", "--output", "out", "--int8", "--calibration", "calibration.npy"]
BENCH = ["android_bench", "run", "small.tflite", "--runs", "5", "--repeats", "3", "--output", "out/results.jsonl"]
COMMANDS = {"train": (TRAIN, 25.0), "export": (EXPORT, 20.0), "bench": (BENCH, 6.0)}
LONGEST = 300.0


@functools.cache
def _inputs() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ramp = np.linspace(0, 2, 8)[:, None, None] + np.linspace(0, 3, 8)[:, None] * np.array([1.0, 2, 3])
        images = 0.5 + 0.5 * np.sin(np.linspace(0, 3, 20)[:, None, None, None] + ramp)
        np.save(folder / "calibration.npy", images.astype(np.float32))
        return {
            "small.keras": models.keras_file(folder),
            "small.tflite": models.tflite_file(),
            "calibration.npy": (folder / "calibration.npy").read_bytes(),
        }


def _prepared(folder: Path) -> None:
    for name, content in _inputs().items():
        (folder / name).write_bytes(content)
    (folder / "out").mkdir()


def _ended_at_random(command: str, signals: tuple[signal.Signals, ...]) -> Callable[[np.random.Generator, Path], int]:
    words, typical = COMMANDS[command]

    def trial(generator: np.random.Generator, folder: Path) -> int:
        _prepared(folder)
        (folder / "out" / "model.keras").write_bytes(_inputs()["small.keras"])
        number = signals[int(generator.integers(0, len(signals)))]
        process = start(words, folder)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(float(generator.uniform(0, 1.2 * typical)))
        process.send_signal(number)
        code, _ = _ended_by(process)
        nothing_half_written(folder, killed=code < 0)
        if code == -signal.SIGKILL:
            _no_orphans(folder)
        return 1

    return trial


def _ended_by(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """As `ended`; a signal may also come before Python has a handler, or when it has none any more."""
    try:
        return ended(process, LONGEST)
    except Fell:
        if process.returncode is not None and process.returncode < 0:
            return process.returncode, ""
        raise


def _no_orphans(folder: Path) -> None:
    """Processes that work for this folder are gone soon after the one that started them."""
    deadline = time.monotonic() + 3
    while left := [pid for pid in _pids() if str(folder).encode() in _environment(pid)]:
        if time.monotonic() > deadline:
            raise Fell(f"{len(left)} processes outlived their parent by 3 s")
        time.sleep(0.05)


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and int(path.name) != os.getpid()]


def _environment(pid: int) -> bytes:
    try:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return b""
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


@contextlib.contextmanager
def _mounted(folder: Path, options: str) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk(generator: np.random.Generator, folder: Path) -> int:
    """The results' folder has little space: whatever does not fit is refused, and nothing is left of it."""
    _prepared(folder)
    words, _ = list(COMMANDS.values())[int(generator.integers(0, len(COMMANDS)))]
    size = int(2 ** generator.uniform(12, 20))
    with _mounted(folder / "out", f"size={size}"):
        code, last = ended(start(words, folder), LONGEST)
        nothing_half_written(folder / "out", killed=False)
        if code not in (0, 2) or (code == 2 and "space" not in last):
            raise Fell(f"a disk of {size} bytes: {last}")
    return 1


def read_only_disk(generator: np.random.Generator, folder: Path) -> int:
    """The results' folder cannot be written to."""
    _prepared(folder)
    words, _ = list(COMMANDS.values())[int(generator.integers(0, len(COMMANDS)))]
    with _mounted(folder / "out", "ro,size=1m"):
        code, last = ended(start(words, folder), LONGEST)
        if code != 2 or "Read-only" not in last:
            raise Fell(f"a read-only folder: exit code {code}, {last}")
    return 1


def worker_killed(generator: np.random.Generator, folder: Path) -> int:
    """The converter's process is killed, as by a system out of memory."""
    _prepared(folder)
    process = start(EXPORT, folder)
    deadline = time.monotonic() + float(generator.uniform(1, 15))
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    for pid in _pids():
        if str(folder).encode() in _environment(pid) and b"export.worker" in _words(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    code, last = ended(process, LONGEST)
    if code not in (0, 4):
        raise Fell(f"a worker killed: exit code {code}, {last}")
    nothing_half_written(folder, killed=False)
    return 1


def _words(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _kinds() -> Iterator[Kind]:
    for command in COMMANDS:
        kills = _ended_at_random(command, (signal.SIGKILL,))
        asked = _ended_at_random(command, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        quick = command == "bench"
        yield Kind(f"{command} killed", "faults", kills, 2, LONGEST + 60, None, short=quick)
        yield Kind(f"{command} asked to end", "faults", asked, 2, LONGEST + 60, None, short=quick)
    yield Kind("worker killed", "faults", worker_killed, 2, LONGEST + 60, None, short=False)
    if os.geteuid() == 0:
        yield Kind("full disk", "faults", full_disk, 2, LONGEST + 60, None, short=False)
        yield Kind("read-only disk", "faults", read_only_disk, 1, LONGEST + 60, None, short=False)


KINDS = tuple(_kinds())
