"""What a benchmark_model tells of its runs: its result file, a protocol buffer, or one of the texts of its releases."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from android_bench import records
from android_bench.document import Statistics
from android_bench.errors import InputError
from android_bench.jobs import Graph

# The flags that an output to check needs, and the one of the result file.
PROOF_FLAGS = {"input_layer", "input_layer_shape", "input_layer_value_files", "output_filepath"}
RESULT_FLAGS = {"result_file_path"}
# Field numbers of BenchmarkResult in TensorFlow's benchmark_result.proto: its latencies, 32-bit floats in
# milliseconds, and its counts; then those of the two messages.
LATENCIES, COUNTS = 2, 4
MEAN, MINIMUM, MAXIMUM, DEVIATION, MEDIAN, P5, P95, INIT, FIRST = range(1, 10)
RUN_COUNT, WARMUP_COUNT = 2, 3
# A varint holds 64 bits, 7 in a byte.
LONGEST_VARINT_BYTES = 10
MICROSECONDS_PER_MILLISECOND = 1000
NUMBER = r"([\d.]+(?:e[+-]?\d+)?)"


@dataclass(frozen=True)
class Timings:
    """What it told, in microseconds; `warmup_runs` is None where it did not say."""

    init_us: records.Positive
    first_us: records.Positive
    warmup_runs: int | None
    statistics: Statistics


@dataclass(frozen=True)
class Delegation:
    """How many nodes its delegate took, in how many partitions; None for what it did not tell."""

    delegated_nodes: int | None
    partitions: int | None


def ignored_flags(text: str, delegate: str) -> set[str]:
    """Return the names of the flags that the program said it does not know.

    LiteRT 2's tool, which has a result file and none for its output, always takes XNNPACK on the CPU.

    Args:
        text: all that it printed.
        delegate: the one it was to use.
    """
    lines = re.findall(r"Unconsumed cmdline flags:(.*)", text)
    ignored = {name for line in lines for name in re.findall(r"--([\w-]+)", line)}
    of_litert = "output_filepath" in ignored and not ignored & RESULT_FLAGS
    return ignored - {"use_xnnpack"} if of_litert and delegate == "xnnpack" else ignored


def from_result(content: bytes) -> Timings:
    """Read a BenchmarkResult, the protocol buffer of --result_file_path.

    Args:
        content: the file's bytes.

    Returns:
        The timings.

    Raises:
        InputError: where it is cut off, has no latencies, or they are no numbers to count with.
    """
    try:
        fields = dict(_fields(content))
        latencies = dict(_fields(fields[LATENCIES]))
        counts = dict(_fields(fields.get(COUNTS, b"")))
        unit = MICROSECONDS_PER_MILLISECOND
        times = {"init_us": unit * latencies[INIT], "first_us": unit * latencies[FIRST]}
        return _timings(times, counts.get(WARMUP_COUNT), counts.get(RUN_COUNT), latencies, unit)
    except (KeyError, ValueError, IndexError, TypeError, struct.error):
        raise InputError("the result file of benchmark_model is cut off or damaged; run again") from None


def from_text(text: str) -> Timings | None:
    """Read what the program printed.

    There are four forms: TensorFlow's of 2019 ("no stats"), of 2020 ("Inference timings in us"), the same with
    percentiles since 2023, and the block of milliseconds of LiteRT 2.

    Args:
        text: all that it printed.

    Returns:
        The timings, or None where it printed none that are known.
    """
    try:
        return _from_block(text) if "= BENCHMARK RESULTS =" in text else _from_lines(text)
    except ValueError:
        return None


def delegation(text: str, delegate: str, graph: Graph) -> Delegation:
    """Read what the delegate took.

    Args:
        text: all that the program printed.
        delegate: the one it was to use.
        graph: the model's.

    Returns:
        The counts, as far as the program told them.

    Raises:
        InputError: where it did not apply the GPU delegate that was asked for.
    """
    name = {"xnnpack": "XNNPACK", "gpu": "GPU"}.get(delegate)
    applied = re.search(rf"{name} delegate(?: is explicitly applied)?, (?:and )?the model graph will (.*)", text)
    if delegate == "gpu" and (applied is None or applied.group(1).startswith("not be")):
        raise InputError(
            "benchmark_model does not say that it used the GPU; take a build with a GPU delegate, or drop gpu"
        )
    if delegate == "none" or (applied and applied.group(1).startswith("not be")):
        return Delegation(0, 0)
    if applied and "completely" in applied.group(1):
        return Delegation(graph.nodes, 1)
    kernels = re.search(r"w/ (\d{1,9}) delegate", applied.group(1)) if applied else None
    return Delegation(None, int(kernels.group(1)) if kernels else None)


def _timings(
    times: dict[str, float], warmup: int | None, runs: int | None, values: dict[int, float], unit: float
) -> Timings:
    """Return the timings, of `values` by field number in units of so many microseconds; raise ValueError for NaN."""
    names = {
        "mean_us": MEAN,
        "minimum_us": MINIMUM,
        "maximum_us": MAXIMUM,
        "deviation_us": DEVIATION,
        "median_us": MEDIAN,
        "p5_us": P5,
        "p95_us": P95,
    }
    known = {name: unit * values[number] for name, number in names.items() if number in values}
    return records.decode(Timings, {**times, "warmup_runs": warmup, "statistics": {"runs": runs, **known}})


def _fields(content: bytes) -> list[tuple[int, Any]]:
    """Return (number, value) of each field of a message: an integer, a 32-bit float, or bytes."""
    found: list[tuple[int, Any]] = []
    position = 0

    def varint() -> int:
        nonlocal position
        value = 0
        for place in range(LONGEST_VARINT_BYTES):
            byte = content[position]
            position += 1
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return value
        raise ValueError("a varint without end")

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


def _from_lines(text: str) -> Timings | None:
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
    first_us = first.group(1) if first else series[0].get("first") or series[0].get("curr", "")
    times = {"init_us": float(init.group(1)), "first_us": float(first_us)}
    runs = int(known["count"]) if "count" in known else None
    return _timings(times, int(warmup["count"]) if "count" in warmup else None, runs, values, 1)


def _from_block(text: str) -> Timings | None:
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
    told = {number: value(name) for number, name in spread.items()}
    values = {MEAN: mean, **{number: each for number, each in told.items() if each is not None}}
    unit = MICROSECONDS_PER_MILLISECOND
    times = {"init_us": unit * init, "first_us": unit * first}
    return _timings(times, runs("Warmup (avg)"), runs("Inference (avg)"), values, unit)
