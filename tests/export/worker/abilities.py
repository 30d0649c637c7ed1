"""Requests of the tests' own: what a worker does when an ability of it fails at a chosen moment.

Imported by the tests, and by the worker through PYTHONPATH.
"""

from __future__ import annotations

import ctypes
import os
import signal
from dataclasses import dataclass
from typing import Any

from export.worker.protocol import Request, Trained, TrainingRequest, Values

TALK = 200


@dataclass(frozen=True, kw_only=True)
class Learn(TrainingRequest):
    """Take all batches; fail as `fault` says after `moment` of them (0: before any is asked for)."""

    served_by = "abilities:learn"
    task = "lesson"

    fault: str = ""
    moment: int = 0


def learn(request: Learn, connection: Any) -> Trained:
    """The number of batches in a history."""
    done = 0
    _fail(request, done)
    for batch in connection.batches():
        done += 1
        connection.progress(request.task, done, 9, sum=float(batch.inputs[0].sum()))
        _fail(request, done)
    if request.fault == "unsendable":
        return Trained({}, [{"loss": object()}])  # type: ignore[dict-item]
    return Trained({}, [{"batches": float(done)}])


def _fail(request: Learn, done: int) -> None:
    if done != request.moment:
        return
    if request.fault == "error":
        raise ValueError("x" * 10_000_000)  # more than a pipe holds
    if request.fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if request.fault == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if request.fault == "exit":
        os._exit(3)


@dataclass(frozen=True)
class Talk(Request[Values]):
    """Send more than a pipe holds without reading anything."""

    served_by = "abilities:talk"
    task = "talk"


def talk(request: Talk) -> Values:
    """Large arrays that still go through the pipe."""
    import numpy as np

    return Values([np.full(1_000_000, number, np.uint8) for number in range(TALK)])


@dataclass(frozen=True)
class Stop(Request[Values]):
    """Hold the interpreter's lock for good, with the named pipe open for writing."""

    served_by = "abilities:stop"
    task = "stop"

    fifo: str


def stop(request: Stop) -> Values:
    """Never returns."""
    hold(request.fifo)
    return Values([])


def hold(fifo: str) -> None:
    """Say that this process has come so far, and stay here without letting another thread run."""
    with open(fifo, "w") as file:
        file.write("here")
        file.flush()
        ctypes.PyDLL(None).pause()
