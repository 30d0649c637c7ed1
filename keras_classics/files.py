"""Writing files so that a reader sees the old one or the whole new one, never half of it; and locks."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], suffix: str | None = None) -> Iterator[Path]:
    """Yield an empty temporary file beside `path`, with its suffix or another; rename it to `path` on success.

    Its content is on the disk before its name is. Threads and processes, those of other containers
    on the volume included, have files of their own, and the last one to finish wins. On any
    exception, Ctrl-C included, the temporary file is removed and `path` is untouched.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name has at most 255 bytes, which that of `path` may need for itself.
    temporary = path.with_name(
        f".{path.stem[:40]}.{secrets.token_hex(8)}.partial{path.suffix if suffix is None else suffix}"
    )
    _make(temporary)
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _flush(path.parent)


@contextlib.contextmanager
def locked(path: str | os.PathLike[str], wait: bool = True) -> Iterator[None]:
    """Hold a lock that one thread of one process at a time has, by a file that is removed afterwards.

    The kernel releases it when its holder dies, however that happens. It holds on one machine.

    Raises:
        BlockingIOError: another has the lock, and `wait` is False.
        OSError: the folder cannot be made or written to.
    """
    import fcntl  # Windows lacks it, where models can be built all the same

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_open_at(path, descriptor):
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        finally:
            os.close(descriptor)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON to `path`, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _make(path: Path) -> None:
    """An empty file with the mode that the umask leaves. Raises FileExistsError, also where a link has the name."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def _flush(path: Path) -> None:
    """Wait until what was written to a file, or the names in a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_open_at(path: Path, descriptor: int) -> bool:
    """Whether `descriptor` is of the file at `path`, which the lock's last holder may have removed in between."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
