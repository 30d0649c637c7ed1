"""Published checkpoints that installed Python packages carry, found by their hash."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

from keras_classics.pretrained.catalog import Checkpoint


def find(checkpoint: Checkpoint) -> Path | None:
    """The checkpoint's file in an installed package, or None.

    Packages list their files with a SHA-256 of each (PEP 627), so that no file is read but one that the
    list says to be it. That one's content is then held to all that the publisher says of the file. A
    checkpoint of which its publisher gives no hash is never looked for.
    """
    if not (checkpoint.sha256_prefix or checkpoint.md5):
        return None
    return next((path for path in _listed(checkpoint) if _is_it(checkpoint, path)), None)


def _listed(checkpoint: Checkpoint) -> Iterator[Path]:
    """Files that have the checkpoint's name, or the beginning of its SHA-256 in their package's list."""
    # A digest is listed in base 64, of which every four digits stand for three bytes.
    beginning = bytes.fromhex(checkpoint.sha256_prefix[:6])
    hints = [checkpoint.file_name]
    hints += [f"sha256={base64.urlsafe_b64encode(beginning).decode()}"] if beginning else []
    for distribution in importlib.metadata.distributions():
        lines = (distribution.read_text("RECORD") or "").splitlines()
        for name, listed, *_ in csv.reader(line for line in lines if any(hint in line for hint in hints)):
            named = name.rpartition("/")[2] == checkpoint.file_name
            if named or (beginning and _hexadecimal(listed).startswith(checkpoint.sha256_prefix)):
                yield Path(str(distribution.locate_file(name)))


def _hexadecimal(listed: str) -> str:
    """`sha256=` and 43 digits of base 64 as hexadecimal digits; empty if it is something else."""
    algorithm, _, digest = listed.partition("=")
    try:
        return base64.urlsafe_b64decode(f"{digest}=").hex() if algorithm == "sha256" else ""
    except ValueError:
        return ""


def _is_it(checkpoint: Checkpoint, path: Path) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    sha256, md5 = hashlib.sha256(content).hexdigest(), hashlib.md5(content, usedforsecurity=False).hexdigest()
    return sha256.startswith(checkpoint.sha256_prefix) and checkpoint.md5 in (None, md5)
