"""This machine: every job is a child process with limits, for a file may ask for anything."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from android_bench import processes
from android_bench.document import Device, Environment
from android_bench.errors import InputError
from android_bench.jobs import Configuration, Job, Measurement
from android_bench.processes import OutputTooLongError
from android_bench.records import decode
from android_bench.runners import benchmark_model, native_runner, protocol, python_runner
from android_bench.runners.benchmark_model import Machine, Program
from android_bench.runners.python import machine
from android_bench.targets.base import Target, refuse_impossible

ENVIRONMENT_NAME = ".venv-tflite-runtime"
# How long a command may take that only looks at the machine, in seconds.
CALL_TIMEOUT = 60.0


def tflite_runtime_python(given: str | os.PathLike[str] | None = None) -> Path:
    """Find the Python that has tflite-runtime, which needs an environment of its own (numpy < 2, Python ≤ 3.11).

    Args:
        given: the user's; else it is $TFLITE_RUNTIME_PYTHON, or that of `.venv-tflite-runtime` in this folder or
            beside the project.

    Returns:
        The interpreter's path.

    Raises:
        InputError: where there is none.
    """
    named = given or os.environ.get("TFLITE_RUNTIME_PYTHON")
    if named:
        path = Path(named)
        if not os.access(path, os.X_OK) or path.is_dir():
            raise InputError(f"{path} is no Python to run; name the python of the environment that has tflite-runtime")
        return path
    project = Path(__file__).parent.parent.parent
    for folder in (Path.cwd(), project):
        python = folder / ENVIRONMENT_NAME / "bin" / "python"
        if python.exists():
            return python
    raise InputError(
        f"tflite-runtime has no environment here; `make {ENVIRONMENT_NAME}`, or name its Python (3.11 or older, "
        "numpy < 2) with --tflite-runtime-python or $TFLITE_RUNTIME_PYTHON"
    )


def this_device() -> Device:
    """Return what this machine is."""
    return decode(Device, machine.device())


class LocalTarget(Target):
    """This machine.

    Args:
        pythons: which interpreter has which runtime; the default is the one running this.
        program: the user's benchmark_model.
    """

    name = "local"
    runtimes = ("litert", "tflite-runtime", "tensorflow", protocol.NATIVE, protocol.BENCHMARK_MODEL)

    def __init__(self, pythons: Mapping[str, Path] | None = None, program: Program | None = None):
        self._pythons = dict(pythons or {})
        self._program = program

    def preflight(self, configurations: Sequence[Configuration]) -> None:
        """Raise InputError where a configuration cannot run here at all."""
        refuse_impossible("this machine", machine.usable_cpus(), configurations)

    def temperature(self) -> float | None:
        """Return the hottest sensor now, in degrees Celsius; None where there is none."""
        return machine.temperature()

    def run(self, job: Job) -> Measurement:
        """Run one job in a process of its own; raise InputError where it cannot be measured."""
        return self._run(job)

    def save_input(self, job: Job, path: Path) -> Measurement:
        """Run `job` in Python and write the raw bytes of its inputs to `path`."""
        return self._run(job, "--save-input", str(path))

    def _run(self, job: Job, *words: str) -> Measurement:
        with tempfile.TemporaryDirectory(prefix="android_bench-") as name:
            folder = Path(name)
            if self._program and job.configuration.runtime == protocol.BENCHMARK_MODEL:
                return benchmark_model.run(_machine(folder), self._program, job)
            if job.configuration.runtime == protocol.NATIVE:
                return self._run_native(job, folder)
            runner = folder / "runner.pyz"
            runner.write_bytes(python_runner.archive())
            python = self._pythons.get(job.configuration.runtime, Path(sys.executable))
            process, output = self._call(job, [str(python), str(runner), *words], folder)
            return Measurement(protocol.read_document(job, process, self.name), output.read_bytes())

    def _run_native(self, job: Job, folder: Path) -> Measurement:
        bundle = native_runner.for_this_machine()
        process, output = self._call(job, bundle.command(str(bundle.folder), job.configuration.delegate), folder)
        environment = Environment(bundle.version, this_device(), machine.emulated())
        document = protocol.read_document(job, process, self.name, environment)
        return Measurement(native_runner.complete(document), output.read_bytes())

    def _call(self, job: Job, command: list[str], folder: Path) -> tuple[subprocess.CompletedProcess[bytes], Path]:
        """Run a runner; return what it printed and the file of its outputs, which is there if a document is."""
        output = folder / "output.bin"
        input = None if job.input is None else str(job.input.absolute())
        words = protocol.arguments(job, str(job.model.path.absolute()), str(output), input)
        return _call([*command, *words], job.timeout, f"{job.model.path} ({job.configuration})"), output


def _machine(folder: Path) -> Machine:
    """Return what this machine lends to a benchmark_model that writes into `folder`."""

    def shell(command: str, timeout: float | None) -> subprocess.CompletedProcess[bytes]:
        return _call(["sh", "-c", command], timeout or CALL_TIMEOUT, "benchmark_model")

    def fetch(path: str) -> bytes | None:
        return Path(path).read_bytes() if os.path.exists(path) else None

    return Machine(
        name=LocalTarget.name,
        folder=str(folder),
        cpus=machine.usable_cpus(),
        device=this_device(),
        emulated=machine.emulated(),
        shell=shell,
        run_program=shell,
        place=lambda path: str(path.absolute()),
        fetch=fetch,
    )


def _call(command: Sequence[str], timeout: float, what: str) -> subprocess.CompletedProcess[bytes]:
    try:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        return processes.run(command, timeout, environment=environment, memory=processes.free_memory())
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{what} took longer than {timeout:.0f} s; ask for fewer --runs or a longer --timeout"
        ) from None
    except OutputTooLongError as error:
        raise InputError(f"{what} {error}; its figures are not kept") from None
