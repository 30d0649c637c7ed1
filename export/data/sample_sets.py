"""The samples of one export, checked against the model's graph and against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from export.data.input_range import InputRange
from export.data.probing import probing_samples
from export.data.range_evidence import check_scale
from export.data.samples import (
    Images,
    InputRanges,
    Inputs,
    check_calibration,
    check_names,
    check_range,
    digest,
    first,
    limits_of,
    sample_digests,
)
from export.data.sources import MOST_CALIBRATION_SAMPLES, MOST_EVALUATION_SAMPLES, read
from export.errors import InputError
from export.ir.graph import Graph
from export.record import Record

COMPARED_SAMPLES = 256
"""A file and the float model are compared on at most this many samples; accuracy is of all evaluation samples."""
PROBING_SAMPLES = 4
"""Samples of noise on which a float file is compared where no data were given."""


@dataclass(frozen=True, eq=False)
class CalibrationRecord(Record):
    """The calibration samples in the report: their number, and the SHA-256 of their values and shapes."""

    count: int
    digest: str


@dataclass(frozen=True)
class SampleSets:
    """The samples of an export, (N, …) for each input of the model.

    Attributes:
        calibration: set ranges and tune; empty where none were given.
        evaluation, targets: measure how good the model is; empty and None where none were given.
        compared: samples on which file and float model are compared; always some.
        compared_on: which samples these are.
    """

    calibration: Inputs
    evaluation: Sequence[Images]
    targets: Any
    compared: Inputs
    compared_on: str

    @classmethod
    def checked(
        cls,
        graph: Graph,
        calibration: Any,
        evaluation: Any,
        input_range: InputRanges,
        told_ranges: Mapping[str, InputRange | None],
        dtypes: Mapping[str, str],
    ) -> SampleSets:
        """What was given, as arrays by input.

        Args:
            told_ranges: what a Rescaling says of each input; data is checked against it where no range is given.
            dtypes: of the inputs.

        Raises:
            InputError: it does not fit the model's inputs or cannot be used.
        """
        check_names(input_range, graph.inputs)
        told = {name: None if limits_of(input_range, name) else told_ranges[name] for name in graph.inputs}
        shapes = [graph.operations[name].shape for name in graph.inputs]
        calibrating: Inputs = []
        evaluating: list[Images] = []
        targets = None
        if calibration is not None:
            samples, _ = read(calibration, graph.inputs, shapes, "calibration", MOST_CALIBRATION_SAMPLES)
            calibrating = first(samples, len(samples[0]))
            check_calibration(calibrating, graph.inputs, input_range)
            check_scale(told, calibrating, "calibration")
        if evaluation is not None:
            most = MOST_EVALUATION_SAMPLES
            evaluating, targets = read(evaluation, graph.inputs, shapes, "evaluation", most, pairs=True)
            some = first(evaluating, COMPARED_SAMPLES)
            for array, name in zip(some, graph.inputs, strict=True):
                check_range(array, limits_of(input_range, name), "evaluation")
            check_scale(told, some, "evaluation")
        if calibrating and evaluating:
            _check_disjoint(calibrating, evaluating)
        compared, compared_on = _compared(graph, calibrating, evaluating, dtypes)
        return cls(calibrating, evaluating, targets, compared, compared_on)

    @property
    def calibration_record(self) -> CalibrationRecord | None:
        """For the report; None without calibration samples."""
        return CalibrationRecord(len(self.calibration[0]), digest(self.calibration)) if self.calibration else None


def _check_disjoint(calibration: Inputs, evaluation: Sequence[Images]) -> None:
    common = sample_digests(calibration) & sample_digests(evaluation)
    if common:
        raise InputError(
            f"{len(common)} samples are in both calibration and evaluation; measure on samples that set no ranges"
        )


def _compared(
    graph: Graph, calibration: Inputs, evaluation: Sequence[Images], dtypes: Mapping[str, str]
) -> tuple[Inputs, str]:
    if evaluation:
        return first(evaluation, COMPARED_SAMPLES), "evaluation"
    if calibration:
        return first(calibration, COMPARED_SAMPLES), "calibration"
    return probing_samples(graph, dtypes, PROBING_SAMPLES), "uniform noise"
