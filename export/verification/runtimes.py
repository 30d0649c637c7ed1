"""The whole file in both of LiteRT's ways to run it: built-in kernels, and XNNPACK, which takes over what it can."""

from __future__ import annotations

import os

import numpy as np

from export.data.samples import Inputs
from export.errors import GateError, InputError
from export.tflite_file.interpreter import Interpreter, Port

SAMPLES = 2
GREATEST_FLOAT_DIFFERENCE = 1e-3
"""Relative RMS between the two where nothing is rounded to 8 bits; they sum in another order."""
GREATEST_DIFFERENCE = 0.1
"""RMS over the outputs' deviation where values are rounded to 8 bits: as much as the gate allows against the model."""
LEAST_STEPS = 2.0
"""So many steps of an 8-bit output they may always be apart; up to 9 for single values were seen on deep networks."""


def disagreements(path: str | os.PathLike[str], samples: Inputs, rounds: bool) -> list[str]:
    """Outputs of a file in which the two ways to run it differ by more than they may, each as a fault.

    Args:
        samples: (N, …) for each input.
        rounds: whether the file rounds activations to 8 bits.

    Raises:
        GateError: one of the two does not load or run the file, so nothing can be measured on it.
    """
    few = [_two(array) for array in samples]
    found = []
    for name, delegate in (("the built-in kernels", False), ("XNNPACK", True)):
        try:
            interpreter = Interpreter(path, delegate=delegate)
            found.append(interpreter.run(few))
        except (InputError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise GateError(f"{path} is not shipped: {name} of LiteRT cannot run it: {reason}") from error
    return [
        f"the built-in kernels of LiteRT and XNNPACK give different outputs ({name}: {difference:.2g} times the limit)"
        for name, port, one, other in zip(interpreter.output_names, interpreter.outputs, *found, strict=True)
        if (difference := _difference(port, one, other, rounds)) > 1
    ]


def _two(array: np.ndarray) -> np.ndarray:
    """The first two samples, or the only one and what it is back to front."""
    return array[:SAMPLES] if len(array) >= SAMPLES else np.concatenate([array, array[:, ::-1]])


def _difference(port: Port, one: np.ndarray, other: np.ndarray, rounds: bool) -> float:
    """RMS of the difference over what it may be; infinite where only one of the two is finite."""
    if not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return float("inf")
    error = _rms(np.nan_to_num(one) - np.nan_to_num(other))
    if not rounds:
        return error / (GREATEST_FLOAT_DIFFERENCE * _rms(one) or 1.0)
    return error / (max(GREATEST_DIFFERENCE * float(one.std()), LEAST_STEPS * port.scale) or 1.0)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(np.nan_to_num(values), dtype=np.float64).mean()))
