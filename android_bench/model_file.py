"""A `.tflite` file as the bench sees it: its name, its bytes and their hash."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from android_bench.errors import InputError

FILE_IDENTIFIER = b"TFL3"


@dataclass(frozen=True)
class ModelFile:
    """A file that carries TFLite's identifier.

    Attributes:
        sha256: of its bytes when it was opened.
        mode, accuracy: from the JSON report beside it (same name), if that report is about these bytes.
    """

    path: Path
    sha256: str
    size_bytes: int
    mode: str | None = None
    accuracy: float | None = None

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
    digest = hashlib.sha256(content).hexdigest()
    report = _export_report(path.with_suffix(".json"), digest)
    return ModelFile(path, digest, len(content), report.get("mode"), report.get("accuracy"))


def refuse_if_changed(model: ModelFile) -> None:
    """Raise InputError where the file is no longer the one that was opened, so that no figure gets a wrong hash."""
    if open_model(model.path).sha256 != model.sha256:
        raise InputError(f"{model.path} changed while it was measured; measure it again when it stays as it is")


def _export_report(path: Path, digest: str) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) and report.get("sha256") == digest else {}
