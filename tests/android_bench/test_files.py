"""Files that are written whole or not at all, and programs whose output is bounded."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from android_bench import processes
from android_bench.files import write_files
from android_bench.processes import OutputTooLongError


def test_the_umask_decides_who_may_read(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        write_files({tmp_path / "new" / "file": b"content"})
    finally:
        os.umask(previous)
    assert (tmp_path / "new" / "file").read_bytes() == b"content"
    assert (tmp_path / "new" / "file").stat().st_mode & 0o777 == 0o640


def test_many_writers_of_one_file_leave_one_of_them_whole(tmp_path: Path) -> None:
    contents = [bytes([number]) * 200_000 for number in range(8)]
    threads = [threading.Thread(target=write_files, args=({tmp_path / "file": each},)) for each in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "file").symlink_to(tmp_path / "victim")
    write_files({tmp_path / "file": b"content"})
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "file").is_symlink()


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_where_the_second_of_two_files_cannot_be_written_the_first_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    (tmp_path / "first").write_bytes(b"old")
    flush, calls = os.fsync, []

    def fail_at_the_second(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise failure
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fail_at_the_second)
    with pytest.raises(type(failure)):
        write_files({tmp_path / "first": b"new", tmp_path / "second": b"new"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"first": b"old"}


def test_a_program_gets_its_input_and_gives_both_outputs() -> None:
    content = bytes(range(256)) * 4096
    program = (
        "import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data); sys.stderr.write('!'); sys.exit(7)"
    )
    process = processes.run([sys.executable, "-c", program], 60, content)
    assert (process.returncode, process.stdout, process.stderr) == (7, content, b"!")


def test_a_program_that_does_not_read_its_input() -> None:
    assert processes.run(["true"], 60, bytes(1_000_000)).returncode == 0


def test_a_program_that_prints_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "MOST_OUTPUT_BYTES", 1_000_000)
    with pytest.raises(OutputTooLongError, match="printed more than 1 MB"):
        processes.run(["yes"], 60)


def test_a_program_that_does_not_end_is_ended() -> None:
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        processes.run(["sleep", "600"], 0.1)
    assert caught.value.timeout == 0.1
