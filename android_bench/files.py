"""Where files go, and writing them so that a reader sees the old one or the whole new one."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder for what is built or fetched once; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "android_bench"


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write files, making their folders; no path is touched before everything is on the disk.

    Each content goes to a new file of a random name beside its path (mode 0666 less the umask), which then takes the
    path's place. On any failure, a signal's exception included, no new file is left behind.

    Args:
        contents: the bytes by path.

    Raises:
        OSError: where the file system refuses.
    """
    temporary: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary[path] = path.parent / f".android_bench-{secrets.token_hex(8)}.partial"
            _write_new(temporary[path], content)
        for path, new in temporary.items():
            new.replace(path)
        for folder in {path.parent for path in contents}:
            _flush_folder(folder)
    except OSError as error:
        names = {str(new): str(path) for path, new in temporary.items()}
        error.filename = names.get(str(error.filename), error.filename)
        raise
    finally:
        for new in temporary.values():
            new.unlink(missing_ok=True)


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        waiting = memoryview(content)
        while waiting:
            waiting = waiting[os.write(descriptor, waiting) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Bring the folder's new names to the disk, where the file system can do that for folders."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
