"""The host's side of a runner: its arguments, and what its words mean."""

from __future__ import annotations

import json
import re
import signal
import subprocess

from android_bench import document
from android_bench.document import Complaint, Document, Environment
from android_bench.errors import InputError
from android_bench.jobs import Job
from android_bench.processes import text

# The names of the runtimes that are no Python packages.
NATIVE = "native"
BENCHMARK_MODEL = "benchmark_model"
# How TFLite's runtimes say that they lack an operator.
UNKNOWN_OPERATOR = r"Didn't find op for builtin opcode.*|.*unresolved custom op: .*"
# How a runtime is had where it is missing.
INSTALL = {
    NATIVE: "pip install ai-edge-litert and run again",
    "litert": "pip install ai-edge-litert",
    "tflite-runtime": "pip install tflite-runtime 'numpy<2' under Python 3.11 or older",
    "tensorflow": "pip install tensorflow",
}


def arguments(job: Job, model: str, output: str, input: str | None) -> list[str]:
    """Return the runner's arguments.

    Args:
        job: what to measure.
        model: absolute path of the model on the target, as are `output` and `input`.
        output: where the runner writes the bytes of all outputs.
        input: the bytes of all inputs; None for the runner's noise.
    """
    configuration = job.configuration
    words = ["--model", model, "--output", output, "--threads", str(configuration.threads)]
    words += ["--delegate", configuration.delegate]
    if configuration.runtime != NATIVE:
        words += ["--runtime", configuration.runtime]
    if configuration.cpus:
        words += ["--cpus", *map(str, configuration.cpus)]
    counts = {"--runs": job.runs, "--seconds": job.seconds, "--warmup": job.warmup, "--input": input}
    words += [word for option, value in counts.items() if value is not None for word in (option, str(value))]
    return words


def read_document(
    job: Job, process: subprocess.CompletedProcess[bytes], target: str, environment: Environment | None = None
) -> Document:
    """Read what a runner printed.

    Args:
        job: what it was to measure.
        process: the runner, ended.
        target: the target's name, for messages.
        environment: what the runner leaves to its host to know.

    Returns:
        The document.

    Raises:
        InputError: with cause and mend, where there is no whole document or it tells of an error.
    """
    errors = text(process.stderr)
    lines = [line for line in text(process.stdout).splitlines() if line.startswith("{")]
    try:
        told = document.parse(lines[-1], environment)
    except (IndexError, json.JSONDecodeError):
        raise InputError(_died(job, errors, process.returncode, target)) from None
    except ValueError as error:
        raise InputError(
            f"{job.model.path} on {target} ({job.configuration}): what the runner printed is no measurement ({error}); "
            "check the target, then run again"
        ) from None
    if isinstance(told, Complaint):
        unknown = re.search(UNKNOWN_OPERATOR, errors)
        raise InputError(_explain(job, told.kind, unknown.group(0) if unknown else told.message, target))
    return told


def failure(job: Job, printed: str, code: int, target: str) -> str:
    """Return cause and mend where a program that prints no document ended with a `code` other than 0."""
    unknown = re.search(UNKNOWN_OPERATOR, printed)
    if unknown:
        return _unloadable(job, unknown.group(0), target)
    error = re.search(r"^(?:ERROR|FATAL): .*", printed, re.MULTILINE)  # the first says why, the last that it failed
    return _died(job, error.group(0) if error else printed, code, target)


def _died(job: Job, stderr: str, code: int, target: str) -> str:
    words = [line for line in stderr.splitlines() if line.strip()]
    if code < 0:
        cause = f"died of signal {-code} ({signal.strsignal(-code)})"
    elif code and words:
        cause = f"ended with code {code}: {words[-1].strip()}"
    else:
        cause = f"ended with code {code} and no complete result"
    return (
        f"{job.model.path} on {target} ({job.configuration}): the runner {cause}; "
        "check that this runtime can run the model, then run again"
    )


def _explain(job: Job, kind: str, message: str, target: str) -> str:
    runtime = job.configuration.runtime
    old = re.search(r"version `?(GLIBC_[\d.]+)'? not found", message)
    if kind == "runtime" and old:
        return (
            f"{runtime} on {target} needs {old.group(1)}, and its C library is older; take tflite-runtime there, "
            "or a newer system"
        )
    if kind == "runtime":
        return f"{runtime} cannot be imported on {target} ({message}); {INSTALL[runtime]}"
    if kind == "threads":
        return f"{target}: {message}; ask for fewer --threads or allow more --cpus"
    if kind == "cpus":
        return f"{target}: cannot run on cores {job.configuration.cpus} ({message}); choose another --cpus mask"
    if kind == "delegate":
        return (
            f"{target}: {message}; put an accelerator (libLiteRt…Accelerator.so) beside {target}'s libLiteRt.so, "
            "or choose another --delegate"
        )
    if kind == "gpu":
        return f"{job.model.path}: the GPU of {target} does not take it ({message}); choose another --delegate"
    if kind == "input":
        return f"{job.model.path}: {message}; give input for this model"
    return _unloadable(job, message, target)


def _unloadable(job: Job, message: str, target: str) -> str:
    runtime = f"{job.configuration.runtime} on {target}"
    version = re.search(r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'", message)
    custom = re.search(r"unresolved custom op: (\S+?)\.?(\s|$)", message)
    if version:
        return (
            f"{job.model.path}: {runtime} does not know {version.group(1)} version {version.group(2)}; "
            "use a newer runtime or convert the model for this one"
        )
    if custom:
        return f"{job.model.path}: {runtime} does not know the custom operator {custom.group(1)}; convert without it"
    if "valid Flatbuffer" in message or "Could not open" in message:
        return f"{job.model.path} is cut off or damaged ({message}); convert the model again"
    return f"{job.model.path}: {runtime} cannot run it ({message}); try another runtime or convert the model again"
