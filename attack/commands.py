"""Our commands as processes, and what must hold of how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from attack.trial import Fell

ROOT = Path(__file__).parents[1]
KNOWN_CODES = {0, 2, 3, 4, 130, 143, 129}


def start(words: Sequence[str], folder: Path, variables: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start `python -m words` in a folder, with its temporary files in `folder/tmp`."""
    (folder / "tmp").mkdir(exist_ok=True)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(folder / "tmp"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **(variables or {}),
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-m", *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(process: subprocess.Popen[bytes], seconds: float) -> tuple[int, str]:
    """The exit code and the last line on stderr; `Fell` for a traceback, an unknown code or no end."""
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Fell(f"{process.args[3:6]} had not ended after {seconds:.0f} s") from None
    text = errors.decode("utf-8", "replace")
    if process.returncode == -signal.SIGKILL:
        return process.returncode, ""
    last = (text.strip().splitlines() or [""])[-1]
    if process.returncode not in KNOWN_CODES or "Traceback (most recent call last)" in text:
        raise Fell(f"exit code {process.returncode}: {text[-500:]}")
    if process.returncode and not last.startswith(("error: ", "refused: ", "failed: ", "interrupted: ")):
        raise Fell(f"exit code {process.returncode} without a line of its own: {text[-300:]}")
    return process.returncode, last


def nothing_half_written(folder: Path, killed: bool) -> None:
    """Raise `Fell` where a file under a final name is not whole, or temporary ones are left (if not killed)."""
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        temporary = ".partial" in path.name or (parts[0] == "tmp" and len(parts) > 1)
        if temporary and not killed:
            raise Fell(f"{'/'.join(parts)} is left")
        if temporary or not path.is_file():
            continue
        try:
            _whole(path)
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise Fell(f"{path.name} is not whole: {error}") from error


def _whole(path: Path) -> None:
    if path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".jsonl":
        from android_bench import results

        results.read(path)
    elif path.suffix in (".keras", ".npz"):
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():
                raise ValueError("a member is damaged")
    elif path.suffix == ".tflite":
        from ai_edge_litert.interpreter import Interpreter

        Interpreter(str(path)).allocate_tensors()
