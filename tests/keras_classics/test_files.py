"""Files that are whole or not there, whoever writes them at once, and locks that die with their holder."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keras_classics import files


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_a_file_has_the_mode_that_the_umask_leaves(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        files.write_text(tmp_path / "new" / "file.txt", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "file.txt").stat().st_mode & 0o777 == mode
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.txt"]


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, flushed = tmp_path / "file.txt", []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        flushed.append((os.readlink(f"/proc/self/fd/{descriptor}"), path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    with files.replacing(path) as temporary:
        temporary.write_text("text")
    assert flushed == [(str(temporary), False), (str(tmp_path), True)]


def test_writers_in_one_process_have_files_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with files.replacing(path) as outer:
        outer.write_text("outer")
        with files.replacing(path) as inner:
            assert inner != outer
            inner.write_text("inner")
        assert path.read_text() == "inner"
    assert path.read_text() == "outer"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_a_mixture_of_what_threads_write(tmp_path: Path) -> None:
    path, barrier = tmp_path / "file.txt", threading.Barrier(4)
    texts = [letter * 100_000 for letter in "abcd"]

    def write(text: str) -> list[str]:
        barrier.wait()
        seen = []
        for _ in range(20):
            files.write_text(path, text)
            seen.append(path.read_text())
        return seen

    with ThreadPoolExecutor(4) as pool:
        seen = [text for texts_seen in pool.map(write, texts) for text in texts_seen]
    assert set(seen) <= set(texts)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail() -> None:
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_under_the_temporary_name_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "precious").write_text("precious")
    monkeypatch.setattr("secrets.token_hex", lambda _: "known")
    (tmp_path / ".file.known.partial.txt").symlink_to(tmp_path / "precious")
    with pytest.raises(FileExistsError):
        files.write_text(tmp_path / "file.txt", "text")
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_name_of_255_bytes_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".txt")
    files.write_text(path, "text")
    assert path.read_text() == "text"


def test_a_lock_keeps_other_threads_out_and_leaves_no_file(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "lock", [], []

    def enter(number: int) -> None:
        for _ in range(50):
            with files.locked(path):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enter, range(4)))
    assert most == [1] * 200
    with files.locked(path, wait=False), pytest.raises(BlockingIOError), files.locked(path, wait=False):
        pass
    assert not path.exists()


def test_a_lock_dies_with_the_process_that_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "numpy")  # the quickest to import
    path = tmp_path / "lock"
    script = (
        "import sys; from keras_classics import files\n"
        "with files.locked(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError), files.locked(path, wait=False):
            pass
        holder.kill()
        holder.wait()
    with files.locked(path, wait=False):
        pass
    assert not path.exists()
