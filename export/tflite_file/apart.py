"""Reading and running a TFLite file that was not just written here: in a process of its own, with limits.

LiteRT checks little of what a file says. One that was damaged, or made to do harm, may crash it, compute without end or
fill the memory; that then happens to a process that has nothing else to do, and is one line here. On Linux that process
ends with this one, and can make no file larger than its answer may be.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import InputError
from export.lifetime import end_with
from export.tflite_file.audit import TensorRecord, audit

GIGABYTE = 1 << 30
MEMORY = 4 * GIGABYTE
"""Bytes that the process may ask for, besides `MEMORY_PER_BYTE` for each byte of the file."""
MEMORY_PER_BYTE = 8
SECONDS = 120.0
MOST_ANSWER = GIGABYTE
"""Bytes of each file that the process may write."""
ANSWER = "answer.json"


@dataclass(frozen=True)
class Description:
    """What a file is. `ops` says how often each operator occurs."""

    inputs: list[TensorRecord]
    outputs: list[TensorRecord]
    ops: dict[str, int]
    fully_integer: bool
    sha256: str


def describe(path: str | os.PathLike[str], memory: int = MEMORY, seconds: float = SECONDS) -> Description:
    """Read and load a file, and run it once on whatever its inputs hold.

    Raises:
        InputError: it is no TFLite file, damaged, or takes more memory or time than these; one line.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = _asked("describe", Path(path), Path(folder), memory, seconds)
        try:
            inputs, outputs = ([TensorRecord(**each) for each in answer[end]] for end in ("inputs", "outputs"))
            return Description(inputs, outputs, answer["ops"], answer["fully_integer"], answer["sha256"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _nonsense(path) from error


def run(
    path: str | os.PathLike[str],
    samples: Sequence[np.ndarray],
    memory: int = MEMORY,
    seconds: float = SECONDS,
) -> list[np.ndarray]:
    """The outputs of a file, dequantized.

    Args:
        samples: (N, …) for each input, real numbers.

    Raises:
        InputError: as `describe`, or the samples do not fit the file's inputs.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, array in enumerate(samples):
            np.save(folder / f"input-{number}.npy", array)
        answer = _asked("run", Path(path), folder, memory + sum(array.nbytes for array in samples), seconds)
        try:
            count = int(answer["outputs"])
            return [np.load(folder / f"output-{number}.npy", allow_pickle=False) for number in range(count)]
        except (KeyError, TypeError, ValueError, OSError, EOFError) as error:
            raise _nonsense(path) from error


def _asked(task: str, path: Path, folder: Path, memory: int, seconds: float) -> dict[str, Any]:
    """What the process answers to a task on a file; it writes into `folder`."""
    try:
        memory += MEMORY_PER_BYTE * path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path") from error
    words = [task, str(path.absolute()), str(folder), str(memory), str(os.getpid())]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "export.tflite_file.apart", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise InputError(f"{path} takes LiteRT over {seconds:g} s; use another file or fewer samples") from None
        finally:
            process.kill()
    if code:
        how = signal.Signals(-code).name if code < 0 else f"code {code}"
        raise InputError(
            f"{path} ended the process that LiteRT read it in ({how}): it is damaged, or needs more than "
            f"{memory / GIGABYTE:.1f} GiB; convert the model again"
        )
    try:
        answer = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _nonsense(path) from error
    if not isinstance(answer, dict):
        raise _nonsense(path)
    if "error" in answer:
        raise InputError(" ".join(str(answer["error"])[:1000].split()))
    return answer


def _nonsense(path: str | os.PathLike[str]) -> InputError:
    return InputError(f"{os.fspath(path)} made the process that LiteRT read it in answer nonsense; do not use the file")


def _describe(path: Path, folder: Path) -> dict[str, Any]:
    from export.tflite_file.interpreter import Interpreter

    found = audit(path)
    Interpreter(path).invoke()
    return asdict(Description(found.inputs, found.outputs, found.ops, found.fully_integer, found.sha256))


def _run(path: Path, folder: Path) -> dict[str, Any]:
    from export.tflite_file.interpreter import Interpreter

    interpreter = Interpreter(path)
    samples = [np.load(folder / f"input-{number}.npy") for number in range(len(interpreter.inputs))]
    for port, array in zip(interpreter.inputs, samples, strict=True):
        if array.shape[1:] != port.shape[1:] or port.shape[:1] != (1,):
            raise InputError(f"{path} takes an input of shape {port.shape}, and gets {array.shape}; give that")
    outputs = interpreter.run(samples)
    for number, array in enumerate(outputs):
        np.save(folder / f"output-{number}.npy", array)
    return {"outputs": len(outputs)}


_TASKS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {"describe": _describe, "run": _run}


def main(words: Sequence[str]) -> None:
    """Do one task in this process, which then ends: its name, the file, the folder, bytes of memory, the parent."""
    task, path, folder, memory, parent = words
    _limit(int(memory))
    end_with(int(parent))
    try:
        answer = _TASKS[task](Path(path), Path(folder))
    except InputError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": f"{path} needs more than {int(memory) / GIGABYTE:.1f} GiB; use a smaller model"}
    except Exception as error:  # what the readers of FlatBuffers raise on bytes that are none
        reason = f"{type(error).__name__}: {error}"[:200]
        answer = {"error": f"{path} cannot be read as a TFLite file ({reason}); convert the model again"}
    (Path(folder) / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


def _limit(memory: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_ANSWER, MOST_ANSWER))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(sys.argv[1:])
