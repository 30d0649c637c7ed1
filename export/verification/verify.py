"""Step 7 of an export: is a file what it should be in structure, closeness to the float model and accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.quantization import sparsity
from export.quantization.candidates import Candidate, converted
from export.run import Run
from export.tflite_file.audit import Audit, audit
from export.tflite_file.interpreter import Interpreter
from export.verification.accuracy import paired_drop
from export.verification.float_reference import FloatModel, Outputs, correct
from export.verification.gate import accuracy_faults, structural_faults
from export.verification.islands import unexpected_islands
from export.verification.parity import Parity, compare


@dataclass(frozen=True)
class Verified:
    """A candidate and what was measured on the file that was made of it.

    Attributes:
        correct: whether the file is right on each evaluation sample: bool (N,), empty without labels.
        drop: of accuracy, as `export.verification.accuracy.paired_drop` gives it; None without labels.
        structural_faults: why the file must not be shipped, whatever was asked for.
        accuracy_faults: why it lost too much.
    """

    candidate: Candidate
    audit: Audit
    parity: Parity
    correct: np.ndarray
    drop: dict[str, float] | None
    structural_faults: list[str]
    accuracy_faults: list[str]

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the file."""
        return not (self.structural_faults or self.accuracy_faults)


def convert_and_verify(
    run: Run, candidate: Candidate, path: Path, float_model: FloatModel, expected: Outputs
) -> Verified:
    """Convert a candidate, write the file to `path`, and measure it.

    Args:
        expected: the outputs of the candidate's float reference.
    """
    with run.clock("convert"):
        path.write_bytes(converted(run, candidate))
    with run.clock("verify"):
        parity = compare(path, run.data.compared, expected.after_softmax, expected.before_softmax)
    with run.clock("evaluate"):
        file_correct = correct(run, Interpreter(path).run)
    options, file = run.options, audit(path)
    drop = paired_drop(float_model.correct, file_correct) if run.data.labels is not None else None
    islands = unexpected_islands(candidate.graph, file, candidate.keep_float)
    return Verified(
        candidate,
        file,
        parity,
        file_correct,
        drop,
        structural_faults=[
            *structural_faults(options.mode, file, islands, parity, float_model.graph_error),
            *sparsity.faults(path, file, options.prune, options.cluster),
        ],
        accuracy_faults=accuracy_faults(options.mode, parity, drop, options.max_drop, options.min_sqnr),
    )
