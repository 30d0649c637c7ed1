"""Does the file compute what the model computes: parity, agreement, accuracy, and the gate on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from export.audit import Audit
from export.errors import GateError
from export.interpreter import Interpreter
from export.samples import Images, Inputs, batches

SURE = 0.5
GRAPH_PARITY = 1e-4  # a mistake makes more; Keras's own float32 is up to 1.9e-5 from float64 (ResNet50 on photos)
FLOAT_PARITY = {"float32": 1e-4, "float16": 1e-2}
INTEGER_MODES = ("int8", "int16x8")
LEAST_SQNR_DB = 10.0
LEAST_AGREEMENT = 0.95
FORGIVEN = 1  # of few images one tells nothing


@dataclass(frozen=True)
class Parity:
    """How the file's outputs differ from the float model's, over the samples that were compared.

    Attributes:
        relative_rms: of the outputs: RMS of the difference over RMS of the float outputs.
        sqnr_db: signal to quantization noise of what the softmax takes (of the outputs where there
            is none), over all samples, in dB; None where there is no noise.
        argmax_agreement: share of samples with the same first class; None for no classifier.
        agreement_where_sure: the same among samples to which the float model gives more than 0.5.
        sure: how many those are.
        ties: share of samples in which the file's first class ties with another.
        kl_divergence: mean of KL(float ‖ file) in nats, before rounding by the output's scale.
        samples: how many samples were compared.
    """

    relative_rms: float
    sqnr_db: float | None
    argmax_agreement: float | None
    agreement_where_sure: float | None
    sure: int
    ties: float | None
    kl_divergence: float | None
    samples: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def relative_rms(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    """RMS of the difference over the RMS of `expected`, over all outputs; inf where not finite."""
    errors = [np.square(a.astype(np.float64) - b) for a, b in zip(expected, found, strict=True)]
    error, signal = sum(e.sum() for e in errors), sum(np.square(a, dtype=np.float64).sum() for a in expected)
    return float(np.sqrt(error / signal)) if np.isfinite(error) and signal else (0.0 if error == 0 else float("inf"))


def compare(
    path: str | os.PathLike[str], samples: Inputs, outputs: Sequence[np.ndarray], logits: Sequence[np.ndarray]
) -> Parity:
    """Compare a file with the float model.

    Args:
        samples: (N, …) for each input.
        outputs, logits: the float model's, (N, …) for each output, after and before the softmax.
    """
    file = Interpreter(path, with_logits=True)
    values = file.run(samples)
    found_outputs, found_logits = values[: len(outputs)], [values[position] for position in file.logits]
    classifier = logits[0].ndim == 2 and logits[0].shape[1] > 1
    agreement: dict[str, Any] = dict.fromkeys(("argmax_agreement", "agreement_where_sure", "ties", "kl_divergence"))
    sure = np.zeros(len(samples[0]), bool)
    if classifier:
        expected, found = logits[0], found_logits[0]
        probabilities = _softmax(expected)
        sure = probabilities.max(axis=1) > SURE
        same = expected.argmax(axis=1) == found.argmax(axis=1)
        top = np.sort(found, axis=1)[:, -2:]
        logs = np.log(probabilities + 1e-12) - np.log(_softmax(found) + 1e-12)
        agreement = {
            "argmax_agreement": float(same.mean()),
            "agreement_where_sure": float(same[sure].mean()) if sure.any() else None,
            "ties": float((top[:, 0] == top[:, 1]).mean()),
            "kl_divergence": float((probabilities * logs).sum(axis=1).mean()),
        }
    noise = relative_rms(logits, found_logits)
    return Parity(
        relative_rms=relative_rms(outputs, found_outputs),
        sqnr_db=float(-20 * np.log10(noise)) if 0 < noise < np.inf else None,
        sure=int(sure.sum()),
        samples=len(samples[0]),
        **agreement,
    )


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def correct(run: Callable[[Inputs], list[np.ndarray]], inputs: Sequence[Images], labels: np.ndarray) -> np.ndarray:
    """Whether the greatest first output is at the label: bool (N,), for every sample."""
    predicted = [run(batch)[0].reshape(len(batch[0]), -1).argmax(axis=1) for batch in batches(inputs)]
    return np.concatenate(predicted) == labels


def paired_drop(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """By how many percentage points accuracy fell, and the 95 % interval of that.

    Both were measured on the same samples, so only those on which they differ make it uncertain.
    """
    lost, won, count = int((before & ~after).sum()), int((after & ~before).sum()), len(before)
    drop = (lost - won) / count
    error = np.sqrt(max(lost + won - count * drop**2, 0)) / count
    low, high = drop - 1.96 * error, drop + 1.96 * error
    return {"points": 100 * drop, "low": float(100 * low), "high": float(100 * high), "lost": lost, "won": won}


def keras_outputs(model: keras.Model, batch: Inputs) -> list[np.ndarray]:
    """All outputs of a Keras model for one batch."""
    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    result = model(keras.tree.pack_sequence_as(structure, batch), training=False)
    return [np.asarray(keras.ops.convert_to_numpy(output)) for output in keras.tree.flatten(result)]


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
