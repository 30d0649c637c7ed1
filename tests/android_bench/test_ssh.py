"""A real sshd on loopback. Its userland is this machine's, and in the slow test one of ARM."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from android_bench import results
from android_bench.errors import InputError
from android_bench.targets import ssh
from android_bench.targets.ssh import Probe, SshTarget
from android_bench.testing import TestBoard, missing_board_tools, missing_tools

MISSING = missing_board_tools()
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"the test board needs {', '.join(MISSING)}"),
    pytest.mark.usefixtures("litert"),
]
FEW = ["--runs", "2", "--warmup", "0", "--repeats", "1"]


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestBoard]:
    with TestBoard() as board:
        monkeypatch.setenv("ANDROID_BENCH_SSH", board.ssh_command)
        yield board


def test_a_model_runs_there_and_nothing_is_left(
    board: TestBoard, models: Path, tmp_path: Path, run: Callable[..., int]
) -> None:
    output = tmp_path / "results.jsonl"
    words = ["--target", "ssh:board", "--remote-python", sys.executable, *FEW, "--output", output]
    assert run(models / "int8.tflite", models / "float32.tflite", *words) == 0
    rows = {row.model: row for row in results.read(output)}
    assert {row.target for row in rows.values()} == {"ssh:board"}
    assert rows["int8"].output_check.identical
    assert rows["int8"].runtime == "litert"
    assert not rows["int8"].emulated
    assert not board.temporary_files()


def test_files_stay_when_asked_and_damaged_ones_are_sent_again(
    board: TestBoard, models: Path, tmp_path: Path, run: Callable[..., int]
) -> None:
    output = tmp_path / "results.jsonl"
    words = ["--target", "ssh:board", "--remote-python", sys.executable, *FEW, "--keep-files", "--output", output]
    assert run(models / "int8.tflite", *words) == 0
    (model,) = [path for path in board.temporary_files() if path.suffix == ".tflite"]
    whole = model.read_bytes()
    model.write_bytes(whole[:-1] + b"x")
    assert run(models / "int8.tflite", *words) == 0
    assert model.read_bytes() == whole
    for path in board.temporary_files():
        path.unlink()


def test_a_python_that_is_not_there(
    board: TestBoard, models: Path, run: Callable[..., int], complaint: Callable[[], str]
) -> None:
    assert run(models / "int8.tflite", "--target", "ssh:board", "--remote-python", "/no/python", *FEW) == 2
    assert "--remote-python" in complaint()


def test_a_runtime_that_is_not_there(
    board: TestBoard, models: Path, run: Callable[..., int], complaint: Callable[[], str]
) -> None:
    words = ["--target", "ssh:board", "--remote-python", sys.executable, "--runtime", "native", *FEW]
    assert run(models / "int8.tflite", *words) == 2
    assert "cannot run native" in complaint()


def test_more_threads_than_its_cores(
    board: TestBoard, models: Path, run: Callable[..., int], complaint: Callable[[], str]
) -> None:
    words = ["--target", "ssh:board", "--remote-python", sys.executable, "--threads", "5000", *FEW]
    assert run(models / "int8.tflite", *words) == 2
    assert "5000 threads" in complaint()


def test_a_key_that_is_not_taken(
    board: TestBoard, models: Path, run: Callable[..., int], complaint: Callable[[], str]
) -> None:
    board.forget_key()
    assert run(models / "int8.tflite", "--target", "ssh:board", *FEW) == 2
    assert "ssh-copy-id board" in complaint()


def test_nothing_listens(board: TestBoard, models: Path, run: Callable[..., int], complaint: Callable[[], str]) -> None:
    board.stop()
    assert run(models / "int8.tflite", "--target", "ssh:board", *FEW) == 2
    assert "nothing listens there" in complaint()


def test_a_connection_that_breaks_keeps_the_rows_and_the_run_resumes(
    board: TestBoard,
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    run: Callable[..., int],
    complaint: Callable[[], str],
) -> None:
    output, unplugged = tmp_path / "results.jsonl", tmp_path / "unplugged"
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *--model*) test -e {unplugged} && kill -9 $(cut -d" " -f4 /proc/$PPID/stat) ;; esac\n'
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    words = ["--target", "ssh:board", "--remote-python", python, *FEW, "--output", output]
    assert run(models / "int8.tflite", *words) == 0
    unplugged.touch()
    capsys.readouterr()
    both = [models / "int8.tflite", models / "float32.tflite", *words, "--resume"]
    assert run(*both) == 2
    assert "run again with --resume" in complaint()
    assert [row.model for row in results.read(output)] == ["int8"]
    unplugged.unlink()
    assert run(*both) == 0
    assert [row.model for row in results.read(output)] == ["int8", "float32"]


def test_a_name_that_would_be_an_option() -> None:
    with pytest.raises(InputError, match="name the board"):
        SshTarget("-oProxyCommand=evil")


def test_a_c_library_that_is_too_old(
    board: TestBoard, models: Path, tmp_path: Path, run: Callable[..., int], complaint: Callable[[], str]
) -> None:
    probe = {"python": [3, 9], "architecture": "aarch64", "glibc": [2, 31], "cpus": [0], "numpy": True, "runtimes": []}
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{json.dumps({**probe, 'temporary': '/tmp'})}'\n")
    python.chmod(0o755)
    assert run(models / "int8.tflite", "--target", "ssh:board", "--remote-python", python, *FEW) == 2
    assert "its glibc 2.31 on aarch64 is too old for ai-edge-litert 2" in complaint()


def test_no_space_left_there(
    board: TestBoard, models: Path, tmp_path: Path, run: Callable[..., int], complaint: Callable[[], str]
) -> None:
    output = tmp_path / "results.jsonl"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", board.temporary], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let root mount a small disk")
    try:
        words = ["--target", "ssh:board", "--remote-python", sys.executable, *FEW, "--output", output]
        assert run(models / "int8.tflite", *words) == 2
        assert "no space left in" in complaint()
        assert not output.exists()
    finally:
        subprocess.run(["umount", board.temporary], check=True)


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ({"numpy": False, "glibc": [2, 36], "architecture": "aarch64"}, "install numpy there first"),
        ({"numpy": True, "glibc": [2, 36], "architecture": "aarch64"}, "pip install ai-edge-litert there"),
        ({"numpy": True, "glibc": [2, 31], "architecture": "aarch64"}, "glibc 2.31 on aarch64 is too old"),
        ({"numpy": True, "glibc": [2, 36], "architecture": "armv7l"}, "tflite-runtime"),
    ],
)
def test_a_board_without_a_runtime_hears_which_one_fits(probe: dict[str, Any], words: str) -> None:
    assert words in ssh.how_to_install(Probe(python=[3, 9], cpus=[0], runtimes=[], temporary="/tmp", **probe))


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_tools()), reason=f"ARM code needs {', '.join(missing_tools())}")
def test_an_arm_userland_computes_the_same(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., int]
) -> None:
    with TestBoard(arm=True) as board:
        monkeypatch.setenv("ANDROID_BENCH_SSH", board.ssh_command)
        output = tmp_path / "results.jsonl"
        assert run(models / "int8.tflite", "--target", "ssh:board", *FEW, "--output", output) == 0
    (row,) = results.read(output)
    assert row.emulated
    assert row.device.architecture == "aarch64"
    assert row.output_check.identical
    assert row.delegated_nodes == row.nodes
