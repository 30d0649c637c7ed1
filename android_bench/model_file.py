"""A `.tflite` file as the bench sees it: its name, its bytes and their hash."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from android_bench import records
from android_bench.errors import InputError

# The identifier of TFLite's FlatBuffers schema, which every file has at its fifth byte.
FILE_IDENTIFIER = b"TFL3"
# An export's report has some kilobytes; a larger file of its name is none.
MOST_REPORT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class ModelFile:
    """A file that carries TFLite's identifier.

    Attributes:
        path: where it is.
        sha256: of its bytes when it was opened.
        size_bytes: its size then.
        mode: how it was exported, from the JSON report beside it (same name), if that report is about these bytes.
        accuracy: from the same report, a share of 1.
    """

    path: Path
    sha256: str
    size_bytes: int
    mode: str | None = None
    accuracy: float | None = None

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem


@dataclass(frozen=True)
class ExportReport:
    """What is read of an export's report; all else in it is passed over."""

    sha256: str
    mode: str | None = None
    accuracy: Annotated[float, records.Minimum(0)] | None = None


def open_model(path: str | os.PathLike[str]) -> ModelFile:
    """Open a model.

    Args:
        path: the file.

    Returns:
        The model.

    Raises:
        InputError: where it is missing, empty, no TFLite file, or has a name that cannot be printed.
    """
    path = Path(path)
    if not records.is_plain(str(path)):
        raise InputError(f"{str(path)!r} has a control character or no UTF-8 in its name; rename it")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the .tflite file in it")
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; name a .tflite file")
    content = path.read_bytes()
    if not content:
        raise InputError(f"{path} is empty; name a file that a TFLite converter wrote")
    if content[4:8] != FILE_IDENTIFIER:
        raise InputError(
            f"{path} is not a TFLite file (no TFL3 identifier); export the model with python -m export.tflite"
        )
    digest = hashlib.sha256(content).hexdigest()
    report = _export_report(path.with_suffix(".json"), digest)
    return ModelFile(path, digest, len(content), report.mode, report.accuracy)


def refuse_if_changed(model: ModelFile) -> None:
    """Raise InputError where the file is no longer the one that was opened, so that no figure gets a wrong hash."""
    if open_model(model.path).sha256 != model.sha256:
        raise InputError(f"{model.path} changed while it was measured; measure it again when it stays as it is")


def _export_report(path: Path, digest: str) -> ExportReport:
    """Return the report at `path` if it is one and about the bytes of that digest, else one that says nothing."""
    unknown = ExportReport(digest)
    try:
        if not path.is_file() or path.stat().st_size > MOST_REPORT_BYTES:
            return unknown
        report = records.decode(ExportReport, records.loads(path.read_bytes()))
    except (OSError, ValueError):
        return unknown
    return report if report.sha256 == digest else unknown
