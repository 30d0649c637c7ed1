"""File names that a shell, a terminal or a parser could take for something else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from android_bench import results
from android_bench.__main__ import main
from android_bench.errors import InputError
from android_bench.model_file import open_model
from android_bench.runners import native_runner
from android_bench.targets import adb
from android_bench.testing import TestBoard, TestDevice, missing_board_tools, missing_tools

pytestmark = pytest.mark.usefixtures("litert")
FEW = ["--runs", "2", "--warmup", "0", "--repeats", "1"]
NAMES = [
    "-x.tflite",
    "--help.tflite",
    "a b.tflite",
    'it\'s "$(id)" `id`; #.tflite',
    "back\\slash.tflite",
    "[red]é.tflite",
]
Run = Callable[..., int]
Complaint = Callable[[], str]


@pytest.fixture
def odd(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Models of such names in the current folder, each with bytes of its own."""
    folder = tmp_path / "odd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    content = (models / "int8.tflite").read_bytes()
    for number, name in enumerate(NAMES):
        Path(name).write_bytes(content + bytes([number]))
    return [f"./{name}" for name in NAMES]


def test_they_are_measured_here_by_every_runner(odd: list[str], run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*odd, "--runtime", "litert", "native", *FEW, "--output", "./-results.jsonl") == 0
    rows = results.read("-results.jsonl")
    assert sorted(row.model for row in rows) == sorted(2 * [Path(name).stem for name in NAMES])
    assert "[red]é" in capsys.readouterr().out
    assert main(["report", "./-results.jsonl", "--output", "./-page.html"]) == 0
    assert main(["compare", "./-results.jsonl", "./-results.jsonl"]) == 2


@pytest.mark.skipif(bool(missing_board_tools()), reason=f"the test board needs {', '.join(missing_board_tools())}")
def test_they_are_measured_over_ssh(odd: list[str], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with TestBoard() as board:
        monkeypatch.setenv("ANDROID_BENCH_SSH", board.ssh_command)
        words = ["--target", "ssh:board", "--remote-python", sys.executable]
        assert run(*odd, *words, *FEW, "--output", "results.jsonl") == 0
    assert sorted(row.model for row in results.read("results.jsonl")) == sorted(Path(name).stem for name in NAMES)


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The serial of a test device, on an adb server of our own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(probe.getsockname()[1]))
    monkeypatch.setenv("ADB_MDNS_AUTO_CONNECT", "0")
    try:
        native_runner.for_aarch64()
    except InputError as error:
        pytest.skip(str(error))
    with TestDevice() as device:
        subprocess.run([adb.adb_binary(), "connect", device.serial], check=True, capture_output=True)
        yield device.serial
        subprocess.run([adb.adb_binary(), "kill-server"], capture_output=True)


@pytest.mark.skipif(bool(missing_tools()), reason=f"the test device needs {', '.join(missing_tools())}")
def test_they_are_measured_over_adb(odd: list[str], run: Run, phone: str) -> None:
    assert run(*odd, "--target", f"adb:{phone}", *FEW, "--output", "results.jsonl") == 0
    assert sorted(row.model for row in results.read("results.jsonl")) == sorted(Path(name).stem for name in NAMES)


@pytest.mark.parametrize("name", [b"two\nlines.tflite", b"\x1b[2J.tflite", b"latin-\xe9.tflite", b"tab\t.tflite"])
def test_names_that_cannot_be_printed_are_refused(
    models: Path, tmp_path: Path, run: Run, complaint: Complaint, name: bytes
) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/" + name))
    path.write_bytes((models / "int8.tflite").read_bytes())
    assert run(path, *FEW, "--output", tmp_path / "results.jsonl") == 2
    told = complaint()
    assert "has a control character or no UTF-8 in its name; rename it" in told
    assert told.isprintable()
    assert not (tmp_path / "results.jsonl").exists()


def test_names_that_are_too_long_are_refused_and_nothing_is_left(
    models: Path, tmp_path: Path, run: Run, complaint: Complaint
) -> None:
    output = tmp_path / "new" / f"{300 * 'r'}.jsonl"
    assert run(models / "int8.tflite", *FEW, "--output", output) == 2
    assert "choose a shorter name" in complaint()
    assert run(tmp_path / f"{300 * 'm'}.tflite", *FEW) == 2
    assert "choose a shorter name" in complaint()
    good = tmp_path / "results.jsonl"
    assert run(models / "int8.tflite", *FEW, "--output", good) == 0
    assert main(["report", str(good), "--output", str(tmp_path / "page" / f"{300 * 'p'}.html")]) == 2
    told = complaint()
    assert f"{300 * 'p'}.html: File name too long; choose a shorter name" in told
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path != good]


def test_a_name_as_long_as_the_file_system_takes(make_row: Callable[..., results.Row], tmp_path: Path) -> None:
    results.append(tmp_path / "results.jsonl", [make_row()])
    page = tmp_path / f"{250 * 'p'}.html"
    assert main(["report", str(tmp_path / "results.jsonl"), "--output", str(page)]) == 0
    assert page.exists()


@pytest.mark.parametrize("special", ["fifo", "device"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], special: str
) -> None:
    path = tmp_path / "pipe.tflite" if special == "fifo" else Path("/dev/zero")
    if special == "fifo":
        os.mkfifo(path)
    with pytest.raises(InputError, match="is not a regular file"):
        open_model(path)
    with pytest.raises(InputError, match="is not a regular file"):
        results.read(path)
    assert main(["report", str(path)]) == 2
    assert "is not a regular file" in capsys.readouterr().err
