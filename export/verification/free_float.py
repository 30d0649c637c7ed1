"""What stays in float at the end of an int8 file with float outputs: 8 bits would destroy it and gain nothing."""

from __future__ import annotations

import numpy as np

from export.quantization.scales import ACTIVATION_STEPS
from export.run import Run
from export.verification.float_reference import Outputs
from export.verification.output_errors import GRID, middle
from export.verification.output_parts import joining

GREATEST_ROUNDING = 0.05
"""RMS of an output's rounding over a column's deviation, above which its parts are joined in float: half the gate's."""


def joined_in_float(run: Run, outputs: Outputs) -> frozenset[str]:
    """Operations at the end that need not be in 8 bits: outputs are float, and their values do not share a scale well.

    A concatenation at the end then takes each of its parts with a scale of its own, and a softmax whose probabilities
    would all be rounded to zero gives them as they are.

    Args:
        outputs: the float graph's.
    """
    graph, options = run.source.graph, run.options
    if not options.sets_ranges or options.file_io != "float32":
        return frozenset()
    found: set[str] = set()
    for name, values in zip(graph.outputs, outputs.after_softmax, strict=True):
        if graph.operations[name].function == "softmax":
            found |= {name} if _vanish(values) else set()
        elif _needs_several_scales(values):
            found |= set(joining(graph, name))
    return frozenset(found)


def _vanish(probabilities: np.ndarray) -> bool:
    """Whether all probabilities of a row are rounded to zero."""
    return bool((probabilities.max(axis=-1) < GRID / 2).any())


def _needs_several_scales(values: np.ndarray) -> bool:
    """Whether rounding to a scale for all values costs a column more than it should."""
    step = (max(0.0, float(values.max())) - min(0.0, float(values.min()))) / ACTIVATION_STEPS
    columns = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
    deviation = np.sqrt(np.square(columns - middle(columns), dtype=np.float64).mean(axis=0))
    varies = deviation > 0
    return bool((step / np.sqrt(12) > GREATEST_ROUNDING * deviation[varies]).any())
