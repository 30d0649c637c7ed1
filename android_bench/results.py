"""Rows of measurements, kept as JSON lines that are checked when written and when read."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from android_bench.errors import InputError
from android_bench.stats import percentile

SCHEMA = "android_bench.row/1"
SCHEMA_FILE = Path(__file__).parent / "results.schema.json"


@dataclass(frozen=True)
class Row:
    """One measurement; `results.schema.json` says what each field holds. Times are in microseconds."""

    schema: str
    run: str
    time: str
    target: str
    device: dict[str, Any]
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
    warmup_runs: int
    samples_us: list[float]
    cpu_us: list[float] | None
    baseline_rss_bytes: int | None
    peak_rss_bytes: int | None
    temperature: dict[str, float | None]
    frequency: dict[str, float | None]
    involuntary_switches: int | None
    cpu_pressure: float | None
    operators: list[dict[str, Any]] | None
    output_check: dict[str, Any]
    noisy: list[str]
    mode: str | None
    accuracy: float | None

    def percentile(self, percent: float) -> float:
        """Return the latency in microseconds below which `percent` % of this row's samples lie."""
        return percentile(self.samples_us, percent)

    @property
    def p50_us(self) -> float:
        return self.percentile(50)

    @property
    def p90_us(self) -> float:
        return self.percentile(90)


@cache
def _validator() -> jsonschema.protocols.Validator:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema)


def read(path: str | os.PathLike[str]) -> list[Row]:
    """Return the rows in the file at `path`, oldest first.

    Raises InputError where the file is missing, cut off, or holds rows of another schema.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the .jsonl file in it")
    if not path.exists():
        raise InputError(f"{path} does not exist; python -m android_bench run writes it")
    lines = path.read_bytes().split(b"\n")
    if lines[-1]:
        raise InputError(f"{path}: line {len(lines)} is cut off; remove that line, the rows before it are whole")
    return [_row(line, f"{path}: line {number}") for number, line in enumerate(lines[:-1], 1)]


def _row(line: bytes, place: str) -> Row:
    try:
        value = json.loads(line)
    except ValueError:
        raise InputError(f"{place} is not JSON; remove that line or name a results file") from None
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA:
        raise InputError(f"{place} has schema {schema!r}, this version reads {SCHEMA!r}; measure again into a new file")
    _check(value, place)
    return Row(**value)


def _check(value: dict[str, Any], place: str) -> None:
    error = jsonschema.exceptions.best_match(_validator().iter_errors(value))
    if error is not None:
        field = ".".join(map(str, error.absolute_path)) or "row"
        message = error.message if len(error.message) < 120 else f"{error.message[:117]}…"
        raise InputError(f"{place}: {field}: {message}; remove that line or measure again into a new file")


def writable(path: str | os.PathLike[str]) -> None:
    """Raise InputError or OSError where rows could not be appended to `path`; a file there must hold whole rows."""
    path = Path(path)
    if path.exists():
        if not path.is_file():
            raise InputError(f"{path} is not a regular file; choose another --output")
        read(path)
        with path.open("ab"):
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        return


def append(path: str | os.PathLike[str], rows: Sequence[Row]) -> None:
    """Append `rows` to the file at `path`, all of them or none; several processes may do so at once.

    Raises InputError where a row does not fit the schema, OSError where the file system refuses.
    """
    path = Path(path)
    values = [asdict(row) for row in rows]
    for value in values:
        _check(value, "new row")
    content = b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)
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
    """All repeats of one model in one configuration on one target; percentiles are over all their samples.

    Attributes:
        p50_us, p90_us, minimum_us: latency in microseconds.
        init_us: median over the repeats of loading the model and planning its memory.
        peak_rss_bytes: the largest over the repeats, the runner's own memory included.
        noisy: the reasons of all repeats, one of each kind.
        noisy_repeats: how many repeats have a reason.
    """

    rows: tuple[Row, ...]
    p50_us: float
    p90_us: float
    minimum_us: float
    init_us: float
    peak_rss_bytes: int | None
    noisy: tuple[str, ...]
    noisy_repeats: int


def cell(row: Row) -> tuple:
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
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault(cell(row), []).append(row)
    return [_summary(group) for group in groups.values()]


def _summary(rows: list[Row]) -> Summary:
    samples = [sample for row in rows for sample in row.samples_us]
    peaks = [row.peak_rss_bytes for row in rows if row.peak_rss_bytes is not None]
    return Summary(
        rows=tuple(rows),
        p50_us=percentile(samples, 50),
        p90_us=percentile(samples, 90),
        minimum_us=min(samples),
        init_us=percentile([row.init_us for row in rows], 50),
        peak_rss_bytes=max(peaks, default=None),
        noisy=tuple({reason.partition(":")[0]: reason for row in rows for reason in row.noisy}.values()),
        noisy_repeats=sum(bool(row.noisy) for row in rows),
    )
