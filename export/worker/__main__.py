"""The worker process: the one place with TensorFlow's converter, tf_keras and TF-MOT.

It reads requests on standard input and answers on standard output (`export.worker.wire`). Its one argument is the
folder for large arrays.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from export.worker import wire


def main() -> None:
    """Serve until the parent closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends us
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not reach the protocol
    started = time.perf_counter()
    from export.worker import calls

    gc.freeze()  # what is imported stays: no collection need look at it again
    versions = calls.versions()
    wire.send(answers, {"ready": versions, "seconds": time.perf_counter() - started})
    connection = Connection(answers)
    while True:
        try:
            header, arrays = wire.receive(sys.stdin.buffer)
        except EOFError:
            return
        if "call" not in header:  # a batch that was asked for before training failed
            continue
        try:
            call: Callable[..., tuple[dict[str, Any], wire.Arrays]] = getattr(calls, header["call"])
            result, result_arrays = call(connection, header, arrays)
        except Exception as error:
            traceback.print_exc()
            wire.send(answers, {"error": type(error).__name__, "message": str(error)})
        else:
            wire.send(answers, {"result": result}, result_arrays, sys.argv[1])
            del result, result_arrays
        del header, arrays
        gc.collect()  # TensorFlow's functions refer to themselves and hold a copy of the weights
        gc.freeze()  # what training leaves behind in TensorFlow would be searched after every later call


class Connection:
    """What a running call may ask of the parent."""

    def __init__(self, answers: Any) -> None:
        self._answers = answers

    def progress(self, step: str, done: int, total: int, **figures: float) -> None:
        """Say how far a step is."""
        wire.send(self._answers, {"progress": {"step": step, "done": done, "total": total, **figures}})

    def batches(self) -> Iterator[wire.Arrays]:
        """Training batches from the parent, which prepares the next one while this one is used."""
        self._request()
        while True:
            header, arrays = wire.receive(sys.stdin.buffer)
            if header.get("end"):
                return
            self._request()
            yield arrays

    def _request(self) -> None:
        wire.send(self._answers, {"want": "batch"})


if __name__ == "__main__":
    main()
