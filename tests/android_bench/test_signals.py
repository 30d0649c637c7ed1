"""A run that is told to end leaves nothing behind, here or there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from android_bench import results
from android_bench.testing import TestBoard, missing_board_tools

pytestmark = pytest.mark.usefixtures("litert")


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """What ran these tests may ignore signals, as nohup does; the runs that they start are not to inherit that."""
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT)}
    for number, handler in before.items():
        if handler == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def start(words: list[str | Path], folder: Path, **variables: str) -> subprocess.Popen[str]:
    """Start a run whose temporary files go to `folder`; its second repeat would take ten minutes."""
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(folder), **variables}
    command = [sys.executable, "-m", "android_bench", "run", *words, "--seconds", "600", "--repeats", "1"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)


def is_running(number: int) -> bool:
    """Return whether a process is there that is no zombie."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_here(models: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    folder = tmp_path / "tmp"
    output = tmp_path / "results.jsonl"
    process = start([models / "int8.tflite", "--output", output], folder)
    while not list(folder.rglob("output.bin")) or not list(folder.glob("*/*.input")):
        assert process.poll() is None
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == code
    assert errors.startswith("interrupted: ")
    assert len(errors.splitlines()) == 1
    assert not list(folder.iterdir())
    assert not list(tmp_path.rglob("*.partial"))
    assert not output.exists() or results.read(output) == []


def child_of(number: int) -> int | None:
    """Return a process that the process started and that is there."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == number and fields[0] != "Z":
            return int(path.parent.name)
    return None


@pytest.mark.parametrize("runtime", ["litert", "native"])
def test_a_runner_ends_with_the_run_that_was_killed(models: Path, tmp_path: Path, runtime: str) -> None:
    folder = tmp_path / "tmp"
    words = [models / "int8.tflite", "--output", tmp_path / "results.jsonl", "--runtime", runtime]
    process = start(words, folder)
    while not list(folder.rglob("output.bin")) or not list(folder.glob("*/*.input")):
        assert process.poll() is None
    runner = child_of(process.pid)
    assert runner is not None
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60  # the kernel takes a moment; the measurement itself would take ten minutes
    while is_running(runner):
        assert time.monotonic() < deadline


@pytest.mark.skipif(bool(missing_board_tools()), reason=f"the test board needs {', '.join(missing_board_tools())}")
@pytest.mark.parametrize("keep", [[], pytest.param(["--keep-files"], marks=pytest.mark.slow)])
def test_on_a_board(models: Path, tmp_path: Path, keep: list[str]) -> None:
    with TestBoard() as board:
        words = [models / "int8.tflite", "--output", tmp_path / "results.jsonl", "--target", "ssh:board", *keep]
        folder = tmp_path / "tmp"
        process = start([*words, "--remote-python", sys.executable], folder, ANDROID_BENCH_SSH=board.ssh_command)
        while not [path for path in board.temporary.rglob("output") if path.stat().st_size]:
            assert process.poll() is None
        (number,) = [int(path.read_text()) for path in board.temporary.rglob("process")]
        assert is_running(number)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
        assert process.returncode == 143, errors
        while is_running(number):  # the kernel takes a moment
            pass
        assert errors == "interrupted: ended by SIGTERM; what was already measured is kept\n"
        assert not list(folder.iterdir())
        left = [path.relative_to(board.temporary).parts for path in board.temporary.rglob("*")]
        if keep:
            assert {parts[0] for parts in left} == {"android_bench-0"}
            assert max(map(len, left)) == 2
        else:
            assert not left
