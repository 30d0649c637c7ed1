"""Which lines tell of a fault: of the standard error of a worker that ended, and of an error of TensorFlow."""

from __future__ import annotations

import re

# What TensorFlow, absl and Python's faulthandler write besides: severities below "fatal" (a machine without a graphics
# card brings errors of CUDA), greetings, and stacks.
_NOISE = re.compile(
    r"""
    [IWE]\d{4}\s                                        # absl: I0000 00:00:1795603469.514887 2573 port.cc:153] …
    | \d{4}-\d\d-\d\d\s[\d:.]+:\s[IWE]\s                # TensorFlow: 2026-11-22 10:00:00.1: W tensorflow/core/…
    | (WARNING|INFO)\b
    | To\ enable\ the\ following\ instructions
    | Traceback\ \(most\ recent
    | File\ "
    | (Fatal\ Python\ error|Current\ thread|Thread\ 0x|Extension\ modules|<no\ Python\ frame>|\*\*\*\ SIG|PC:|@\s+0x)
    | [\^~]+$
    """,
    re.VERBOSE,
)
_REASON = re.compile(
    r"error|fail|exception|assert|abort|bad_alloc|terminate|cannot|unable|check|what\(\)", re.IGNORECASE
)


def reason(text: str) -> str | None:
    """The last line that names a fault, else the last that is no noise; None where there is none."""
    lines = [line.strip() for line in text.splitlines()]
    telling = [line for line in lines if line and not _NOISE.match(line)]
    return next((line for line in reversed(telling) if _REASON.search(line)), telling[-1] if telling else None)


# What TensorFlow wraps around the cause of an error in a compiled function: where it was traced.
_TRACE = re.compile(
    r"Graph execution error|Detected at node|File \"|Stack trace for|\[\[\{\{node|\d+ root error|\(\d+\) "
)


def cause(message: str) -> str:
    """An error's message in one line, without the stack that TensorFlow puts into it."""
    lines = [line.strip() for line in message.splitlines()]
    return " ".join(" ".join(line for line in lines if not _TRACE.match(line)).split()) or " ".join(message.split())
