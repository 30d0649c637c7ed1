"""What a target is asked to do and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from android_bench.model_file import ModelFile


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
class Job:
    """One process: one model in one configuration.

    Attributes:
        input: a file with the raw bytes of all inputs; None for the runner's fixed-seed noise.
        runs: measured inferences; None for as many as half a second holds, at least 50.
        warmup: inferences before them; None for as many as it takes to become steady.
        timeout: seconds after which the target has failed.
    """

    model: ModelFile
    configuration: Configuration
    input: Path | None
    runs: int | None
    warmup: int | None
    timeout: float


@dataclass(frozen=True)
class Measurement:
    """What a runner said (`document`) and the raw bytes of all outputs of its first inference."""

    document: dict[str, Any]
    output: bytes


class Target(Protocol):
    """A machine that runs jobs."""

    name: str

    def preflight(self, configurations: Sequence[Configuration]) -> None:
        """Raise InputError where a configuration cannot run here at all."""

    def run(self, job: Job) -> Measurement:
        """Run one job in a process of its own; raise InputError where it cannot."""
