"""The measures that a gate rests on."""

import numpy as np
import pytest

from export.verification.accuracy import paired_drop
from export.verification.parity import relative_rms


def test_relative_rms_is_of_all_outputs_together() -> None:
    expected = [np.array([3.0, 4.0]), np.array([[0.0]])]
    assert relative_rms(expected, expected) == 0
    assert relative_rms(expected, [np.array([3.0, 4.5]), np.array([[0.0]])]) == pytest.approx(0.1)
    assert relative_rms(expected, [np.array([3.0, np.nan]), np.array([[0.0]])]) == np.inf
    assert relative_rms([np.zeros(2)], [np.ones(2)]) == np.inf


def test_a_paired_drop_is_uncertain_only_where_the_two_differ() -> None:
    before = np.array([True] * 90 + [False] * 10)
    same = paired_drop(before, before)
    assert (same["points"], same["low"], same["high"]) == (0, 0, 0)
    after = before.copy()
    after[:3], after[90] = False, True
    drop = paired_drop(before, after)
    assert drop["points"] == pytest.approx(2.0)
    assert (drop["lost"], drop["won"]) == (3, 1)
    half = 1.96 * np.sqrt(4 - 100 * 0.02**2)
    assert drop["high"] - drop["points"] == pytest.approx(half)
    assert drop["low"] == pytest.approx(2 - half)
