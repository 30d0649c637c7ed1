"""Step 7 of an export: is a file what it should be in structure, closeness to the float model and accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from export.quantization import sparsity
from export.quantization.candidates import Candidate, converted
from export.run import Run
from export.tflite_file import metadata
from export.tflite_file.audit import Audit, audit
from export.tflite_file.interpreter import Interpreter
from export.verification.float_reference import FloatModel, Outputs, observed
from export.verification.gate import FLOAT_PARITY, accuracy_faults, structural_faults
from export.verification.islands import unexpected_islands
from export.verification.metrics import OF_CLASSES, AccuracyDrop, MetricRecord, Observed, output_names
from export.verification.output_parts import DescribedOutput, described
from export.verification.parity import Parity, compare
from export.verification.runtimes import disagreements


@dataclass(frozen=True)
class Verified:
    """A candidate and what was measured on the file that was made of it.

    Attributes:
        observed: what the metrics keep of the file on each evaluation sample; empty without targets.
        metrics: what got worse, the export's metric first; empty without targets.
        structural_faults: why the file must not be shipped, whatever was asked for.
        accuracy_faults: why it lost too much.
    """

    candidate: Candidate
    audit: Audit
    parity: Parity
    observed: Observed
    metrics: list[MetricRecord]
    structural_faults: list[str]
    accuracy_faults: list[str]

    @property
    def drop(self) -> AccuracyDrop | None:
        """How far accuracy fell; None where the metric is no accuracy."""
        if not self.metrics or not self.metrics[0].is_accuracy:
            return None
        metric = self.metrics[0]
        return AccuracyDrop(metric.drop, metric.low, metric.high, metric.lost, metric.won)

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

    Raises:
        GateError: LiteRT's built-in kernels or XNNPACK do not run the file.
    """
    with run.clock("convert"):
        metadata.write(path, converted(run, candidate), run.metadata)
    with run.clock("verify"):
        rounds = run.options.mode not in FLOAT_PARITY
        different = disagreements(path, run.data.compared, rounds)
        parity = compare(
            path,
            run.data.compared,
            expected.after_softmax,
            expected.before_softmax,
            _described(run),
            run.data.compared_on,
        )
    with run.clock("evaluate"):
        file_observed = observed(run, Interpreter(path).run)
        metrics = run.evaluation.compare(float_model.observed, file_observed) if run.evaluation else []
    options, file = run.options, audit(path)
    islands = unexpected_islands(candidate.graph, file, candidate.keep_float)
    return Verified(
        candidate,
        file,
        parity,
        file_observed,
        metrics,
        structural_faults=[
            *structural_faults(options.mode, file, islands, parity, float_model.self_check),
            *sparsity.faults(path, file, options.prune, options.cluster),
        ],
        accuracy_faults=[
            *accuracy_faults(options.mode, parity, metrics, options.max_drop, options.min_sqnr, options.file_io),
            *different,
        ],
    )


def _described(run: Run) -> list[DescribedOutput]:
    """The outputs and what their columns are, as the graph and the metrics tell it."""
    names = output_names(run.source.model)
    scores = {name for name, cut in zip(names, run.source.cut, strict=True) if cut}
    if run.evaluation:
        scores |= {each.name for each in run.evaluation.judgements if each.measure.name in OF_CLASSES}
    return described(run.source.graph, names, scores)
