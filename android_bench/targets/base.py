"""What every target is."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from android_bench.errors import InputError
from android_bench.jobs import Configuration, Job, Measurement
from android_bench.runners.protocol import BENCHMARK_MODEL, NATIVE


class Target(abc.ABC):
    """A machine that runs jobs, entered as a context manager that cleans up after them.

    Attributes:
        name: what the rows call it.
        runtimes: those it can run, the first its default; known once it is entered.
    """

    name: str
    runtimes: tuple[str, ...]

    def __enter__(self) -> Self:
        """Connect, and make room for what will be brought there."""
        return self

    def __exit__(  # noqa: B027 - this machine leaves nothing behind
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Leave nothing behind; `kind` is the class of the exception that ended the run, if one did."""

    @abc.abstractmethod
    def preflight(self, configurations: Sequence[Configuration]) -> None:
        """Raise InputError where a configuration cannot run here at all."""

    @abc.abstractmethod
    def run(self, job: Job) -> Measurement:
        """Run one job in a process of its own.

        Args:
            job: what to measure.

        Returns:
            The measurement.

        Raises:
            InputError: where this job cannot be measured.
            TargetLostError: where nothing can be measured any more.
        """

    def temperature(self) -> float | None:
        """Return the hottest sensor now, in degrees Celsius; None where the target shows none."""
        return None


def refuse_impossible(name: str, cores: Sequence[int], configurations: Sequence[Configuration]) -> None:
    """Refuse configurations that cannot be had.

    Args:
        name: the target's, for messages.
        cores: those that a process may use there.
        configurations: what is wanted.

    Raises:
        InputError: where one wants cores that the target lacks, more threads than cores, or the GPU from a runtime
            in Python.
    """
    for configuration in configurations:
        if configuration.delegate == "gpu" and configuration.runtime not in (NATIVE, BENCHMARK_MODEL):
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
