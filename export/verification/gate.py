"""The gate: what keeps a file from being shipped."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from export.errors import GateError
from export.options import INTEGER_MODES
from export.tflite_file.audit import Audit
from export.verification.parity import Parity

GRAPH_PARITY = 1e-4  # a mistake makes more; Keras's own float32 is up to 1.9e-5 from float64 (ResNet50 on photos)
FLOAT_PARITY = {"float32": 1e-4, "float16": 1e-2}
LEAST_SQNR_DB = 10.0
LEAST_AGREEMENT = 0.95
FORGIVEN = 1  # of few images one tells nothing


def structural_faults(mode: str, found: Audit, islands: Sequence[str], parity: Parity, graph_error: float) -> list[str]:
    """What makes a file wrong whatever its accuracy; `islands` compute in float though nobody asked for it."""
    faults = []
    if graph_error > GRAPH_PARITY:
        faults.append(
            f"the graph read from the model differs from it by {graph_error:.2g} (relative RMS, limit {GRAPH_PARITY:g})"
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
    mode: str, parity: Parity, drop: dict[str, float] | None, max_drop: float, min_sqnr: float | None
) -> list[str]:
    """What a quantized file lost too much of: accuracy where there are labels, else agreement; and SQNR."""
    if mode in FLOAT_PARITY:
        return []
    faults = []
    if drop and drop["points"] > max_drop + 1e-9:
        interval = f"95 % interval {drop['low']:.2f} to {drop['high']:.2f}"
        faults.append(f"accuracy fell by {drop['points']:.2f} points ({interval}, limit {max_drop:g})")
    least = least_sqnr_db(drop is not None, min_sqnr)
    if least is not None and parity.sqnr_db is not None and parity.sqnr_db < least:
        faults.append(f"the logits' SQNR is {parity.sqnr_db:.1f} dB (least {least:g})")
    agreement = parity.agreement_where_sure
    missed = round(parity.sure * (1 - agreement)) if agreement is not None else 0
    if drop is None and agreement is not None and missed > max(FORGIVEN, (1 - LEAST_AGREEMENT) * parity.sure):
        faults.append(f"it agrees with the float model on {agreement:.1%} of what that is sure of (least 95 %)")
    return faults


def least_sqnr_db(labelled: bool, min_sqnr: float | None) -> float | None:
    """What the logits' SQNR must reach: what was asked for, or else a floor where no labels tell the accuracy."""
    return min_sqnr if min_sqnr is not None else None if labelled else LEAST_SQNR_DB


def refuse(faults: Sequence[str], path: str | os.PathLike[str]) -> None:
    """Raise GateError if there is a fault."""
    if faults:
        raise GateError(f"{path} is not shipped: {'; '.join(faults)}")
