"""Does each output of a file, and each column that means something of its own, still say what the model's says?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from export.verification.output_parts import Part

GRID = 1 / 256  # between the values that a softmax or sigmoid has in 8 bits (TFLite's 8-bit quantization specification)
FEWEST_ROWS = 8  # of a column: fewer do not tell how much it varies
MOST_COLUMNS = 128  # that may each mean something: more are a picture or features, and judged together
UNVARYING = 1e-5  # of the greatest value: what float32 itself makes when it sums in another order is less


@dataclass(frozen=True)
class PartError:
    """How a part of an output differs from the model's, over R rows: samples and positions.

    Attributes:
        output: its name.
        part: which columns these are, and what.
        column: the one that is told of: of columns that are judged singly the worst; None where all are one.
        relative_error: RMS of the error over the standard deviation of the model's values about their mean. What
            rounding a probability to 8 bits must cost is left out. Where the model's values do not vary (`varies`),
            over the greatest of them instead.
        values: how many different ones the column has in the file, or how many different rows the columns have.
        total_variation: of distributions, the mean over rows of half the sum of absolute differences.
        empty: of distributions, the share of rows in which all probabilities are zero in the file.
    """

    output: str
    part: Part
    column: int | None
    relative_error: float
    varies: bool
    values: int
    total_variation: float | None = None
    empty: float = 0.0

    @property
    def constant(self) -> bool:
        """Whether the file has lost what varies in the model."""
        return self.varies and self.values == 1


def part_errors(output: str, parts: Sequence[Part], expected: np.ndarray, found: np.ndarray) -> list[PartError]:
    """The error of each part of an output.

    Args:
        output: its name.
        expected, found: (N, …) of the model and the file.
    """
    columns = expected.shape[-1] if expected.ndim > 1 else 1
    expected, found = (each.reshape(-1, columns).astype(np.float64) for each in (expected, found))
    return [_error(output, part, expected, found) for part in parts]


def _error(output: str, part: Part, expected: np.ndarray, found: np.ndarray) -> PartError:
    alone = part.stop - part.start == 1 < expected.shape[1]  # of several columns of the output
    expected, found = (each[:, part.start : part.stop] for each in (expected, found))
    if part.kind == "logits":
        expected, found = softmax(expected), softmax(found)
    distribution = part.kind in ("softmax", "logits")
    rounded = part.kind in ("softmax", "probabilities") and bool((found / GRID == np.round(found / GRID)).all())
    near = np.clip(np.round(expected / GRID), 0, 255) * GRID if rounded else expected
    error = np.square(found - near)
    spread = np.square(expected - middle(expected))
    several = 1 < part.stop - part.start <= MOST_COLUMNS and len(expected) >= FEWEST_ROWS
    singly = not distribution and (alone or several)
    axis = 0 if singly else None
    deviation, noise = (np.sqrt(np.atleast_1d(each.mean(axis=axis))) for each in (spread, error))
    greatest = np.atleast_1d(np.abs(expected).max(axis=axis))
    varies = deviation > UNVARYING * greatest
    if rounded and not distribution:  # a column that stays within a step may be rounded away, but not all of them
        varies &= (deviation > GRID) | (deviation == deviation.max())
    scale = np.where(greatest > 0, greatest, greatest.max() or 1.0)
    relative = noise / np.where(varies, deviation, scale)
    worst = int(relative.argmax())
    of_worst = slice(worst, worst + 1) if singly else slice(None)
    return PartError(
        output=output,
        part=part,
        column=part.start + worst if singly else None,
        relative_error=float(relative[worst]) if np.isfinite(relative).all() else float("inf"),
        varies=bool(varies[worst]),
        values=_count(found[:, of_worst]),
        total_variation=float(np.abs(found - near).sum(axis=1).mean() / 2) if distribution else None,
        empty=float((found <= 0).all(axis=1).mean()) if distribution else 0.0,
    )


def middle(values: np.ndarray) -> np.ndarray:
    """The mean of each place on the last axis, or where few rows tell none, of all: what variation is about."""
    rows = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
    return rows.mean(axis=0) if len(rows) >= FEWEST_ROWS else rows.mean()


def _count(values: np.ndarray) -> int:
    """How many rows differ; of several columns by their sums with random weights, which is quick."""
    weights = np.random.default_rng(0).random(values.shape[1]) if values.shape[1] > 1 else np.ones(1)
    return len(np.unique(values @ weights))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    with np.errstate(invalid="ignore"):  # what is not finite stays so
        powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
