"""The exporting process's side of the worker process."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from export.errors import ConversionError, InputError
from export.ir.graph import Graph
from export.quantization.scales import Ranges
from export.worker import log, wire
from export.worker.protocol import (
    Batch,
    Convert,
    EndOfBatches,
    Evaluate,
    Failure,
    Progress,
    Ready,
    Request,
    Result,
    TrainingRequest,
    WantBatch,
    decode,
    encode,
)

# TensorFlow keeps each function that was trained, with the weights in it, until its process ends. Another process
# takes over before a training when more than `MOST_KEPT` bytes may be held so: for each earlier one the weights of its
# graphs, and `KEPT_BY_TRAINING` for its functions.
KEPT_BY_TRAINING = 3e7
MOST_KEPT = 1e9
LONGEST_MESSAGE = 400  # characters of an error of the worker


class Worker:
    """A worker process, for use in a `with` statement. One serves any number of requests, one after the other.

    A process that died, and one in whose memory trainings have left much behind, is replaced at the next request.
    Several threads may use one worker: each waits until the others' requests are served.

    Attributes:
        versions: of TensorFlow, tf_keras and TF-MOT in the worker.
        start_seconds: how long it took to be ready, almost all of it imports.
    """

    def __init__(self, verbose: bool = False, progress: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        """Start the process.

        Args:
            verbose: let the converter's messages through to stderr.
            progress: called with what the worker says of a long step: `step`, `done`, `total`, ….

        Raises:
            InputError: what the worker needs is not installed.
            ConversionError: the process cannot be started.
        """
        self._progress = progress or (lambda message: None)
        self._verbose = verbose
        self._lock = threading.RLock()
        self._serving = self._closed = False
        self._kept = 0.0
        self._process: _Process | None = None
        started = time.perf_counter()
        self.versions: dict[str, str] = self._start().versions
        self.start_seconds = time.perf_counter() - started

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._closed = True
            self._stop()

    def run(self, request: Request[Result], batches: Iterable[Batch] = ()) -> Result:
        """What the worker answers to a request.

        Args:
            request: one of those in `export.worker.protocol`.
            batches: what a training learns from, taken one by one as it goes on.

        Raises:
            ConversionError: the worker cannot serve the request, or died of it; the next one finds a new process.
            InputError: what the request needs is not installed, or the worker is closed or serving another
                request of this thread.
        """
        with self._lock:
            if self._serving:
                raise InputError(
                    "this worker is serving a request, whose batches and progress cannot ask it for another"
                )
            if self._closed:
                raise InputError("this worker is closed; make requests inside its `with` statement, or start another")
            self._serving = True
            try:
                return self._served(request, iter(batches))
            finally:
                self._serving = False

    def convert(self, graph: Graph, mode: str, io: str = "float32", **options: Any) -> memoryview:
        """The bytes of a TFLite file; `options` are the other fields of `protocol.Convert`."""
        return self.run(Convert(graph, mode, io, **options)).content.data

    def evaluate(
        self,
        graph: Graph,
        names: Sequence[str],
        samples: Sequence[np.ndarray],
        ranges: Ranges | None = None,
        keep_float: Collection[str] = (),
    ) -> list[np.ndarray]:
        """The named operations' outputs, (N, …) each: see `protocol.Evaluate`."""
        return self.run(Evaluate(graph, names, samples, ranges, keep_float)).arrays

    def _served(self, request: Request[Result], batches: Any) -> Result:
        process = self._process_for(request)
        try:
            process.send(request)
            while True:
                message = process.receive(request)
                if isinstance(message, Progress):
                    step = {"step": message.step, "done": message.done, "total": message.total}
                    self._progress(step | message.figures)
                elif isinstance(message, WantBatch):
                    process.send(next(batches, EndOfBatches()))
                elif isinstance(message, Failure):
                    break
                else:
                    return message
        except BaseException:
            self._stop()  # it died, or would go on with what nobody waits for
            raise
        raise _error(message)

    def _process_for(self, request: Request[Any]) -> _Process:
        if isinstance(request, TrainingRequest):
            if self._kept > MOST_KEPT:
                self._stop()
            graphs = [request.graph, *([request.teacher] if request.teacher else [])]
            self._kept += KEPT_BY_TRAINING + sum(array.nbytes for graph in graphs for array in graph.weights().values())
        if self._process is None:
            self._start()
        assert self._process is not None
        return self._process

    def _start(self) -> Ready:
        self._process = _Process(self._verbose)
        try:
            message = self._process.receive(None)
            if isinstance(message, Failure):
                raise _error(message)
        except BaseException:
            self._stop()
            raise
        return message

    def _stop(self) -> None:
        self._kept = 0.0
        process, self._process = self._process, None
        if process is not None:
            process.stop()


