"""What a target is asked to do and what it gives back."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from android_bench.errors import InputError
from android_bench.model_file import ModelFile


class TargetLost(InputError):
    """The target went away or cannot work on; nothing more will come from it."""


TEMPERATURES = "cat /sys/class/thermal/thermal_zone*/temp 2>/dev/null"


@dataclass(frozen=True)
class Configuration:
    """How a model is run. `cpus` are the cores it may use; empty means all that the process may use."""

    runtime: str
    delegate: str
    threads: int
    cpus: tuple[int, ...] = ()

    def __str__(self) -> str:
        cores = f", cores {','.join(map(str, self.cpus))}" if self.cpus else ""
        return f"{self.runtime}, {self.delegate}, {self.threads} thread{'s' * (self.threads > 1)}{cores}"


@dataclass(frozen=True)
class Graph:
    """What LiteRT, here, says of a model: its inputs (name, shape, dtype of each), all nodes and those of int8."""

    inputs: Sequence[dict[str, Any]]
    nodes: int
    integer_nodes: int


@dataclass(frozen=True)
class Job:
    """One process: one model in one configuration.

    Attributes:
        input: a file with the raw bytes of all inputs; None for the runner's fixed-seed noise.
        runs: measured inferences; None for as many as half a second holds, at least 50.
        warmup: inferences before them; None for as many as it takes to become steady.
        timeout: seconds after which the target has failed.
        seconds: for how long to measure instead, where `runs` is None.
        graph: what is known of the model, once LiteRT has run it here.
    """

    model: ModelFile
    configuration: Configuration
    input: Path | None
    runs: int | None
    warmup: int | None
    timeout: float
    seconds: float | None = None
    graph: Graph | None = None


@dataclass(frozen=True)
class Measurement:
    """What a runner said (`document`) and the raw bytes of all outputs; None where a runner cannot write them."""

    document: dict[str, Any]
    output: bytes | None


class Target(abc.ABC):
    """A machine that runs jobs, entered as a context manager that cleans up after them.

    `runtimes` are those it can run, the first its default.
    """

    name: str
    runtimes: tuple[str, ...]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:  # noqa: B027 - most leave nothing behind
        """Leave nothing behind; `kind` is the class of the exception that ended the run, if one did."""

    @abc.abstractmethod
    def preflight(self, configurations: Sequence[Configuration]) -> None:
        """Raise InputError where a configuration cannot run here at all."""

    @abc.abstractmethod
    def run(self, job: Job) -> Measurement:
        """Run one job in a process of its own; raise InputError where it cannot, TargetLost where nothing can."""

    def temperature(self) -> float | None:
        """Return the hottest sensor now, in degrees Celsius; None where the target shows none."""
        return None


def hottest(lines: str) -> float | None:
    """Return the largest of some lines of millidegrees, in degrees Celsius; None where there is no number."""
    readings = [int(line) for line in lines.split() if line.lstrip("-").isdigit()]
    return max(readings) / 1000 if readings else None


def refuse_impossible(name: str, cores: Sequence[int], configurations: Sequence[Configuration]) -> None:
    """Raise InputError where a configuration cannot be had.

    It wants cores that the target lacks, more threads than cores, or the GPU from a runtime in Python.
    """
    for configuration in configurations:
        if configuration.delegate == "gpu" and configuration.runtime not in ("native", "benchmark_model"):
            raise InputError(
                f"{configuration.runtime} has no GPU here; --delegate gpu needs --runtime native or benchmark_model"
            )
        missing = set(configuration.cpus) - set(cores)
        if missing:
            raise InputError(f"cores {sorted(missing)} cannot be used on {name}; --cpus may name {list(cores)}")
        available = len(configuration.cpus or cores)
        if configuration.threads > available:
            raise InputError(
                f"{configuration.threads} threads on {available} usable cores of {name} would wait for each other; "
                f"ask for at most {available}"
            )
