"""One export under way: what its steps share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from export.client import Worker
from export.data.sample_sets import SampleSets
from export.options import Options
from export.source import Source
from export.tflite_file.metadata import Metadata
from export.verification.metrics import Evaluation


class Clock:
    """Wall seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Add the seconds of the context to a step's."""
        started = time.perf_counter()
        yield
        self.seconds[step] = round(self.seconds.get(step, 0.0) + time.perf_counter() - started, 3)


@dataclass(frozen=True)
class Run:
    """What every step of an export may need.

    Attributes:
        path: where the file goes once it has passed all checks.
        evaluation: how good outputs are measured; None without targets.
        metadata: what the file says of itself.
    """

    options: Options
    path: Path
    source: Source
    data: SampleSets
    evaluation: Evaluation | None
    worker: Worker
    clock: Clock
    metadata: Metadata
