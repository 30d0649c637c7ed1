"""Drives a benchmark_model that the user has, TensorFlow Lite's own tool.

It tells statistics of its runs and not every sample. Its newer builds take an input, write their output and write
their result as a protocol buffer; older ones print text.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import shlex
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from android_bench.document import BeforeAndAfter, Device, Document
from android_bench.errors import InputError
from android_bench.files import cache_folder, write_files
from android_bench.jobs import Graph, Job, Measurement
from android_bench.processes import text
from android_bench.runners import benchmark_model_output, protocol, sensors
from android_bench.runners.benchmark_model_output import PROOF_FLAGS, RESULT_FLAGS

# How long an address may keep us waiting, in seconds, and the most that is fetched from it.
DOWNLOAD_SECONDS = 60
MOST_DOWNLOAD_BYTES = 512 * 1024 * 1024
# The same shortest series as our own runners', in inferences and seconds; the tool has no upper bound on their count.
RUNS, SECONDS = 50, 0.5
# The tool does not look whether it became steady, so that it always warms up for so many inferences and seconds.
WARMUP_RUNS, WARMUP_SECONDS = 10, 0.5


@dataclass(frozen=True)
class Program:
    """A benchmark_model; with `unchecked` its figures count even where it cannot write its output."""

    path: Path
    sha256: str
    unchecked: bool

    @property
    def version(self) -> str:
        """The start of its hash; it has no version of its own."""
        return f"sha256:{self.sha256[:12]}"


@dataclass(frozen=True)
class Machine:
    """What a target lends.

    Attributes:
        name: the target's.
        folder: where the program may write.
        cpus: the cores that it could use.
        device: what the target is.
        emulated: whether its processor is.
        shell: runs a command, within so many seconds or a usual time.
        run_program: the same for a command that ends in `exec` of what measures.
        place: brings a file there, unless it is there, and returns its absolute path.
        fetch: returns a file's bytes, or None where there is none.
    """

    name: str
    folder: str
    cpus: Sequence[int]
    device: Device
    emulated: bool
    shell: Callable[[str, float | None], subprocess.CompletedProcess[bytes]]
    run_program: Callable[[str, float | None], subprocess.CompletedProcess[bytes]]
    place: Callable[[Path], str]
    fetch: Callable[[str], bytes | None]


def open_program(word: str, unchecked: bool = False) -> Program:
    """Open the user's program.

    Args:
        word: a file, or an address as URL#sha256=DIGEST, which is fetched once.
        unchecked: whether its figures count where it cannot write its output.

    Returns:
        The program.

    Raises:
        InputError: where there is no file, or none of that digest at that address.
    """
    path = _fetched(word) if re.match(r"https?://", word) else Path(word)
    if not path.is_file():
        raise InputError(f"{path} is no file; name a benchmark_model that was built for the target")
    return Program(path, hashlib.sha256(path.read_bytes()).hexdigest(), unchecked)


def _fetched(address: str) -> Path:
    """Return the file of an address, whose digest is checked when it is fetched and when it is used again."""
    url, _, digest = address.partition("#sha256=")
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise InputError(f"{url} needs the digest that it must have; give {url}#sha256=DIGEST")
    path = cache_folder() / f"benchmark_model-{digest}"
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        try:
            with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS) as response:
                content = response.read(MOST_DOWNLOAD_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise InputError(f"{url} cannot be fetched ({error}); check the address and the network") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise InputError(f"{url} does not have the digest {digest[:12]}…; check which release that digest is of")
        write_files({path: content})
    return path


def run(machine: Machine, program: Program, job: Job) -> Measurement:
    """Run one job.

    Args:
        machine: where it runs.
        program: the tool, built for that machine.
        job: what to measure; its `input` and `graph` must be known.

    Returns:
        The measurement, without samples.

    Raises:
        InputError: where the program fails, ignores what it was told, does not use the GPU that was asked for, or
            cannot write its output although `program.unchecked` is not set.
    """
    assert job.graph is not None
    cpus = list(job.configuration.cpus or machine.cpus)
    files = {name: f"{machine.folder}/benchmark_model.{name}" for name in ("output", "result")}
    with tempfile.TemporaryDirectory(prefix="android_bench-") as folder:
        command = _command(machine, program, job, job.graph, files, Path(folder))
        before = _conditions(machine, cpus)
        process = machine.run_program(command, job.timeout)
        after = _conditions(machine, cpus)
    printed = text(process.stdout + process.stderr)
    if process.returncode:
        raise InputError(protocol.failure(job, printed, process.returncode, machine.name))
    ignored = benchmark_model_output.ignored_flags(printed, job.configuration.delegate)
    _refuse_ignored(program, ignored)
    output = None if ignored & PROOF_FLAGS else machine.fetch(files["output"])
    if not output and not program.unchecked:
        raise InputError(
            f"{program.path} cannot write its output, so that nothing shows what it computed; take TensorFlow's "
            "newest, or let its figures count with --unchecked"
        )
    result = None if ignored & RESULT_FLAGS else machine.fetch(files["result"])
    read = benchmark_model_output
    timings = read.from_result(result) if result else read.from_text(printed)
    if timings is None:
        raise InputError(f"{program.path} printed no timings that are known here; take another release of it")
    document = Document(
        runtime_version=program.version,
        device=machine.device,
        emulated=machine.emulated,
        cpus=cpus,
        nodes=job.graph.nodes,
        integer_nodes=job.graph.integer_nodes,
        **asdict(read.delegation(printed, job.configuration.delegate, job.graph)),
        init_us=timings.init_us,
        first_us=timings.first_us,
        warmup_runs=timings.warmup_runs,
        steady=None,
        samples_us=[],
        cpu_us=None,
        statistics=timings.statistics,
        baseline_rss_bytes=None,
        peak_rss_bytes=None,
        temperature=BeforeAndAfter(before[0], after[0]),
        frequency=BeforeAndAfter(before[1], after[1]),
        energy=None,
        involuntary_switches=None,
        cpu_pressure=None,
        yardstick=None,
        operators=None,
    )
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
        "input_layer_shape": ":".join(",".join(map(str, each.shape)) for each in graph.inputs),
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
        size = int(np.prod(tensor.shape)) * np.dtype(tensor.dtype).itemsize
        parts.append(folder / f"input{number}")
        parts[-1].write_bytes(data[start : start + size])
        start += size
    return parts


def _conditions(machine: Machine, cpus: Sequence[int]) -> tuple[float | None, float | None]:
    """Return the hottest sensor in °C and the fastest clock of the used cores in MHz, as far as they show."""
    return sensors.read_conditions(text(machine.shell(sensors.conditions_command(cpus), None).stdout))


def _refuse_ignored(program: Program, ignored: set[str]) -> None:
    missing = ignored - PROOF_FLAGS - RESULT_FLAGS
    if missing:
        flags = ", ".join(f"--{name}" for name in sorted(missing))
        raise InputError(f"{program.path} ignores {flags}, so that it measured something else; take a newer release")
