"""Is a file close to the model: relative RMS, SQNR, agreement, ties and divergence of the outputs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from export.data.samples import Inputs
from export.record import Record
from export.tflite_file.interpreter import Interpreter
from export.verification.output_errors import PartError, middle, part_errors, softmax
from export.verification.output_parts import DescribedOutput

SURE = 0.5


@dataclass(frozen=True, eq=False)
class Parity(Record):
    """How the file's outputs differ from the float model's, over the samples that were compared.

    Attributes:
        relative_rms: RMS of the difference over RMS of the float output; of several outputs the worst.
        sqnr_db: signal to quantization noise of what a softmax takes (of the output where there is none) in dB; of
            several outputs the worst. The signal is what varies about the mean. None where there is no noise.
        argmax_agreement: of the first output that tells classes, the share of samples and positions with the same
            first class; None where there is none.
        agreement_where_sure: the same among those to which the float model gives more than 0.5.
        sure: how many those are.
        ties: the share in which the file's first class ties with another.
        kl_divergence: mean of KL(float ‖ file) in nats, before rounding by the output's scale.
        samples: how many samples were compared.
        compared_on: what these samples are.
        outputs: the error of each part of each output.
    """

    relative_rms: float
    sqnr_db: float | None
    argmax_agreement: float | None
    agreement_where_sure: float | None
    sure: int
    ties: float | None
    kl_divergence: float | None
    samples: int
    compared_on: str
    outputs: list[PartError]


def relative_rms(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    """RMS of the difference over the RMS of `expected`; of several outputs the worst; inf where not finite."""
    return max(_relative(a, b, 0.0) for a, b in zip(expected, found, strict=True))


def relative_noise(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    """The same over what varies about the mean of each column, or of all where few rows tell no mean."""
    return max(_relative(a, b, middle(a)) for a, b in zip(expected, found, strict=True))


def _relative(expected: np.ndarray, found: np.ndarray, around: Any) -> float:
    error = np.square(expected.astype(np.float64) - found).sum()
    signal = np.square(expected - around, dtype=np.float64).sum()
    return float(np.sqrt(error / signal)) if np.isfinite(error) and signal else (0.0 if error == 0 else float("inf"))


def compare(
    path: str | os.PathLike[str],
    samples: Inputs,
    outputs: Sequence[np.ndarray],
    logits: Sequence[np.ndarray],
    described: Sequence[DescribedOutput],
    compared_on: str,
) -> Parity:
    """Compare a file with the float model.

    Args:
        samples: (N, …) for each input.
        outputs, logits: the float model's, (N, …) for each output, after and before the softmax.
        described: the name of each output, and its parts.
        compared_on: what the samples are, for the report.
    """
    file = Interpreter(path, with_logits=True)
    values = file.run(samples)
    found_outputs, found_logits = values[: len(outputs)], [values[position] for position in file.logits]
    errors = [
        error
        for each, expected, found in zip(described, outputs, found_outputs, strict=True)
        for error in part_errors(each.name, each.parts, expected, found)
    ]
    noise = relative_noise(logits, found_logits)
    classes = next((index for index, each in enumerate(described) if each.tells_classes), None)
    agreement = _NO_CLASSES if classes is None else _agreement(logits[classes], found_logits[classes])
    return Parity(
        relative_rms=relative_rms(outputs, found_outputs),
        sqnr_db=float(-20 * np.log10(noise)) if 0 < noise < np.inf else None,
        samples=len(samples[0]),
        compared_on=compared_on,
        outputs=errors,
        **agreement,
    )


_NO_CLASSES: dict[str, Any] = {
    "argmax_agreement": None, "agreement_where_sure": None, "sure": 0, "ties": None, "kl_divergence": None
}  # fmt: skip


def _agreement(expected: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    """Of scores of classes on the last axis."""
    expected, found = (each.reshape(-1, each.shape[-1]) for each in (expected, found))
    probabilities = softmax(expected)
    sure = probabilities.max(axis=1) > SURE
    same = expected.argmax(axis=1) == found.argmax(axis=1)
    top = np.sort(found, axis=1)[:, -2:]
    logs = np.log(probabilities + 1e-12) - np.log(softmax(found) + 1e-12)
    return {
        "argmax_agreement": float(same.mean()),
        "agreement_where_sure": float(same[sure].mean()) if sure.any() else None,
        "sure": int(sure.sum()),
        "ties": float((top[:, 0] == top[:, 1]).mean()),
        "kl_divergence": float((probabilities * logs).sum(axis=1).mean()),
    }


def keras_outputs(model: keras.Model, batch: Inputs) -> list[np.ndarray]:
    """All outputs of a Keras model for one batch, float32; it takes each input in its own dtype."""
    batch = [_as_dtype(array, str(each.dtype)) for array, each in zip(batch, model.inputs, strict=True)]
    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    result = model(keras.tree.pack_sequence_as(structure, batch), training=False)
    return [np.asarray(keras.ops.convert_to_numpy(output), np.float32) for output in keras.tree.flatten(result)]


def _as_dtype(array: np.ndarray, dtype: str) -> np.ndarray:
    """As the model takes it; a half-precision model makes its own of float32."""
    return np.round(array).astype(dtype) if "int" in dtype else array
