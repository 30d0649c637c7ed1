"""Rows of measurements, kept as JSON lines that are checked when written and when read."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import jsonschema

from android_bench import records
from android_bench.document import BeforeAndAfter, Device, Energy, Operator, Statistics, Yardstick
from android_bench.errors import InputError
from android_bench.output_check import OutputCheck
from android_bench.stats import percentile, pooled_percentile

# The name of the rows' schema, and the file that describes it.
SCHEMA = "android_bench.row/2"
SCHEMA_FILE = Path(__file__).parent / "results.schema.json"


@dataclass(frozen=True)
class Row:
    """One measurement; `results.schema.json` says what each field holds. Times are in microseconds."""

    schema: str
    run: str
    time: str
    target: str
    device: Device
    emulated: bool
    model: str
    model_path: str
    model_sha256: str
    model_bytes: int
    runtime: str
    runtime_version: str
    delegate: str
    threads: int
    cpus: list[int]
    repeat: int
    order: int
    nodes: int | None
    delegated_nodes: int | None
    partitions: int | None
    integer_nodes: int | None
    undelegated_operators: list[str] | None
    init_us: float
    first_us: float
    warmup_runs: int | None
    samples_us: list[float]
    statistics: Statistics | None
    cpu_us: list[float] | None
    baseline_rss_bytes: int | None
    peak_rss_bytes: int | None
    temperature: BeforeAndAfter
    frequency: BeforeAndAfter
    energy: Energy | None
    involuntary_switches: int | None
    cpu_pressure: float | None
    operators: list[Operator] | None
    output_check: OutputCheck | None
    noisy: list[str]
    mode: str | None
    accuracy: float | None
    yardstick: Yardstick | None = None

    def percentile(self, percent: float) -> float | None:
        """Return a percentile of the latency.

        Args:
            percent: which, 0 to 100.

        Returns:
            The latency in microseconds below which so many percent of the samples lie; None where nobody told.
        """
        if self.statistics is None:
            return percentile(self.samples_us, percent)
        told: dict[float, float | None] = {
            5: self.statistics.p5_us,
            50: self.statistics.median_us,
            95: self.statistics.p95_us,
        }
        return told.get(percent)

    @property
    def p50_us(self) -> float | None:
        """The median latency in microseconds."""
        return self.percentile(50)

    @property
    def p90_us(self) -> float | None:
        """The 90th percentile in microseconds."""
        return self.percentile(90)

    @property
    def block_us(self) -> list[float]:
        """What stands for this process where whole processes are resampled: its samples, or else its median."""
        median = self.p50_us
        return self.samples_us or ([] if median is None else [median])

    @property
    def minimum_us(self) -> float | None:
        """The shortest inference in microseconds; None where nobody told."""
        return min(self.samples_us) if self.statistics is None else self.statistics.minimum_us

    @property
    def yardstick_us(self) -> float | None:
        """How long the machine took for the yardstick's product while this was measured."""
        return percentile(self.yardstick.bursts_us, 50) if self.yardstick else None


@cache
def _validator() -> jsonschema.protocols.Validator:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema)


