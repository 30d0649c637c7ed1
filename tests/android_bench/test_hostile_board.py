"""Boards with other users on them, and boards that answer what they like; a real sshd on loopback stands for them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from android_bench import processes
from android_bench.testing import TestBoard, missing_board_tools

MISSING = missing_board_tools()
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"the test board needs {', '.join(MISSING)}"),
    pytest.mark.usefixtures("litert"),
]
FEW = ["--target", "ssh:board", "--runs", "2", "--warmup", "0", "--repeats", "1"]
STRANGER = 12345
Run = Callable[..., int]
Complaint = Callable[[], str]


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestBoard]:
    with TestBoard() as board:
        monkeypatch.setenv("ANDROID_BENCH_SSH", board.ssh_command)
        yield board


@pytest.fixture
def kept(board: TestBoard) -> Path:
    """Where files lie that stay on the board, whose user is root."""
    return board.temporary / "android_bench-0"


def link(kept: Path, elsewhere: Path) -> None:
    kept.symlink_to(elsewhere)


def folder_of_a_stranger(kept: Path, elsewhere: Path) -> None:
    kept.mkdir(mode=0o700)
    os.chown(kept, STRANGER, STRANGER)


def folder_that_all_may_use(kept: Path, elsewhere: Path) -> None:
    kept.mkdir()
    kept.chmod(0o777)


def file(kept: Path, elsewhere: Path) -> None:
    kept.write_text("mine")


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (link, "is a symbolic link"),
        (folder_of_a_stranger, f"belongs to user {STRANGER}"),
        (folder_that_all_may_use, "has mode 777"),
        (file, "is a regular file"),
    ],
)
def test_a_folder_that_somebody_made_before_is_not_used(
    board: TestBoard,
    kept: Path,
    models: Path,
    tmp_path: Path,
    run: Run,
    complaint: Complaint,
    prepare: Callable[[Path, Path], None],
    words: str,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    prepare(kept, elsewhere)
    before = set(board.temporary.rglob("*"))
    output = tmp_path / "results.jsonl"
    options = [*FEW, "--remote-python", sys.executable, "--output", output]
    assert run(models / "int8.tflite", *options, "--keep-files") == 2
    told = complaint()
    assert f"{kept} there {words}" in told
    assert "remove it, or run without --keep-files" in told
    assert not output.exists()
    assert not list(elsewhere.iterdir())
    assert set(board.temporary.rglob("*")) == before
    assert run(models / "int8.tflite", *options) == 0
    assert not list(elsewhere.iterdir())
    assert set(board.temporary.rglob("*")) == before


def test_files_stay_in_a_folder_of_ours_alone(
    board: TestBoard, kept: Path, models: Path, tmp_path: Path, run: Run
) -> None:
    options = [*FEW, "--remote-python", sys.executable, "--output", tmp_path / "results.jsonl", "--keep-files"]
    assert run(models / "int8.tflite", *options) == 0
    assert kept.stat().st_mode & 0o777 == 0o700
    files = {path: path.stat().st_ino for path in kept.iterdir()}
    assert {path.suffix for path in files} == {".tflite", ".input", ".pyz"}
    assert run(models / "int8.tflite", *options) == 0
    assert {path: path.stat().st_ino for path in kept.iterdir()} == files


def test_a_link_in_place_of_a_kept_file_is_replaced_and_not_followed(
    board: TestBoard, kept: Path, models: Path, tmp_path: Path, run: Run
) -> None:
    options = [*FEW, "--remote-python", sys.executable, "--output", tmp_path / "results.jsonl", "--keep-files"]
    assert run(models / "int8.tflite", *options) == 0
    (runner,) = kept.glob("*.pyz")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    runner.unlink()
    runner.symlink_to(victim)
    assert run(models / "int8.tflite", *options) == 0
    assert victim.read_text() == "precious"
    assert not runner.is_symlink()


def test_what_is_brought_there_lies_where_nobody_else_can_look(
    board: TestBoard, models: Path, tmp_path: Path, run: Run
) -> None:
    seen = tmp_path / "seen"
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\nfor word in "$@"; do case "$word" in\n'
        f'*.pyz) stat -c %a "$(dirname "$word")" >> {seen};;\nesac; done\n'
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    output = tmp_path / "results.jsonl"
    assert run(models / "int8.tflite", *FEW, "--remote-python", python, "--output", output) == 0
    assert seen.read_text().split() == ["700"]
    assert not list(board.temporary.iterdir())


@pytest.mark.parametrize("keep", [[], ["--keep-files"]])
def test_a_temporary_folder_in_which_others_may_rename_ours_is_refused(
    board: TestBoard, models: Path, run: Run, complaint: Complaint, keep: list[str]
) -> None:
    board.temporary.chmod(0o777)
    assert run(models / "int8.tflite", *FEW, "--remote-python", sys.executable, *keep) == 2
    assert "has mode 777, so that others may swap what is in it; let TMPDIR there name" in complaint()
    board.temporary.chmod(0o700)
    os.chown(board.temporary, STRANGER, STRANGER)
    assert run(models / "int8.tflite", *FEW, "--remote-python", sys.executable, *keep) == 2
    assert f"belongs to user {STRANGER}" in complaint()
    assert not list(board.temporary.iterdir())


@pytest.fixture
def answering(tmp_path: Path) -> Callable[[str], Path]:
    """A function that makes a Python which prints something of its own where it is to measure."""

    def build(program: str) -> Path:
        path = tmp_path / "python"
        path.write_text(f'#!/bin/sh\ncase "$*" in *--model*) {program} ;; esac\nexec {sys.executable} "$@"\n')
        path.chmod(0o755)
        return path

    return build


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("echo '{\"samples_us\": [NaN]}'; exit", "what the runner printed is no measurement (it holds NaN"),
        ("echo '{\"samples_us\": [1e999]}'; exit", "it holds a number that is too large"),
        ("echo '{\"device\": 1}'; exit", "is missing"),
        ("echo '[1]'; exit", "no complete result"),
        ("printf '{\"a\":'; exit", "no complete result"),
        ("printf '{\"a\":'; head -c 100000 /dev/zero | tr '\\0' '['; exit", "nested too deeply"),
        ("echo '{\"error\": []}'; exit 1", "a list in place of an object"),
        ('echo \'{"error": {"kind": "x", "message": "\\u001b[2J"}}\'; exit 1', "control characters"),
        ("head -c 100000 /dev/urandom; exit 0", "no complete result"),
        ("yes; exit 0", "printed more than 1 MB"),
        ("kill -9 $$", "code 137"),
    ],
)
def test_an_answer_that_is_no_measurement_is_refused_in_one_line(
    board: TestBoard,
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    complaint: Complaint,
    answering: Callable[[str], Path],
    program: str,
    words: str,
) -> None:
    monkeypatch.setattr(processes, "MOST_OUTPUT_BYTES", 1_000_000)
    output = tmp_path / "results.jsonl"
    assert run(models / "int8.tflite", *FEW, "--remote-python", answering(program), "--output", output) == 2
    assert words in complaint()
    assert not output.exists()
    assert not list(board.temporary.iterdir())


@pytest.mark.parametrize(
    "probe", ["exit 0", "echo '{}'", "echo '[[['", 'echo \'{"python": "new"}\'', "yes '{' | head -c 400000"]
)
def test_a_board_that_does_not_tell_what_it_has(
    board: TestBoard, models: Path, tmp_path: Path, run: Run, complaint: Complaint, probe: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{probe}\n")
    python.chmod(0o755)
    assert run(models / "int8.tflite", *FEW, "--remote-python", python) == 2
    assert "name its Python with --remote-python" in complaint()


def test_a_board_that_floods_even_the_end_of_the_connection(
    board: TestBoard, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, complaint: Complaint
) -> None:
    """`make attack` found that ssh's last words were read without a limit that anybody expected."""
    monkeypatch.setattr(processes, "MOST_OUTPUT_BYTES", 1_000_000)
    flood = tmp_path / "ssh"
    flood.write_text("#!/bin/sh\nexec yes\n")
    flood.chmod(0o755)
    monkeypatch.setenv("ANDROID_BENCH_SSH", str(flood))
    assert run(models / "int8.tflite", *FEW) == 2
    assert "printed more than 1 MB" in complaint()
