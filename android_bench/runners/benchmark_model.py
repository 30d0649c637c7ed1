"""Drives a benchmark_model that the user has (TensorFlow Lite's own tool) and reads what it says.

It tells statistics of its runs and not every sample. Its newer builds take an input, write their output and
write their result as a protocol buffer; older ones print text, in several forms over the years.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import shlex
import struct
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from android_bench.errors import InputError
from android_bench.files import cache_folder, write_bytes
from android_bench.jobs import TEMPERATURES, Graph, Job, Measurement, hottest
from android_bench.runners import protocol

DOWNLOAD_SECONDS = 60
RUNS, SECONDS = 50, 0.5
WARMUP_RUNS, WARMUP_SECONDS = 10, 0.5
PROOF_FLAGS = {"input_layer", "input_layer_shape", "input_layer_value_files", "output_filepath"}
RESULT_FLAGS = {"result_file_path"}
# In BenchmarkResult, field 2 holds the latencies as 32-bit floats in milliseconds and field 4 the counts.
LATENCIES, COUNTS = 2, 4
MEAN, MINIMUM, MAXIMUM, DEVIATION, MEDIAN, P5, P95, INIT, FIRST = range(1, 10)
RUN_COUNT, WARMUP_COUNT = 2, 3


@dataclass(frozen=True)
class Program:
    """A benchmark_model; with `unchecked` its figures count even where it cannot write its output."""

    path: Path
    sha256: str
    unchecked: bool

    @property
    def version(self) -> str:
        return f"sha256:{self.sha256[:12]}"


@dataclass(frozen=True)
class Machine:
    """What a target lends.

    Attributes:
        folder: where the program may write.
        cpus: the cores that it could use.
        shell: runs a command, within so many seconds or a usual time.
        place: brings a file there, unless it is there, and returns its path.
        fetch: returns a file's bytes, or None where there is none.
    """

    name: str
    folder: str
    cpus: Sequence[int]
    device: dict[str, Any]
    emulated: bool
    shell: Callable[[str, float | None], subprocess.CompletedProcess[bytes]]
    place: Callable[[Path], str]
    fetch: Callable[[str], bytes | None]


def open_program(word: str, unchecked: bool = False) -> Program:
    """Return the program that `word` names: a file, or an address as URL#sha256=DIGEST, which is fetched once.

    Raises InputError where there is no file, or none of that digest at that address.
    """
    path = _fetched(word) if re.match(r"https?://", word) else Path(word)
    if not path.is_file():
        raise InputError(f"{path} is no file; name a benchmark_model that was built for the target")
    return Program(path, hashlib.sha256(path.read_bytes()).hexdigest(), unchecked)


def _fetched(address: str) -> Path:
    url, _, digest = address.partition("#sha256=")
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise InputError(f"{url} needs the digest that it must have; give {url}#sha256=DIGEST")
    path = cache_folder() / f"benchmark_model-{digest}"
    if not path.exists():
        try:
            with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS) as response:
                content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise InputError(f"{url} cannot be fetched ({error}); check the address and the network") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise InputError(f"{url} does not have the digest {digest[:12]}…; check which release that digest is of")
        write_bytes(path, content)
    return path


def run(machine: Machine, program: Program, job: Job) -> Measurement:
    """Run one job.

    Raises InputError where the program fails, ignores what it was told, does not use the GPU that was asked for,
    or cannot write its output although `program.unchecked` is not set.
    """
    assert job.graph is not None
    files = {name: f"{machine.folder}/benchmark_model.{name}" for name in ("output", "result")}
    with tempfile.TemporaryDirectory(prefix="android_bench-") as folder:
        command = _command(machine, program, job, job.graph, files, Path(folder))
        before = _conditions(machine, job)
        process = machine.shell(command, job.timeout)
        after = _conditions(machine, job)
    text = (process.stdout + process.stderr).decode("utf-8", "replace")
    if process.returncode:
        raise InputError(protocol.failure(job, text, process.returncode, machine.name))
    ignored = _ignored(text, job.configuration.delegate)
    _refuse_ignored(program, ignored)
    output = None if ignored & PROOF_FLAGS else machine.fetch(files["output"])
    if not output and not program.unchecked:
        raise InputError(
            f"{program.path} cannot write its output, so that nothing shows what it computed; take TensorFlow's "
            "newest, or let its figures count with --unchecked"
        )
    result = None if ignored & RESULT_FLAGS else machine.fetch(files["result"])
    timings = from_result(result) if result else from_text(text)
    if timings is None:
        raise InputError(f"{program.path} printed no timings that are known here; take another release of it")
    document = {
        "runtime_version": program.version,
        "device": machine.device,
        "emulated": machine.emulated,
        "cpus": list(job.configuration.cpus or machine.cpus),
        "steady": None,
        "samples_us": [],
        "cpu_us": None,
        "baseline_rss_bytes": None,
        "peak_rss_bytes": None,
        "temperature": {"before": before[0], "after": after[0]},
        "frequency": {"before": before[1], "after": after[1]},
        "energy": None,
        "involuntary_switches": None,
        "cpu_pressure": None,
        "operators": None,
        **timings,
        **delegation(text, job.configuration.delegate, job.graph),
    }
    return Measurement(document, output or None)


def _command(machine: Machine, program: Program, job: Job, graph: Graph, files: Mapping[str, str], folder: Path) -> str:
    """Return the shell command; the tool binds itself to no cores, so taskset does."""
    assert job.input is not None
    binary = machine.place(program.path)
    inputs = [machine.place(part) for part in _split(job.input, graph, folder)]
    flags = {"graph": machine.place(job.model.path), **_flags(job), **_input_flags(graph, inputs)}
    flags |= {"output_filepath": files["output"], "result_file_path": files["result"]}
    words = [binary, *(f"--{name}={value}" for name, value in flags.items())]
    if job.configuration.cpus:
        words = ["taskset", f"{sum(1 << cpu for cpu in job.configuration.cpus):x}", *words]
    quoted = shlex.quote(binary)
    return f"test -x {quoted} || chmod 755 {quoted}; rm -f {shlex.join(files.values())}; exec {shlex.join(words)}"


def _flags(job: Job) -> dict[str, str]:
    """Return how long to measure, how, and with which delegate. Its first inference is its first warm-up."""
    if job.runs is not None:
        runs, seconds = job.runs, 0.0
    else:
        runs, seconds = (1, job.seconds) if job.seconds is not None else (RUNS, SECONDS)
    warmup, warmup_seconds = (WARMUP_RUNS, WARMUP_SECONDS) if job.warmup is None else (max(1, job.warmup), 0.0)
    delegates = {"none": {"use_xnnpack": "false"}, "xnnpack": {"use_xnnpack": "true"}, "gpu": {"use_gpu": "true"}}
    return {
        "num_threads": str(job.configuration.threads),
        "num_runs": str(runs),
        "min_secs": str(seconds),
        "max_secs": str(job.timeout),
        "warmup_runs": str(warmup),
        "warmup_min_secs": str(warmup_seconds),
        **delegates[job.configuration.delegate],
    }


def _input_flags(graph: Graph, paths: Sequence[str]) -> dict[str, str]:
    """Return the flags that give each input its file. The tool goes by their order; their names are for its log."""
    names = [f"input{number}" for number in range(len(paths))]
    return {
        "input_layer": ",".join(names),
        "input_layer_shape": ":".join(",".join(map(str, each["shape"])) for each in graph.inputs),
        "input_layer_value_files": ",".join(
            f"{name}:{path.replace(':', '::')}" for name, path in zip(names, paths, strict=True)
        ),
    }


def _split(content: Path, graph: Graph, folder: Path) -> list[Path]:
    """Return one file for each input, of the file that holds all of them."""
    if len(graph.inputs) == 1:
        return [content]
    data, parts, start = content.read_bytes(), [], 0
    for number, tensor in enumerate(graph.inputs):
        size = int(np.prod(tensor["shape"])) * np.dtype(tensor["dtype"]).itemsize
        parts.append(folder / f"input{number}")
        parts[-1].write_bytes(data[start : start + size])
        start += size
    return parts


def _conditions(machine: Machine, job: Job) -> tuple[float | None, float | None]:
    """Return the hottest sensor in °C and the fastest clock of the used cores in MHz, as far as they show."""
    cores = " ".join(map(str, job.configuration.cpus or machine.cpus))
    clocks = f"for core in {cores}; do cat /sys/devices/system/cpu/cpu$core/cpufreq/scaling_cur_freq"
    text = machine.shell(f"{TEMPERATURES}; echo clocks; {clocks} 2>/dev/null; done", None).stdout.decode(
        "utf-8", "replace"
    )
    temperatures, _, frequencies = text.partition("clocks")
    return hottest(temperatures), hottest(frequencies)


def _ignored(text: str, delegate: str) -> set[str]:
    """Return the names of the flags that the program said it does not know.

    LiteRT 2's tool, which has a result file and none for its output, always takes XNNPACK on the CPU.
    """
    lines = re.findall(r"Unconsumed cmdline flags:(.*)", text)
    ignored = {name for line in lines for name in re.findall(r"--([\w-]+)", line)}
    of_litert = "output_filepath" in ignored and not ignored & RESULT_FLAGS
    return ignored - {"use_xnnpack"} if of_litert and delegate == "xnnpack" else ignored


def _refuse_ignored(program: Program, ignored: set[str]) -> None:
    missing = ignored - PROOF_FLAGS - RESULT_FLAGS
    if missing:
        flags = ", ".join(f"--{name}" for name in sorted(missing))
        raise InputError(f"{program.path} ignores {flags}, so that it measured something else; take a newer release")


def from_result(content: bytes) -> dict[str, Any]:
    """Return the timings in a BenchmarkResult, the protocol buffer of --result_file_path.

    Raises InputError where it is cut off or has no latencies.
    """
    try:
        fields = dict(_fields(content))
        latencies = dict(_fields(fields[LATENCIES]))
        counts = dict(_fields(fields.get(COUNTS, b"")))
        return {
            "init_us": 1000 * latencies[INIT],
            "first_us": 1000 * latencies[FIRST],
            "warmup_runs": counts.get(WARMUP_COUNT),
            "statistics": _statistics(counts.get(RUN_COUNT), 1000, latencies.get),
        }
    except (KeyError, ValueError, IndexError, TypeError, struct.error):
        raise InputError("the result file of benchmark_model is cut off or damaged; run again") from None


def _fields(content: bytes) -> list[tuple[int, Any]]:
    """Return (number, value) of each field of a message: an integer, a 32-bit float, or bytes."""
    found: list[tuple[int, Any]] = []
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = content[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def take(size: int) -> bytes:
        nonlocal position
        position += size
        if position > len(content):
            raise ValueError("cut off")
        return content[position - size : position]

    while position < len(content):
        number, kind = divmod(varint(), 8)
        readers: dict[int, Callable[[], Any]] = {
            0: varint,
            1: lambda: take(8),
            2: lambda: take(varint()),
            5: lambda: struct.unpack("<f", take(4))[0],
        }
        found.append((number, readers[kind]()))
    return found


def from_text(text: str) -> dict[str, Any] | None:
    """Return the timings that the program printed, or None where it printed none that are known.

    There are four forms: TensorFlow's of 2019 ("no stats"), of 2020 ("Inference timings in us"), the same with
    percentiles since 2023, and the block of milliseconds of LiteRT 2.
    """
    return _from_block(text) if "= BENCHMARK RESULTS =" in text else _from_lines(text)


NUMBER = r"([\d.]+(?:e[+-]?\d+)?)"


def _from_lines(text: str) -> dict[str, Any] | None:
    series = [dict(re.findall(rf"(\w+)={NUMBER}", line)) for line in re.findall(r"count=.*", text)]
    init = re.search(rf"timings in us:.*Init: {NUMBER}", text)
    mean = re.search(rf"timings in us:.*(?:no stats|Inference(?: \(avg\))?): {NUMBER}", text)
    first = re.search(rf"First inference: {NUMBER}", text)
    if init is None or mean is None or not (first or series):
        return None
    warmup = series[0] if len(series) > 1 else {}
    known = {name: float(value) for name, value in (series[-1] if series else {}).items()}
    names = {"min": MINIMUM, "max": MAXIMUM, "std": DEVIATION, "median": MEDIAN, "p5": P5, "p95": P95}
    values = {number: known[name] for name, number in names.items() if name in known}
    if "curr" in known and "min" not in known:  # all were the same
        values |= dict.fromkeys((MINIMUM, MAXIMUM), known["curr"])
    values[MEAN] = float(mean.group(1))
    return {
        "init_us": float(init.group(1)),
        "first_us": float(first.group(1)) if first else float(series[0].get("first") or series[0]["curr"]),
        "warmup_runs": int(warmup["count"]) if warmup else None,
        "statistics": _statistics(int(known["count"]) if known else None, 1, values.get),
    }


def _from_block(text: str) -> dict[str, Any] | None:
    def value(name: str) -> float | None:
        match = re.search(rf"{re.escape(name)}:?\s+{NUMBER}", text)
        return float(match.group(1)) if match else None

    def runs(name: str) -> int | None:
        match = re.search(rf"{re.escape(name)}.*\((\d+) runs\)", text)
        return int(match.group(1)) if match else None

    init, first, mean = (value(name) for name in ("Model initialization", "Warmup (first)", "Inference (avg)"))
    if not init or not first or not mean:
        return None
    spread = {MINIMUM: "Inference (min)", MAXIMUM: "Inference (max)", DEVIATION: "Inference (std)"}
    values = {MEAN: mean, **{number: value(name) for number, name in spread.items()}}
    return {
        "init_us": 1000 * init,
        "first_us": 1000 * first,
        "warmup_runs": runs("Warmup (avg)"),
        "statistics": _statistics(runs("Inference (avg)"), 1000, values.get),
    }


def _statistics(runs: int | None, microseconds: float, value: Callable[[int], float | None]) -> dict[str, Any]:
    """Return the row's statistics, of `value(number)` in units of so many `microseconds`; None stays None."""
    names = {
        "mean_us": MEAN,
        "minimum_us": MINIMUM,
        "maximum_us": MAXIMUM,
        "deviation_us": DEVIATION,
        "median_us": MEDIAN,
        "p5_us": P5,
        "p95_us": P95,
    }
    found = {name: value(number) for name, number in names.items()}
    if found["mean_us"] is None:
        raise ValueError("no mean")
    return {"runs": runs, **{name: None if each is None else each * microseconds for name, each in found.items()}}


def delegation(text: str, delegate: str, graph: Graph) -> dict[str, Any]:
    """Return the row's counts of nodes, as far as the program told what the delegate took.

    Raises InputError where it did not apply the GPU delegate that was asked for.
    """
    name = {"xnnpack": "XNNPACK", "gpu": "GPU"}.get(delegate)
    applied = re.search(rf"{name} delegate(?: is explicitly applied)?, (?:and )?the model graph will (.*)", text)
    if delegate == "gpu" and (applied is None or applied.group(1).startswith("not be")):
        raise InputError(
            "benchmark_model does not say that it used the GPU; take a build with a GPU delegate, or drop gpu"
        )
    delegated = partitions = None
    if delegate == "none" or (applied and applied.group(1).startswith("not be")):
        delegated = partitions = 0
    elif applied and "completely" in applied.group(1):
        delegated, partitions = graph.nodes, 1
    elif applied:
        kernels = re.search(r"w/ (\d+) delegate", applied.group(1))
        partitions = int(kernels.group(1)) if kernels else None
    return {
        "nodes": graph.nodes,
        "delegated_nodes": delegated,
        "partitions": partitions,
        "integer_nodes": graph.integer_nodes,
        "undelegated_operators": None,
    }
