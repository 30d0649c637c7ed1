"""The runner's command line: prints one JSON document, on a line of its own."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import signal
import sys
from typing import Any

from android_bench.runners.python import machine, measurement
from android_bench.runners.python.errors import RunnerError

PR_SET_PDEATHSIG = 1  # of Linux's prctl(2): the signal that a process gets when the one that started it ends


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser; its words are `measurement.Arguments`."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--model", required=True)
    words.add_argument("--runtime", required=True, choices=["litert", "tflite-runtime", "tensorflow"])
    words.add_argument("--delegate", default="xnnpack", choices=["none", "xnnpack"])
    words.add_argument("--threads", type=int, default=1)
    words.add_argument("--cpus", type=int, nargs="+")
    words.add_argument("--runs", type=int)
    words.add_argument("--seconds", type=float)
    words.add_argument("--warmup", type=int)
    words.add_argument("--input")
    words.add_argument("--save-input")
    words.add_argument("--output", required=True)
    return words


def measured(words: list[str]) -> dict[str, Any]:
    """Return the document of the measurement that `words` ask for, or one that tells why there is none."""
    arguments = parser().parse_args(words)
    try:
        return measurement.run(measurement.Arguments(**vars(arguments)))
    except RunnerError as error:
        return {"error": {"kind": error.kind, "message": str(error)}}


def main(words: list[str]) -> int:
    """Print the document; return the exit code, 1 where it tells of an error.

    Args:
        words: the arguments of `parser`, or only `--describe` for what this machine is.
    """
    _end_with_parent()
    if words == ["--describe"]:
        print(json.dumps({"device": machine.device(), "emulated": machine.emulated()}))
        return 0
    document = measured(words)
    # Runtimes write to stdout as they please, so the document starts a line of its own.
    print("\n" + json.dumps(document))
    return 1 if "error" in document else 0


def _end_with_parent() -> None:
    """Let this process end at once when the one that started it does, where Linux is asked for that."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
