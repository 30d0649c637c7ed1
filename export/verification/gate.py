"""The gate: what keeps a file from being shipped."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

import numpy as np

from export.errors import GateError
from export.options import INTEGER_MODES
from export.tflite_file.audit import Audit
from export.verification.float_reference import SelfCheck
from export.verification.metrics import MetricRecord
from export.verification.output_errors import PartError
from export.verification.parity import Parity

FLOAT_PARITY = {"float32": 1e-4, "float16": 1e-2}
LEAST_SQNR_DB = 10.0  # of what a softmax takes: it keeps ranks, and the distribution it gives is judged too
GREATEST_ERROR = 0.1  # of a value's deviation: an SQNR of 20 dB
GREATEST_LABELLED_ERROR = 0.5  # where a metric decides how good the file is: less than 3/4 of the variance is left
GREATEST_TOTAL_VARIATION = 0.05  # mean over samples, between the distributions of model and file
FEW_VALUES = 4  # of a column that is off by more than GREATEST_ERROR
LEAST_AGREEMENT = 0.95
FORGIVEN = 1  # of few images one tells nothing
MAX_DROP_POINTS = 1.0
MAX_DROP_SHARE = 0.01  # of the model's value, for metrics with a unit of their own


def structural_faults(mode: str, found: Audit, islands: Sequence[str], parity: Parity, check: SelfCheck) -> list[str]:
    """What makes a file wrong whatever its accuracy; `islands` compute in float though nobody asked for it."""
    faults = []
    if not check.relative_rms <= check.limit:
        computed = "" if check.compute_dtype == "float32" else f" in {check.compute_dtype}"
        faults.append(
            f"the graph read from the model differs from it{computed} by {check.relative_rms:.2g} (relative RMS, limit "
            f"{check.limit:g})"
        )
    if found.variables:
        faults.append("the file holds variables (VAR_HANDLE): it was not frozen")
    if not np.isfinite(parity.relative_rms):
        faults.append("its outputs are not finite")
    if mode in INTEGER_MODES and islands:
        faults.append(f"{len(islands)} operators compute in float: {', '.join(islands[:3])}")
    limit = FLOAT_PARITY.get(mode)
    if limit and parity.relative_rms > limit:
        faults.append(
            f"its outputs differ from the model's by {parity.relative_rms:.2g} (relative RMS, limit {limit:g})"
        )
    return faults


def accuracy_faults(
    mode: str,
    parity: Parity,
    metrics: Sequence[MetricRecord],
    max_drop: float | None,
    min_sqnr: float | None,
    io: str = "float32",
) -> list[str]:
    """What a file lost too much of: of metrics where there are targets, else agreement and SQNR; and whole outputs.

    Args:
        metrics: empty without targets.
        max_drop: in points, or in a metric's own unit; None for `MAX_DROP_POINTS` or `MAX_DROP_SHARE`.
        io: the file's type of outputs, which what may mend it depends on.
    """
    labelled = {metric.output for metric in metrics}
    faults = output_faults(parity.outputs, labelled, min_sqnr, io)
    if mode in FLOAT_PARITY:
        return faults
    faults += [fault for metric in metrics if (fault := metric_fault(metric, max_drop))]
    least = least_sqnr_db(bool(labelled), min_sqnr)
    if least is not None and parity.sqnr_db is not None and parity.sqnr_db < least:
        faults.append(f"the logits' SQNR is {parity.sqnr_db:.1f} dB (least {least:g})")
    agreement = parity.agreement_where_sure
    missed = round(parity.sure * (1 - agreement)) if agreement is not None else 0
    if not labelled and agreement is not None and missed > max(FORGIVEN, (1 - LEAST_AGREEMENT) * parity.sure):
        faults.append(f"it agrees with the float model on {agreement:.1%} of what that is sure of (least 95 %)")
    return faults


def metric_fault(metric: MetricRecord, max_drop: float | None) -> str | None:
    """What is wrong where a metric fell by more than is let pass; None if nothing is."""
    limit = max_drop if max_drop is not None else greatest_drop(metric)
    if not metric.decides or metric.drop <= limit + 1e-9:
        return None
    form, unit = (".2f", " points") if metric.unit == "points" else (".3g", "")
    interval = "" if metric.low is None else f"95 % interval {metric.low:{form}} to {metric.high:{form}}, "
    what = "accuracy" if metric.is_accuracy else f"{metric.name} of {metric.output!r}"
    verb = "fell" if metric.higher_is_better else "rose"
    return f"{what} {verb} by {metric.drop:{form}}{unit} ({interval}limit {limit:g})"


def greatest_drop(metric: MetricRecord) -> float:
    """The drop of a metric that is let pass where nobody said one, in its unit."""
    return MAX_DROP_POINTS if metric.unit == "points" else MAX_DROP_SHARE * abs(metric.float)


def output_faults(
    errors: Sequence[PartError], labelled: Collection[str] = (), min_sqnr: float | None = None, io: str = "float32"
) -> list[str]:
    """Outputs, and columns of them, that a file has lost though other measures may look well.

    Args:
        labelled: outputs that a metric decides on.
        min_sqnr: what the user asks of values, in dB.
    """
    faults = []
    for error in errors:
        if fault := _output_fault(error, error.output in labelled, min_sqnr):
            siblings = any(other.output == error.output and other is not error for other in errors)
            faults.append(f"{fault}; {_mend(error, siblings, io)}")
    return faults


def _output_fault(error: PartError, labelled: bool, min_sqnr: float | None) -> str | None:
    name = f"output {error.output!r}" + ("" if error.column is None else f", column {error.column},")
    if error.empty:
        return f"{name} has probabilities that are all zero in {error.empty:.0%} of the samples"
    if error.constant:
        return f"{name} varies in the model and is constant in the file"
    if error.total_variation is not None and error.total_variation > GREATEST_TOTAL_VARIATION:
        return (
            f"{name} gives other classes {error.total_variation:.2g} of the probability (mean total variation, "
            f"limit {GREATEST_TOTAL_VARIATION})"
        )
    limit = GREATEST_ERROR if min_sqnr is None else 10 ** (-min_sqnr / 20)
    if labelled and min_sqnr is None:
        limit = GREATEST_ERROR if error.values <= FEW_VALUES else GREATEST_LABELLED_ERROR
    if error.relative_error <= limit:
        return None
    of = "its own deviation" if error.varies else "its greatest value, from which it does not move in the model"
    few = f", with {error.values} different values left" if error.values <= FEW_VALUES else ""
    return f"{name} is off by {error.relative_error:.3g} of {of} (limit {limit:.2g}){few}"


def _mend(error: PartError, siblings: bool, io: str) -> str:
    """What may help."""
    if error.part.kind == "softmax" and (error.empty or error.constant):
        return "try --logits" + ("" if io == "float32" else ", or --io float32, which computes it in float")
    if siblings and io != "float32":
        return "try --io float32, which joins it in float, or make it an output of its own"
    return f"try --keep-float {error.part.source}" + ("" if io == "float32" else " with --io float32")


def least_sqnr_db(labelled: bool, min_sqnr: float | None) -> float | None:
    """What the logits' SQNR must reach: what was asked for, or else a floor where no targets tell the quality."""
    return min_sqnr if min_sqnr is not None else None if labelled else LEAST_SQNR_DB


def refuse(faults: Sequence[str], path: str | os.PathLike[str]) -> None:
    """Raise GateError if there is a fault."""
    if faults:
        raise GateError(f"{path} is not shipped: {'; '.join(faults)}")