class _Process:
    """One worker process.

    A thread of its own starts it and reads its answers at all times, so that the worker can always write to its end.
    It must be one that lives on: Linux ends a child that asked for it (`PR_SET_PDEATHSIG`) with the thread, and not
    only with the process, that started it.
    """

    def __init__(self, verbose: bool) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._log = None if verbose else tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        self._log_start = 0
        self._received: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, args=(verbose,), daemon=True)
        self._reader.start()
        started = self._received.get()
        if isinstance(started, OSError):
            raise ConversionError(f"the converter's process cannot start: {started}")
        self._process: subprocess.Popen[bytes] = started

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def _read(self, verbose: bool) -> None:
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "export.worker", self._folder.name, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=_environment(verbose),
            )
        except OSError as error:
            self._received.put(error)
            return
        self._received.put(process)
        assert process.stdout is not None
        with process.stdout:
            try:
                while True:
                    self._received.put(wire.receive(process.stdout))
            except EOFError:
                self._received.put(None)
            except Exception as error:  # such as MemoryError: whoever waits must hear of it
                self._received.put(error)

    def send(self, message: Any) -> None:
        """Write to the process; where it has gone, `receive` says so."""
        if self._log is not None and isinstance(message, Request):
            self._log_start = os.fstat(self._log.fileno()).st_size
        with contextlib.suppress(BrokenPipeError):
            wire.send(self._stdin, *encode(message), self._folder.name)

    def receive(self, request: Request[Any] | None) -> Any:
        """The next message; raises ConversionError where the process has ended instead."""
        found = self._received.get()
        if found is None:
            raise ConversionError(self._death(request))
        if isinstance(found, Exception):
            raise ConversionError(f"the converter's answer cannot be read: {type(found).__name__}: {found}")
        return decode(*found)

    def stop(self) -> None:
        """End the process and take away what it had."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        self._folder.cleanup()
        if self._log is not None:
            self._log.close()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _death(self, request: Request[Any] | None) -> str:
        """How and of what the process ended, in one line."""
        code = self._process.wait()
        if code == -signal.SIGKILL:
            how = "was killed (SIGKILL), most likely because memory ran out,"
        elif code < 0:
            how = f"crashed ({signal.Signals(-code).name})"
        else:
            how = f"ended with code {code}"
        graph = getattr(request, "graph", None)
        task = f"the {request.task}" if request else "its start"
        model = f" of {graph.name!r}" if graph else ""
        return f"the converter's process {how} during {task}{model}{self._reason(code)}"

    def _reason(self, code: int) -> str:
        if self._log is None:
            return ""
        size = os.fstat(self._log.fileno()).st_size
        text = os.pread(self._log.fileno(), size - self._log_start, self._log_start).decode(errors="replace")
        found = log.reason(text)
        if found:
            return f": {found[:LONGEST_MESSAGE]}"
        mend = "free some, or give fewer samples" if code == -signal.SIGKILL else "run again with --verbose to see why"
        return f"; {mend}"


def _environment(verbose: bool) -> dict[str, str]:
    # TF-MOT works on tf_keras alone, and TensorFlow decides at import which Keras is its own. TensorFlow may load
    # Keras 3 beside it, which must not bring the caller's backend along.
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_USE_LEGACY_KERAS": "1"}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "0" if verbose else "3"}
    environment |= {"TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1"}  # its own one keeps what memory it once had
    # A folder called `export` where the user stands must not be taken for this package.
    ours = str(Path(__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (ours, os.environ.get("PYTHONPATH"))))
    return environment


def _error(failure: Failure) -> Exception:
    message = log.cause(failure.message)[:LONGEST_MESSAGE]
    if failure.kind == "ModuleNotFoundError":
        return InputError(f"the converter's process lacks a package: {message}; pip install 'keras-classics[export]'")
    return ConversionError(f"{failure.kind}: {message}")
