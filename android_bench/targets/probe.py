"""Sent to a board's Python (3.8 or newer) on its standard input: prints what is there as one line of JSON."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import sys
import tempfile


def has(package: str) -> bool:
    """Return whether a package can be imported here."""
    return importlib.util.find_spec(package) is not None


def runtimes() -> list[str]:
    """Return the names of the runtimes that can be imported here, the preferred first."""
    if not has("numpy"):
        return []
    known = {"litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime", "tensorflow": "tensorflow"}
    return [name for name, package in known.items() if has(package)]


version = platform.libc_ver()[1]
print(
    json.dumps(
        {
            "python": sys.version_info[:2],
            "architecture": platform.machine(),
            "glibc": [int(part) for part in version.split(".")[:2]] if version else [0, 0],
            "cpus": sorted(os.sched_getaffinity(0)),
            "numpy": has("numpy"),
            "runtimes": runtimes(),
            "temporary": tempfile.gettempdir(),
        }
    )
)
