"""This machine: every job is a child process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from android_bench.errors import InputError
from android_bench.jobs import Configuration, Job, Measurement, Target, refuse_impossible
from android_bench.runners import benchmark_model, native_runner, protocol, python_runner
from android_bench.runners.benchmark_model import Machine, Program

RUNNER = Path(__file__).parent.parent / "runners" / "python_runner.py"
ENVIRONMENT_NAME = ".venv-tflite-runtime"


def tflite_runtime_python(given: str | os.PathLike[str] | None = None) -> Path:
    """Return the Python that has tflite-runtime, which needs an environment of its own (numpy < 2, Python ≤ 3.11).

    It is `given`, or $TFLITE_RUNTIME_PYTHON, or that of `.venv-tflite-runtime` in this folder or
    beside the project. Raises InputError where there is none.
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


def usable_cpus() -> list[int]:
    """Return the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


class LocalTarget(Target):
    """This machine.

    `pythons` says which interpreter has which runtime; the default is the one running this. `program` is the
    user's benchmark_model.
    """

    name = "local"
    runtimes = ("litert", "tflite-runtime", "tensorflow", protocol.NATIVE, protocol.BENCHMARK_MODEL)

    def __init__(self, pythons: Mapping[str, Path] | None = None, program: Program | None = None):
        self._pythons = dict(pythons or {})
        self._program = program

    def preflight(self, configurations: Sequence[Configuration]) -> None:
        refuse_impossible("this machine", usable_cpus(), configurations)

    def temperature(self) -> float | None:
        return python_runner.temperature()

    def run(self, job: Job) -> Measurement:
        if self._program and job.configuration.runtime == protocol.BENCHMARK_MODEL:
            with tempfile.TemporaryDirectory(prefix="android_bench-") as folder:
                return benchmark_model.run(_machine(folder), self._program, job)
        if job.configuration.runtime == protocol.NATIVE:
            bundle = native_runner.for_this_machine()
            measurement = self._run(job, bundle.command(str(bundle.folder), job.configuration.delegate))
            document = native_runner.complete(
                measurement.document, bundle, python_runner.device(), python_runner.emulated()
            )
            return Measurement(document, measurement.output)
        return self._run(job, self._python(job))

    def save_input(self, job: Job, path: Path) -> Measurement:
        """Run `job` and write the raw bytes of its inputs to `path`."""
        return self._run(job, [*self._python(job), "--save-input", str(path)])

    def _python(self, job: Job) -> list[str]:
        return [str(self._pythons.get(job.configuration.runtime, Path(sys.executable))), str(RUNNER)]

    def _run(self, job: Job, command: list[str]) -> Measurement:
        with tempfile.TemporaryDirectory(prefix="android_bench-") as folder:
            output = Path(folder) / "output.bin"
            words = protocol.arguments(job, str(job.model.path), str(output), None if not job.input else str(job.input))
            process = _call([*command, *words], job.timeout, f"{job.model.path} ({job.configuration})")
            stdout, stderr = (each.decode("utf-8", "replace") for each in (process.stdout, process.stderr))
            document = protocol.document(job, stdout, stderr, process.returncode, self.name)
            return Measurement(document, output.read_bytes())


def _machine(folder: str) -> Machine:
    """Return what this machine lends to a benchmark_model that writes into `folder`."""

    def fetch(path: str) -> bytes | None:
        return Path(path).read_bytes() if os.path.exists(path) else None

    return Machine(
        name=LocalTarget.name,
        folder=folder,
        cpus=usable_cpus(),
        device=python_runner.device(),
        emulated=python_runner.emulated(),
        shell=lambda command, timeout: _call(["sh", "-c", command], timeout, "benchmark_model"),
        place=lambda path: str(path.absolute()),
        fetch=fetch,
    )


def _call(command: Sequence[str], timeout: float | None, what: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{what} took longer than {timeout:.0f} s; ask for fewer --runs or a longer --timeout"
        ) from None
