"""Mixed precision by price: the cheapest operations to leave in float so that an int8 file passes its gate."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.mixed_precision import latency
from export.mixed_precision.cost import measure
from export.mixed_precision.keep_float import units
from export.mixed_precision.selection import Tradeoff
from export.preparation import Prepared, with_float
from export.quantization.ptq import parted
from export.run import Run
from export.tflite_file.interpreter import Interpreter
from export.verification.checked import Checked, make
from export.verification.float_reference import FloatModel, Outputs
from export.verification.gate import least_sqnr_db

STEP_DB = 2.0  # by which the noise is lowered where nothing tells how far it is from the goal
MARGIN_DB = 0.5  # above what was short of the goal
MOST_SETS = 12
MOST_SAMPLES = 16


@dataclass(frozen=True)
class Candidate:
    """What was prepared, and what was found of the file that was made of it."""

    prepared: Prepared
    checked: Checked


def mend(
    run: Run, whole: Candidate, path: Path, float_model: FloatModel, expected: Outputs
) -> tuple[Candidate, dict[str, Any]]:
    """Leave ever more operations in float until the file at `path` passes.

    Args:
        whole: what the file at `path` is, that lost too much.

    Returns:
        The candidate that passes, whose file is at `path`, or `whole` if none does; and for the report, each
        set of operations that was tried, `whole` first: `operations`, `sqnr_db`, `drop`, `latency` over that of
        `whole`, what of it was `predicted`, and whether it `passed`.
    """
    with run.clock("sensitivity"):
        seconds = latency.fastest(Interpreter(path))
        tradeoff = _measured(run, whole.prepared, seconds)
    start = tradeoff.chosen(whole.prepared.in_float)
    before = tradeoff.noise(start[None])[0]
    sets = [_row(whole, None, None)]
    less = max(_missing_db(run, whole.checked), 0.0) or STEP_DB
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "whole.tflite"
        first.write_bytes(path.read_bytes())
        while len(sets) <= MOST_SETS:
            chosen = tradeoff.cheapest(before * 10 ** (-less / 10), start)
            if chosen is None or chosen.all():
                break
            names, predicted = tradeoff.operations(chosen), _predicted(tradeoff, start, chosen, seconds)
            if sets[-1]["operations"] == sorted(names):
                less += STEP_DB
                continue
            prepared = with_float(whole.prepared, names)
            candidate = Candidate(prepared, make(run, prepared, path, float_model, expected))
            with run.clock("latency"):
                sets.append(_row(candidate, latency.latency_ratio(path, first), predicted))
            if not (candidate.checked.lost or candidate.checked.wrong):
                return candidate, {"sets": sets}
            short = _missing_db(run, candidate.checked)
            less += short + MARGIN_DB if short > 0 else STEP_DB
        path.write_bytes(first.read_bytes())
    return whole, {"sets": sets}


def _measured(run: Run, prepared: Prepared, seconds: float) -> Tradeoff:
    """Noise on samples that set no ranges, and time on this CPU; all operations in int8 take `seconds`."""
    graph, rounded, ranges = prepared.unrounded, prepared.graph, prepared.ranges
    assert graph is not None
    assert ranges is not None
    held, _ = parted(run.data.calibrating)
    names = [graph.logits(name) for name in graph.outputs]
    signal, tensors, kernels = run.worker.noise_powers(
        graph, rounded, ranges, names, [array[:MOST_SAMPLES] for array in held]
    )
    weighted = [name for name, operation in graph.operations.items() if "kernel" in operation.weights]
    costs = measure(rounded, run.worker, units(graph), seconds)
    return Tradeoff.of(
        graph,
        dict(zip(ranges, tensors / signal, strict=True)),
        dict(zip(weighted, kernels / signal, strict=True)),
        costs,
    )


def _missing_db(run: Run, checked: Checked) -> float:
    """By how much the SQNR falls short of what is asked; 0 or less if it does not."""
    least = least_sqnr_db(checked.drop is not None, run.options.min_sqnr)
    found = checked.parity.sqnr_db
    return 0.0 if least is None or found is None else least - found


def _predicted(tradeoff: Tradeoff, start: np.ndarray, chosen: np.ndarray, seconds: float) -> dict[str, float]:
    """By how much a set should raise the SQNR of a file that takes `seconds`, and over that its latency."""
    noise, spent = tradeoff.noise(np.array([start, chosen])), tradeoff.seconds(np.array([start, chosen]))
    gain = 10 * np.log10(noise[0] / noise[1])
    return {"sqnr_gain_db": round(float(gain), 2), "latency": round(float(1 + (spent[1] - spent[0]) / seconds), 3)}


def _row(candidate: Candidate, ratio: dict[str, Any] | None, predicted: dict[str, float] | None) -> dict[str, Any]:
    checked = candidate.checked
    return {
        "operations": sorted(candidate.prepared.in_float),
        "sqnr_db": checked.parity.sqnr_db,
        "agreement_where_sure": checked.parity.agreement_where_sure,
        "drop": checked.drop,
        "latency": ratio,
        "predicted": predicted,
        "passed": not checked.lost,
    }
