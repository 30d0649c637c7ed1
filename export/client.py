"""The exporting process's side of the worker process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from export.errors import ConversionError, InputError
from export.ir.graph import Graph
from export.worker import wire

Progress = Callable[[Mapping[str, Any]], None]
# TensorFlow keeps each function that was trained, with the weights in it, until its process ends.
A_TRAINING = 3e7  # bytes, besides the weights
MOST_KEPT = 1e9  # bytes


class Worker:
    """A worker process, for use in a `with` statement. One serves any number of calls.

    After trainings that have left much behind in its memory another process takes over.

    Attributes:
        versions: of TensorFlow, tf_keras and TF-MOT in the worker.
        start_seconds: how long it took to be ready, almost all of it imports.
    """

    def __init__(self, verbose: bool = False, progress: Progress | None = None) -> None:
        """Start the process.

        Args:
            verbose: let the converter's messages through to stderr.
            progress: called with what the worker says of a long step: `step`, `done`, `total`, ….

        Raises:
            InputError: what the worker needs is not installed.
        """
        self._progress = progress or (lambda message: None)
        self._log = None if verbose else tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        self._folder = tempfile.TemporaryDirectory()
        self._verbose = verbose
        self._start()

    def _start(self) -> None:
        started = time.perf_counter()
        # TF-MOT works on tf_keras alone, and TensorFlow decides at import which Keras is its own. TensorFlow may load
        # Keras 3 beside it, which must not bring the caller's backend along.
        environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_USE_LEGACY_KERAS": "1"}
        environment |= {"TF_CPP_MIN_LOG_LEVEL": "0" if self._verbose else "3"}
        environment |= {"TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1"}  # its own one keeps what memory it once had
        # A folder called `export` where the user stands must not be taken for this package.
        ours = str(Path(__file__).parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (ours, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "export.worker", self._folder.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
        )
        self._kept = 0.0
        ready = self._receive()[0]
        self.versions: dict[str, str] = ready["ready"]
        self.start_seconds = time.perf_counter() - started

    def _stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()
        self._folder.cleanup()
        if self._log is not None:
            self._log.close()

    def convert(self, graph: Graph, mode: str, io: str = "float32", **rest: Any) -> memoryview:
        """A TFLite file of `graph`; `rest` as `export.worker.execute.convert` takes it."""
        samples = rest.pop("samples", [])
        header = {"call": "convert", "mode": mode, "io": io, **rest}
        return self._call(header, graph, samples)[1]["file"].data

    def evaluate(
        self, graph: Graph, names: list[str], samples: list[Any], ranges: Any = None, keep_float: Collection[str] = ()
    ) -> list[Any]:
        """The named operations' outputs, (N, …) each: in float, or with activations in the 8 bits of `ranges`.

        Those of `keep_float` compute in float all the same, as in a file that is converted so.
        """
        header = {"call": "evaluate", "names": names, "ranges": ranges, "keep_float": sorted(keep_float)}
        arrays = self._call(header, graph, samples)[1]
        return [arrays[str(index)] for index in range(len(names))]

    def noise_powers(
        self, graph: Graph, rounded: Graph, ranges: Any, names: list[str], samples: list[Any]
    ) -> tuple[float, Any, Any]:
        """How much each tensor and each kernel disturbs `names`: `export.worker.sensitivity`."""
        arrays = {f"rounded/{name}": array for name, array in rounded.weights().items()}
        header = {"call": "noise_powers", "ranges": ranges, "names": names}
        result, found = self._call(header, graph, samples, arrays)
        return result["signal"], found["tensors"], found["kernels"]

    def layer_errors(self, graph: Graph, found: Mapping[str, Any], samples: list[Any]) -> Any:
        """(operations, 4): what `export.worker.execute.layer_errors` gives for the file's values of each operation."""
        arrays = {f"found:{index}": array for index, array in enumerate(found.values())}
        return self._call({"call": "layer_errors", "names": list(found)}, graph, samples, arrays)[1]["powers"]

    def observe(self, graph: Graph, names: list[str], samples: list[Any]) -> Any:
        """(low, high), each (names, N): the extremes of the named outputs for every sample."""
        arrays = self._call({"call": "observe", "names": names}, graph, samples)[1]
        return arrays["low"], arrays["high"]

    def observe_channels(self, graph: Graph, names: list[str], samples: list[Any]) -> dict[str, Any]:
        """For each named output (N, 2, channels): the least and the greatest value in a channel, for every sample."""
        arrays = self._call({"call": "observe_channels", "names": names}, graph, samples)[1]
        return {name: arrays[str(index)] for index, name in enumerate(names)}

    def round_weights(self, graph: Graph, names: list[str], samples: list[Any]) -> wire.Arrays:
        """New weights of the named operations, on their 8-bit grids: `export.worker.gptq`."""
        return self._call({"call": "round_weights", "names": names}, graph, samples)[1]

    def train(
        self,
        method: str,
        graph: Graph,
        options: Mapping[str, Any],
        batches: Iterator[wire.Arrays],
        teacher: Graph | None = None,
        **rest: Any,
    ) -> tuple[wire.Arrays, dict[str, Any]]:
        """Fine-tune on `batches` of arrays `input:0`, … and, without a teacher, `target`.

        Args:
            method: a training call of `export.worker.calls`: train_quantized, train_on_grid, learn_channels,
                prune or cluster, which say what `options` and what else they take.
            teacher: a graph whose logits in float are the targets.

        Returns:
            The new weights, named as `Graph.weights` does, and what else the call gives: `history`, the mean
            loss of each epoch, and `ranges` where these were learned.
        """
        if self._kept > MOST_KEPT:
            self._stop()
            self._start()
        arrays: wire.Arrays = {}
        if teacher:
            rest["teacher"] = teacher.header()
            arrays = {f"teacher/{name}": array for name, array in teacher.weights().items()}
        given = [*graph.weights().values(), *arrays.values()]
        self._kept += A_TRAINING + sum(array.nbytes for array in given)
        result, weights = self._call({"call": method, "options": options, **rest}, graph, [], arrays, batches)
        return weights, result

    def _call(
        self,
        header: dict[str, Any],
        graph: Graph,
        samples: list[Any],
        more: wire.Arrays | None = None,
        batches: Iterator[wire.Arrays] | None = None,
    ) -> tuple[dict[str, Any], wire.Arrays]:
        assert self._process.stdin is not None
        arrays = graph.weights() | {f"sample:{index}": array for index, array in enumerate(samples)} | (more or {})
        try:
            wire.send(self._process.stdin, header | {"graph": graph.header()}, arrays, self._folder.name)
            while True:
                answer, arrays = self._receive()
                if "progress" in answer:
                    self._progress(answer["progress"])
                elif "want" in answer:
                    batch = next(batches, None) if batches is not None else None
                    wire.send(self._process.stdin, {"end": batch is None}, batch)
                elif "error" in answer:
                    raise ConversionError(f"{answer['error']}: {_first_lines(answer['message'])}")
                else:
                    return answer["result"], arrays
        except BrokenPipeError as error:
            raise self._gone() from error

    def _receive(self) -> tuple[dict[str, Any], wire.Arrays]:
        assert self._process.stdout is not None
        try:
            return wire.receive(self._process.stdout)
        except EOFError as error:
            raise self._gone() from error

    def _gone(self) -> Exception:
        code = self._process.wait()
        text = ""
        if self._log is not None:
            self._log.seek(0)
            text = self._log.read().decode(errors="replace").strip()
        last = text.splitlines()[-1] if text else "run again with --verbose to see why"
        if "ModuleNotFoundError" in last:
            return InputError(f"the converter's process cannot start: {last}; pip install 'keras-classics[export]'")
        memory = " (out of memory?)" if code == -9 else ""
        return ConversionError(f"the converter's process ended with code {code}{memory}: {last}")


def _first_lines(message: str, limit: int = 400) -> str:
    return " ".join(message.split())[:limit]
