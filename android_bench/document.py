"""What a runner tells of one measurement, typed: its document and the parts that a results row shares with it.

The fields have the names and the units of `results.schema.json`; times are in microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from android_bench import records
from android_bench.records import Count, Minimum, NotNegative, Positive


@dataclass(frozen=True)
class Tensor:
    """An input or output of a model; `scale` is 0 where it is not quantized."""

    shape: list[Count]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0
    name: str = ""


@dataclass(frozen=True)
class Device:
    """The machine that a model was measured on."""

    model: str | None
    cpu: str
    architecture: str
    cores: Annotated[int, Minimum(1)]
    os: str
    kernel: str
    governor: str | None


@dataclass(frozen=True)
class BeforeAndAfter:
    """A sensor before and after the samples; None where the machine shows none."""

    before: float | None
    after: float | None


@dataclass(frozen=True)
class Energy:
    """Joules drawn by all that ran during `seconds`, and what told them: "rapl", "hwmon" or "battery"."""

    source: str
    joules: NotNegative
    seconds: Positive


@dataclass(frozen=True)
class Yardstick:
    """The time of one product in each burst, after how many samples each burst was, and what was multiplied."""

    kind: str
    after: list[int]
    bursts_us: list[Positive]


@dataclass(frozen=True)
class Operator:
    """Mean microseconds and calls in one inference of one kind of operator."""

    name: str
    us: NotNegative
    calls: NotNegative
    delegated: bool


@dataclass(frozen=True)
class Statistics:
    """What a runtime tells instead of its samples; None for what it does not tell."""

    runs: int | None
    mean_us: Positive
    minimum_us: Positive | None = None
    maximum_us: Positive | None = None
    deviation_us: NotNegative | None = None
    median_us: Positive | None = None
    p5_us: Positive | None = None
    p95_us: Positive | None = None


@dataclass(frozen=True)
class Environment:
    """What only the host knows where a runner does not tell it."""

    runtime_version: str
    device: Device
    emulated: bool


@dataclass(frozen=True)
class Document:
    """What a runner tells of one process; `results.schema.json` says what each field holds.

    Attributes:
        steady: whether warm-up ended with a latency that no longer moved; None where the runner does not tell.
        inputs: the model's inputs, and `outputs` its outputs; None from runners that do not describe them.
    """

    runtime_version: str
    device: Device
    emulated: bool
    cpus: list[Count]
    nodes: Count | None
    delegated_nodes: Count | None
    partitions: Count | None
    integer_nodes: Count | None
    init_us: Positive
    first_us: Positive
    warmup_runs: Count | None
    steady: bool | None
    samples_us: list[Positive]
    cpu_us: list[NotNegative] | None
    baseline_rss_bytes: int | None
    peak_rss_bytes: int | None
    temperature: BeforeAndAfter
    frequency: BeforeAndAfter
    energy: Energy | None
    involuntary_switches: Count | None
    cpu_pressure: float | None
    yardstick: Yardstick | None
    operators: list[Operator] | None
    undelegated_operators: list[str] | None = None
    statistics: Statistics | None = None
    inputs: list[Tensor] | None = None
    outputs: list[Tensor] | None = None


@dataclass(frozen=True)
class Complaint:
    """A fault that a runner found: a kind that the host knows, and the runtime's own words."""

    kind: str
    message: str


def parse(text: str, environment: Environment | None = None) -> Document | Complaint:
    """Read the one line that a runner prints.

    Args:
        text: the line.
        environment: takes the place of what the runner says of it, if it does.

    Returns:
        The document, or the runner's complaint.

    Raises:
        ValueError: in one line, where the text is neither.
    """
    value = records.loads(text)
    if isinstance(value, dict) and "error" in value:
        return _complaint(value["error"])
    known: Mapping[str, Any] = {} if environment is None else vars(environment)
    document = records.decode(Document, {**value, **known} if isinstance(value, dict) else value)
    _check_lengths(document)
    return document


def _complaint(value: object) -> Complaint:
    """Return the complaint; its words may hold line breaks, which are no fault of the runner."""
    if isinstance(value, dict) and isinstance(value.get("message"), str):
        value = {**value, "message": " ".join(value["message"].split())}
    return records.decode(Complaint, value)


def _check_lengths(document: Document) -> None:
    """Raise ValueError where lists that belong together are not equally long, or there is nothing in them."""
    if not document.samples_us and document.statistics is None:
        raise ValueError("samples_us: none")
    if document.cpu_us is not None and len(document.cpu_us) != len(document.samples_us):
        raise ValueError(f"cpu_us: {len(document.cpu_us)} for {len(document.samples_us)} samples")
    yardstick = document.yardstick
    if yardstick is not None and not len(yardstick.after) == len(yardstick.bursts_us) > 0:
        raise ValueError(f"yardstick: {len(yardstick.after)} places for {len(yardstick.bursts_us)} bursts")
