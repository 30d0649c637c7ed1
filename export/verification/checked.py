"""Is a file what it should be: its structure, its closeness to the float model, its accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.preparation import Prepared, converted
from export.quantization.qat import faults
from export.run import Run
from export.tflite_file.audit import Audit, audit
from export.tflite_file.interpreter import Interpreter
from export.verification.accuracy import paired_drop
from export.verification.float_reference import FloatModel, Outputs, correct
from export.verification.gate import accuracy_faults, structural_faults
from export.verification.islands import unexpected_islands
from export.verification.parity import Parity, compare


@dataclass(frozen=True)
class Checked:
    """What was found of a file.

    Attributes:
        correct: whether it is right on each evaluation sample: bool (N,), empty without labels.
        drop: of accuracy, as `verify.paired_drop` gives it; None without labels.
        wrong: why the file must not be shipped, whatever was asked for.
        lost: why it lost too much accuracy.
    """

    audit: Audit
    parity: Parity
    correct: np.ndarray
    drop: dict[str, float] | None
    wrong: list[str]
    lost: list[str]


def make(run: Run, prepared: Prepared, path: Path, float_model: FloatModel, expected: Outputs) -> Checked:
    """Convert, write the file to `path`, and check it against the float model's `expected` outputs."""
    with run.clock("convert"):
        path.write_bytes(converted(run, prepared))
    with run.clock("verify"):
        parity = compare(path, run.data.compared, expected.after_softmax, expected.before_softmax)
    with run.clock("evaluate"):
        found_correct = correct(run, Interpreter(path).run)
    options, found = run.options, audit(path)
    drop = paired_drop(float_model.correct, found_correct) if run.data.labels is not None else None
    islands = unexpected_islands(prepared.graph, found, prepared.in_float)
    wrong = structural_faults(options.mode, found, islands, parity, float_model.graph_error)
    wrong += faults(path, found, options.prune, options.cluster)
    lost = accuracy_faults(options.mode, parity, drop, options.max_drop, options.min_sqnr)
    return Checked(found, parity, found_correct, drop, wrong, lost)
