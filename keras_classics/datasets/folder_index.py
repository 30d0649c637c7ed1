"""What a first reading found in each image file of a folder, kept so that large folders are read once."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keras_classics import files

VERSION = 1
"""Of the index's form: another one is made anew."""

SETTLING_SECONDS = 2.0
"""A file that was written to within this time is read again next time: another write may leave its time unchanged."""


@dataclass(frozen=True)
class Found:
    """What is in an image file: SHA-256, (height, width) in pixels, and whether it is gray."""

    digest: str
    size: tuple[int, int]
    grayscale: bool


class FolderIndex:
    """The findings of one folder, by the files' paths in it, sizes and times of change.

    It lies beside Keras's downloads (`KERAS_HOME`, or `~/.keras`) and not in the folder, which may
    be read-only. What cannot be read or written there is done without.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras").expanduser()
        name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:24]
        self.path = home / "keras_classics" / "folders" / f"{name}.json"
        self.known = self._read()
        self.seen: dict[str, dict[str, Any]] = {}

    def find(self, path: Path) -> Found | None:
        """What was found in a file that has not changed since."""
        entry = self.known.get(self._key(path))
        if entry is None or entry.get("stamp") != _stamp(path):
            return None
        try:
            found = Found(str(entry["digest"]), tuple(map(int, entry["size"])), bool(entry["grayscale"]))  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError):
            return None
        self.seen[self._key(path)] = dict(entry)
        return found

    def add(self, path: Path, found: Found) -> None:
        """Remember what was found in a file."""
        stamp = _stamp(path)
        if time.time() - stamp[1] / 1e9 > SETTLING_SECONDS:
            self.seen[self._key(path)] = {"stamp": stamp, **asdict(found)}

    def write(self) -> None:
        """Keep what was found in the files that were asked for and no others."""
        if self.seen == self.known:
            return
        try:
            files.write_text(self.path, json.dumps({"version": VERSION, "folder": str(self.root), "files": self.seen}))
        except OSError:
            return

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _read(self) -> Mapping[str, Any]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            return content["files"] if content["version"] == VERSION else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def _stamp(path: Path) -> list[int]:
    """Size and times of the last changes of content and of the file's entry, in nanoseconds."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
