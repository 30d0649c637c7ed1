"""A `.tflite` file as the bench sees it: its name, its bytes and their hash."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from android_bench.errors import InputError

FILE_IDENTIFIER = b"TFL3"


@dataclass(frozen=True)
class ModelFile:
    """A file that carries TFLite's identifier. `sha256` is that of its bytes when it was opened."""

    path: Path
    sha256: str
    size_bytes: int

    @property
    def name(self) -> str:
        return self.path.stem


def open_model(path: str | os.PathLike[str]) -> ModelFile:
    """Return the model at `path`; raise InputError where it is missing, empty or no TFLite file."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the .tflite file in it")
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path")
    content = path.read_bytes()
    if not content:
        raise InputError(f"{path} is empty; name a file that a TFLite converter wrote")
    if content[4:8] != FILE_IDENTIFIER:
        raise InputError(
            f"{path} is not a TFLite file (no TFL3 identifier); export the model with python -m export.tflite"
        )
    return ModelFile(path, hashlib.sha256(content).hexdigest(), len(content))
