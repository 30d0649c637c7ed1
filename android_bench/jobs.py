"""What is asked of a target and of its runners, and what they give back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from android_bench.document import Document, Tensor
from android_bench.model_file import ModelFile


@dataclass(frozen=True)
class Configuration:
    """How a model is run. `cpus` are the cores it may use; empty means all that the process may use."""

    runtime: str
    delegate: str
    threads: int
    cpus: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Return it in words, for messages."""
        cores = f", cores {','.join(map(str, self.cpus))}" if self.cpus else ""
        return f"{self.runtime}, {self.delegate}, {self.threads} thread{'s' * (self.threads > 1)}{cores}"


@dataclass(frozen=True)
class Graph:
    """What LiteRT, here, says of a model: its inputs, all nodes and those with an int8 output."""

    inputs: Sequence[Tensor]
    nodes: int
    integer_nodes: int


@dataclass(frozen=True)
class Job:
    """One process: one model in one configuration.

    Attributes:
        model: the file.
        configuration: how it is run.
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

    document: Document
    output: bytes | None
