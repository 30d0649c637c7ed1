"""Does each output of a file, and each column that means something of its own, still say what the model's says?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.verification.output_parts import Part

SURE = 0.5
GRID = 1 / 256  # between the values that a softmax or sigmoid has in 8 bits (TFLite's 8-bit quantization specification)
FEWEST_ROWS = 8  # of a column: fewer do not tell how much it varies
MOST_COLUMNS = 128  # that may each mean something: more are a picture or features, and judged together
UNVARYING = 1e-4  # of a column's greatest value: float32 itself, summed up in another order, makes a tenth of that
FEW_VALUES = 4
MANY_VALUES = 32
GREATEST_ERROR = 0.1  # of the variation of a value: SQNR 20 dB
GREATEST_LABELLED_ERROR = 0.5  # where a metric decides on the quality: less than 3/4 of the variance is left
GREATEST_TOTAL_VARIATION = 0.05  # mean over samples, between the distributions of model and file


@dataclass(frozen=True)
class PartError:
    """How a part of an output differs from the model's, over R rows (samples and positions).

    Attributes:
        output: its name; `columns` are which of its columns, [start, stop); `kind` as `Part` has it.
        relative_error: RMS of the error over the standard deviation of the model's values about their mean; of
            columns that are judged singly the worst, which is then `worst_column`. What rounding a probability to
            8 bits costs is left out. None where nothing varies in the model.
        deviation: the model's, of that column or of all.
        values: how many different ones that column has in the file, at most 256.
        absolute: whether the error is relative to the greatest value, since the model's do not vary.
        total_variation: mean over rows of half the sum of absolute differences of two distributions.
        empty: share of rows in which all probabilities are zero in the file.
        agreement: share of rows with the same first class; `agreement_where_sure` the same among the `sure` rows
            to which the model gives more than 0.5. `ties`: share in which the file's first class ties with another.
        kl_divergence: mean of KL(model ‖ file) in nats.
    """

    output: str
    columns: tuple[int, int]
    kind: str
    relative_error: float | None
    deviation: float
    worst_column: int | None
    values: int
    constant: bool
    absolute: bool = False
    total_variation: float | None = None
    empty: float = 0.0
    agreement: float | None = None
    agreement_where_sure: float | None = None
    sure: int = 0
    ties: float | None = None
    kl_divergence: float | None = None
