"""The proof that a target computed the right thing: its output against the same file's on LiteRT, here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from android_bench.document import Tensor

# How far an output may be from the reference, as RMS of the difference over RMS of the reference: room for integer
# kernels that round otherwise.
MAX_RELATIVE_RMS = 0.05
# Float scores that differ by less than this share of the largest one are tied: float32's rounding over a deep network.
FLOAT_TIE = 1e-5


@dataclass(frozen=True)
class Reference:
    """Outputs of one file on LiteRT.

    Attributes:
        kernels: which of LiteRT's computed them.
        version: LiteRT's release.
        tensors: the outputs.
        content: their bytes.
    """

    kernels: str
    version: str
    tensors: Sequence[Tensor]
    content: bytes


@dataclass(frozen=True)
class OutputCheck:
    """How one output differs from its reference.

    Attributes:
        reference: the runtime, version and kernels that gave the reference.
        sha256: digest of the output's bytes.
        identical: whether every byte equals the reference.
        relative_rms: RMS of the difference over RMS of the reference, the worst of all outputs; None
            where the output has another size or holds a value that is not finite.
        argmax_equal: whether each output vector has the reference's largest entry, ties aside.
        constant: whether every output of the reference has one value only, so that agreement proves little.
        passed: whether `relative_rms` is at most `MAX_RELATIVE_RMS` and the argmax is equal.
    """

    reference: str
    sha256: str
    identical: bool
    relative_rms: float | None
    argmax_equal: bool
    constant: bool
    passed: bool


def check(content: bytes, reference: Reference) -> OutputCheck:
    """Compare outputs with the reference's.

    Args:
        content: the raw bytes of all outputs.
        reference: what they should be.

    Returns:
        How they differ, and whether that is allowed.
    """
    relative_rms: float | None = None
    argmax_equal = False
    if len(content) == len(reference.content):
        pairs = list(zip(_split(content, reference.tensors), _split(reference.content, reference.tensors), strict=True))
        errors = [_relative_rms(actual, expected) for actual, expected in pairs]
        if all(np.isfinite(errors)):
            relative_rms = max(errors, default=0.0)
        argmax_equal = all(
            _same_argmax(actual, expected, tensor)
            for (actual, expected), tensor in zip(pairs, reference.tensors, strict=True)
        )
    return OutputCheck(
        reference=f"litert {reference.version}, {reference.kernels} kernels",
        sha256=hashlib.sha256(content).hexdigest(),
        identical=content == reference.content,
        relative_rms=relative_rms,
        argmax_equal=argmax_equal,
        constant=all(np.ptp(each) == 0 for each in _split(reference.content, reference.tensors)),
        passed=relative_rms is not None and relative_rms <= MAX_RELATIVE_RMS and argmax_equal,
    )


def nearest(content: bytes, references: Sequence[Reference]) -> OutputCheck:
    """Compare outputs with the closest of several references.

    Built-in and XNNPACK kernels round integers differently and both are right.

    Args:
        content: the raw bytes of all outputs.
        references: what they should be, in any of these ways.

    Returns:
        The best of the checks.
    """
    checks = [check(content, reference) for reference in references]
    return min(checks, key=lambda each: (not each.passed, each.relative_rms is None, each.relative_rms or 0.0))


def _split(content: bytes, tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """Return each output in real units, as float64."""
    arrays = []
    start = 0
    for tensor in tensors:
        dtype = np.dtype(tensor.dtype)
        count = int(np.prod(tensor.shape))
        array = np.frombuffer(content, dtype, count, start).reshape(tensor.shape).astype(np.float64)
        if tensor.scale:
            array = (array - tensor.zero_point) * tensor.scale
        arrays.append(array)
        start += count * dtype.itemsize
    return arrays


def _relative_rms(actual: np.ndarray, expected: np.ndarray) -> float:
    if not np.isfinite(actual).all():
        return float("nan")
    size = float(np.sqrt(np.mean(expected**2)))
    error = float(np.sqrt(np.mean((actual - expected) ** 2)))
    if error == 0:
        return 0.0
    return error / size if size else float("inf")


def _same_argmax(actual: np.ndarray, expected: np.ndarray, tensor: Tensor) -> bool:
    """Whether a single output vector peaks where the reference does, or at an entry tied with that peak."""
    if expected.size < 2 or expected.size != expected.shape[-1]:
        return True
    scores = expected.ravel()
    peak = scores.max()
    tie = tensor.scale or FLOAT_TIE * float(np.abs(scores).max())
    return bool(peak - scores[int(np.argmax(actual))] <= tie)
