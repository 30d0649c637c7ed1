"""This machine: every job is a child process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from android_bench.errors import InputError
from android_bench.jobs import Configuration, Job, Measurement, Target, refuse_too_many_threads
from android_bench.runners import native_runner, protocol, python_runner

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
    """This machine. `pythons` says which interpreter has which runtime; the default is the one running this."""

    name = "local"
    runtimes = ("litert", "tflite-runtime", "tensorflow", protocol.NATIVE)

    def __init__(self, pythons: Mapping[str, Path] | None = None):
        self._pythons = dict(pythons or {})

    def preflight(self, configurations: Sequence[Configuration]) -> None:
        refuse_too_many_threads("this machine", usable_cpus(), configurations)

    def temperature(self) -> float | None:
        return python_runner.temperature()

    def run(self, job: Job) -> Measurement:
        if job.configuration.runtime == protocol.NATIVE:
            bundle = native_runner.for_this_machine()
            measurement = self._run(job, bundle.command(str(bundle.folder)))
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
            try:
                process = subprocess.run(
                    [*command, *words],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=job.timeout,
                    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
                )
            except subprocess.TimeoutExpired:
                raise InputError(
                    f"{job.model.path} ({job.configuration}) took longer than {job.timeout:.0f} s; "
                    "ask for fewer --runs or a longer --timeout"
                ) from None
            document = protocol.document(job, process.stdout, process.stderr, process.returncode, self.name)
            return Measurement(document, output.read_bytes())
