"""The worker process: the one place with TensorFlow's converter, tf_keras and TF-MOT.

It reads requests on standard input and answers on standard output (`export.worker.protocol`). Its arguments are the
folder for large arrays and the number of the process that started it.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from importlib.metadata import version
from typing import IO, Any

from export.ir.graph import Arrays
from export.lifetime import end_with
from export.worker import wire
from export.worker.protocol import (
    Batch,
    EndOfBatches,
    Failure,
    Progress,
    Ready,
    Request,
    TrainingRequest,
    WantBatch,
    decode,
    encode,
    imported,
)

LONGEST_ERROR = 10_000  # characters; TensorFlow puts whole tensors into some


def main() -> None:
    """Serve until the parent closes the connection or ends."""
    folder, parent = sys.argv[1], int(sys.argv[2])
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends us
    faulthandler.enable()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not reach the protocol
    connection = Connection(sys.stdin.buffer, answers, folder)
    try:
        import tensorflow  # noqa: F401 (so that no request waits for it)

        gc.freeze()  # what is imported stays: no collection need look at it again
        names = ("tensorflow", "tf_keras", "tensorflow-model-optimization")
        connection.send(Ready({name: version(name) for name in names}))
    except Exception as error:
        traceback.print_exc()
        connection.send(_failure(error))
        return
    while True:
        _serve(connection)
        gc.collect()  # TensorFlow's functions refer to themselves and hold a copy of the weights
        gc.freeze()  # what training leaves behind in TensorFlow would be searched after every later call


def _serve(connection: Connection) -> None:
    try:
        request = connection.receive()
        if not isinstance(request, Request):  # a batch that a training had asked for before it failed
            return
        function = imported(request.served_by)
        training = isinstance(request, TrainingRequest)
        connection.send(function(request, connection) if training else function(request))
    except Exception as error:
        traceback.print_exc()
        connection.send(_failure(error))


def _failure(error: Exception) -> Failure:
    return Failure(type(error).__name__, str(error)[:LONGEST_ERROR])


class Connection:
    """The worker's side. A thread of its own reads at all times, so that the parent can always write to its end."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes], folder: str) -> None:
        self._requests, self._answers, self._folder = requests, answers, folder
        self._received: queue.SimpleQueue[tuple[Any, Arrays]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                self._received.put(wire.receive(self._requests))
            except EOFError:
                os._exit(0)  # the parent has gone, and nobody waits for what is being computed
            except Exception:  # such as MemoryError: the parent must not wait for an answer
                traceback.print_exc()
                os._exit(1)

    def receive(self) -> Any:
        """The next message of the parent."""
        return decode(*self._received.get())

    def send(self, message: Any) -> None:
        """Answer."""
        wire.send(self._answers, *encode(message), self._folder)

    def progress(self, step: str, done: int, total: int, **figures: float) -> None:
        """Say how far a step is."""
        self.send(Progress(step, done, total, figures))

    def batches(self) -> Iterator[Batch]:
        """Training batches from the parent, which prepares the next one while this one is used."""
        self.send(WantBatch())
        while not isinstance(message := self.receive(), EndOfBatches):
            self.send(WantBatch())
            yield message


if __name__ == "__main__":
    main()
