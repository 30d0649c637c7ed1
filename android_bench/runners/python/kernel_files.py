"""Reading what the kernel shows in files."""

from __future__ import annotations

import glob
import re


def read_text(path: str) -> str | None:
    """Return a file's text without surrounding blanks and NULs, or None where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0\n ")
    except OSError:
        return None


def read_numbers(pattern: str) -> list[int]:
    """Return the integers in the files that match `pattern`, in the order of their names."""
    texts = [read_text(path) for path in sorted(glob.glob(pattern))]
    return [int(text) for text in texts if text and re.match(r"-?\d+$", text)]