def read(path: str | os.PathLike[str]) -> list[Row]:
    """Read a results file.

    Args:
        path: the file.

    Returns:
        Its rows, oldest first.

    Raises:
        InputError: where the file is missing, cut off, or holds rows of another schema.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the .jsonl file in it")
    if not path.exists():
        raise InputError(f"{path} does not exist; python -m android_bench run writes it")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; name one that python -m android_bench run wrote")
    lines = path.read_bytes().split(b"\n")
    if lines[-1]:
        raise InputError(f"{path}: line {len(lines)} is cut off; remove that line, the rows before it are whole")
    return [_row(line, f"{path}: line {number}") for number, line in enumerate(lines[:-1], 1)]


def _row(line: bytes, place: str) -> Row:
    try:
        value = records.loads(line)
    except json.JSONDecodeError:
        raise InputError(f"{place} is not JSON; remove that line or name a results file") from None
    except ValueError as error:
        raise InputError(f"{place}: {error}; remove that line or name a results file") from None
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA:
        words = f"{schema!r}" if schema is None or isinstance(schema, str) else "that is no text"
        raise InputError(
            f"{place} has schema {words[:80]}, this version reads {SCHEMA!r}; measure again into a new file"
        )
    _check(value, place)
    try:
        return records.decode(Row, value)
    except ValueError as error:
        raise InputError(f"{place}: {error}; remove that line or measure again into a new file") from None


def _check(value: dict[str, Any], place: str) -> None:
    """Raise InputError where a row does not fit the schema. Its values are read already, so that none is NaN."""
    try:
        error = jsonschema.exceptions.best_match(_validator().iter_errors(value))
    except RecursionError:
        raise InputError(f"{place} is nested too deeply; remove that line or measure again into a new file") from None
    if error is not None:
        field = ".".join(map(str, error.absolute_path)) or "row"
        message = error.message if len(error.message) < 120 else f"{error.message[:117]}…"
        raise InputError(f"{place}: {field}: {message}; remove that line or measure again into a new file")


def writable(path: str | os.PathLike[str]) -> None:
    """Raise InputError or OSError where rows could not be appended to `path`; a file there must hold whole rows."""
    path = Path(path)
    try:
        path.stat()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            return
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; choose another --output")
    read(path)
    with path.open("ab"):
        return


def append(path: str | os.PathLike[str], rows: Sequence[Row]) -> None:
    """Append rows to a file, all of them or none; several processes may do so at once.

    Args:
        path: the file; it is made, and its folder, where it is missing.
        rows: what is appended.

    Raises:
        InputError: where a row does not fit the schema.
        OSError: where the file system refuses.
    """
    path = Path(path)
    values = [asdict(row) for row in rows]
    for value in values:
        _check(value, "new row")
    try:
        lines = [json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n" for value in values]
    except ValueError as error:
        raise InputError(f"new row: {error}; measure again") from None
    content = b"".join(lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    created = not path.exists()
    with path.open("ab", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = os.fstat(file.fileno()).st_size
        try:
            _write_all(file.fileno(), content)
            os.fsync(file.fileno())
        except BaseException:
            os.ftruncate(file.fileno(), size)
            if created and size == 0:
                path.unlink(missing_ok=True)
            raise


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


@dataclass(frozen=True)
class Summary:
    """All repeats of one model in one configuration on one target.

    Attributes:
        rows: the repeats.
        minimum_us: the shortest inference of all, in microseconds.
        init_us: median over the repeats of loading the model and planning its memory.
        peak_rss_bytes: the largest over the repeats, the runner's own memory included.
        energy_joules: of one inference, with all that ran meanwhile; the median over the repeats.
        noisy: the reasons of all repeats, one of each kind.
        noisy_repeats: how many repeats have a reason.
    """

    rows: tuple[Row, ...]
    minimum_us: float | None
    init_us: float
    peak_rss_bytes: int | None
    energy_joules: float | None
    noisy: tuple[str, ...]
    noisy_repeats: int

    @cached_property
    def samples_us(self) -> list[float]:
        """The samples of all repeats; empty where the runtime tells statistics only."""
        return [sample for row in self.rows for sample in row.samples_us]

    def percentile(self, percent: float) -> float | None:
        """Return a percentile over all samples, in microseconds; each repeat weighs the same.

        Where only statistics are known it is the median over the repeats, and None where they lack it.
        """
        blocks = [row.samples_us for row in self.rows if row.samples_us]
        if blocks:
            return pooled_percentile(blocks, percent)
        return _median(row.percentile(percent) for row in self.rows)

    @property
    def p50_us(self) -> float | None:
        """The median over all samples, in microseconds."""
        return self.percentile(50)

    @property
    def p90_us(self) -> float | None:
        """The 90th percentile over all samples, in microseconds."""
        return self.percentile(90)


def cell(row: Row) -> tuple[str | int, ...]:
    """Return what rows of the same target, model and configuration share."""
    return (
        row.target,
        row.model,
        row.model_sha256,
        row.runtime,
        row.runtime_version,
        row.delegate,
        row.threads,
        *row.cpus,
    )


def summarize(rows: Iterable[Row]) -> list[Summary]:
    """Return one summary for each target, model and configuration, in the order of their first row."""
    groups: dict[tuple[str | int, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(cell(row), []).append(row)
    return [_summary(group) for group in groups.values()]


def _summary(rows: list[Row]) -> Summary:
    peaks = [row.peak_rss_bytes for row in rows if row.peak_rss_bytes is not None]
    minima = [row.minimum_us for row in rows if row.minimum_us is not None]
    return Summary(
        rows=tuple(rows),
        minimum_us=min(minima, default=None),
        init_us=percentile([row.init_us for row in rows], 50),
        peak_rss_bytes=max(peaks, default=None),
        energy_joules=_median(row.energy.joules / len(row.samples_us) for row in rows if row.energy and row.samples_us),
        noisy=tuple({reason.partition(":")[0]: reason for row in rows for reason in row.noisy}.values()),
        noisy_repeats=sum(bool(row.noisy) for row in rows),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return percentile(known, 50) if known else None
