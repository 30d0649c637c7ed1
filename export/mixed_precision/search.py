"""Mixed precision: the set of operations to leave in float so that an int8 file passes its gate at the least latency.

Sets are chosen by predictions (`export.mixed_precision.selection`) and judged by the files that are made of them.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.mixed_precision import latency
from export.mixed_precision.cost import measure
from export.mixed_precision.keep_float import units
from export.mixed_precision.selection import Tradeoff
from export.quantization import held_out
from export.quantization.candidates import QuantizedCandidate
from export.record import Record
from export.run import Run
from export.tflite_file.interpreter import Interpreter
from export.verification.float_reference import FloatModel, Outputs
from export.verification.gate import least_sqnr_db
from export.verification.metrics import AccuracyDrop
from export.verification.verify import Verified, convert_and_verify
from export.worker.protocol import MeasureSensitivity

STEP_DB = 2.0
"""The predicted noise is lowered by so much, in dB, where nothing tells how far a file is from passing."""
MARGIN_DB = 0.5
"""A file that was short of its SQNR by some dB is followed by a set that is predicted to gain so much more."""
MOST_SETS = 12
"""Sets that are converted and verified before the search gives up."""
MOST_SAMPLES = 16
"""Held-out calibration samples on which the noise of each tensor and kernel is measured."""


@dataclass(frozen=True, eq=False)
class Prediction(Record):
    """By how much a set should raise the file's SQNR, in dB, and its latency over that of the file without it."""

    sqnr_gain_db: float
    latency: float


@dataclass(frozen=True, eq=False)
class FloatSet(Record):
    """A set of operations in float that was tried, and what was measured on its file."""

    operations: list[str]
    sqnr_db: float | None
    agreement_where_sure: float | None
    drop: AccuracyDrop | None
    latency: latency.LatencyRatio | None
    predicted: Prediction | None
    passed: bool


@dataclass(frozen=True, eq=False)
class MixedPrecision(Record):
    """The sets that were tried, the file that was to be improved first; latencies are over that file's."""

    sets: list[FloatSet]


def search(
    run: Run, start: Verified, path: Path, float_model: FloatModel, expected: Outputs
) -> tuple[Verified, MixedPrecision]:
    """Leave ever more operations in float until the file at `path` passes.

    Args:
        start: the file at `path`, which lost too much.

    Returns:
        What was measured on the file that passes, which is at `path` then, or `start` if none does.
    """
    assert isinstance(start.candidate, QuantizedCandidate)  # `Options` allows the search for these alone
    with run.clock("sensitivity"):
        seconds = latency.fastest(Interpreter(path))
        tradeoff = _tradeoff(run, start.candidate, seconds)
    kept = tradeoff.chosen(start.candidate.keep_float)
    noise = tradeoff.noise(kept[None])[0]
    sets = [_float_set(start, None, None)]
    gain_db = max(_missing_db(run, start), 0.0) or STEP_DB
    with tempfile.TemporaryDirectory() as folder:
        start_file = Path(folder) / "start.tflite"
        start_file.write_bytes(path.read_bytes())
        while len(sets) <= MOST_SETS:
            chosen = tradeoff.cheapest(noise * 10 ** (-gain_db / 10), kept)
            if chosen is None or chosen.all():
                break
            names = tradeoff.operations(chosen)
            if sets[-1].operations == sorted(names):
                gain_db += STEP_DB
                continue
            verified = convert_and_verify(run, start.candidate.keeping_float(names), path, float_model, expected)
            with run.clock("latency"):
                ratio = latency.latency_ratio(path, start_file)
            sets.append(_float_set(verified, ratio, _prediction(tradeoff, kept, chosen, seconds)))
            if verified.passed:
                return verified, MixedPrecision(sets)
            missing_db = _missing_db(run, verified)
            gain_db += missing_db + MARGIN_DB if missing_db > 0 else STEP_DB
        path.write_bytes(start_file.read_bytes())
    return start, MixedPrecision(sets)


def _tradeoff(run: Run, candidate: QuantizedCandidate, seconds: float) -> Tradeoff:
    """Noise on samples that set no ranges, and time on this CPU; all operations in int8 take `seconds`."""
    graph = candidate.unrounded
    deciding, _ = held_out.split(run.data.calibration)
    names = [graph.logits(name) for name in graph.outputs]
    samples = [array[:MOST_SAMPLES] for array in deciding]
    noise = run.worker.run(MeasureSensitivity(graph, candidate.graph, candidate.ranges, names, samples))
    weighted = [name for name, operation in graph.operations.items() if "kernel" in operation.weights]
    return Tradeoff.of(
        graph,
        dict(zip(candidate.ranges, noise.tensors / noise.signal, strict=True)),
        dict(zip(weighted, noise.kernels / noise.signal, strict=True)),
        measure(candidate.graph, run.worker, units(graph), seconds),
    )


def _missing_db(run: Run, verified: Verified) -> float:
    """By how much the SQNR falls short of what is asked; 0 or less if it does not."""
    least = least_sqnr_db(bool(verified.metrics), run.options.min_sqnr)
    sqnr_db = verified.parity.sqnr_db
    return 0.0 if least is None or sqnr_db is None else least - sqnr_db


def _prediction(tradeoff: Tradeoff, start: np.ndarray, chosen: np.ndarray, seconds: float) -> Prediction:
    noise, spent = tradeoff.noise(np.array([start, chosen])), tradeoff.seconds(np.array([start, chosen]))
    gain = 10 * np.log10(noise[0] / noise[1])
    return Prediction(round(float(gain), 2), round(float(1 + (spent[1] - spent[0]) / seconds), 3))


def _float_set(verified: Verified, ratio: latency.LatencyRatio | None, predicted: Prediction | None) -> FloatSet:
    return FloatSet(
        sorted(verified.candidate.keep_float),
        verified.parity.sqnr_db,
        verified.parity.agreement_where_sure,
        verified.drop,
        ratio,
        predicted,
        not verified.accuracy_faults,
    )
