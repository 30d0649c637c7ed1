"""Is a file close to the model: relative RMS, SQNR, agreement, ties and divergence of the outputs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from export.data.samples import Inputs
from export.tflite_file.interpreter import Interpreter

SURE = 0.5


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


def keras_outputs(model: keras.Model, batch: Inputs) -> list[np.ndarray]:
    """All outputs of a Keras model for one batch."""
    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    result = model(keras.tree.pack_sequence_as(structure, batch), training=False)
    return [np.asarray(keras.ops.convert_to_numpy(output)) for output in keras.tree.flatten(result)]
