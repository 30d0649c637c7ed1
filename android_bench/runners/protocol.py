"""The host's side of a runner: its arguments, and what its words mean."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

from android_bench.errors import InputError
from android_bench.jobs import Job

NATIVE = "native"
BENCHMARK_MODEL = "benchmark_model"
UNKNOWN_OPERATOR = r"Didn't find op for builtin opcode.*|.*unresolved custom op: .*"
INSTALL = {
    NATIVE: "pip install ai-edge-litert and run again",
    "litert": "pip install ai-edge-litert",
    "tflite-runtime": "pip install tflite-runtime 'numpy<2' under Python 3.11 or older",
    "tensorflow": "pip install tensorflow",
}


def arguments(job: Job, model: str, output: str, input: str | None) -> list[str]:
    """Return the runner's arguments; `model`, `output` and `input` are paths on the target."""
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


def document(job: Job, stdout: str, stderr: str, code: int, target: str) -> dict[str, Any]:
    """Return the runner's document; raise InputError with cause and mend where there is no whole one."""
    lines = [line for line in stdout.splitlines() if line.startswith("{")]
    try:
        result = json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        raise InputError(_died(job, stderr, code, target)) from None
    if "error" in result:
        message = result["error"]["message"]
        unknown = re.search(UNKNOWN_OPERATOR, stderr)
        raise InputError(_explain(job, result["error"]["kind"], unknown.group(0) if unknown else message, target))
    return result


def failure(job: Job, text: str, code: int, target: str) -> str:
    """Return cause and mend where a program that prints no document ended with a `code` other than 0."""
    unknown = re.search(UNKNOWN_OPERATOR, text)
    if unknown:
        return _unloadable(job, unknown.group(0), target)
    error = re.search(r"^(?:ERROR|FATAL): .*", text, re.MULTILINE)  # the first says why, the last that it failed
    return _died(job, error.group(0) if error else text, code, target)


def _died(job: Job, stderr: str, code: int, target: str) -> str:
    words = [line for line in stderr.splitlines() if line.strip()]
    if code < 0:
        cause = f"died of {signal.Signals(-code).name}"
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
    message = " ".join(message.split())
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
