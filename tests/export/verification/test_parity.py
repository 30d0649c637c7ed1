"""The measures that a gate rests on."""

import numpy as np
import pytest

from export.verification.parity import relative_noise, relative_rms


def test_relative_rms_is_of_the_worst_output() -> None:
    expected = [np.array([3.0, 4.0]), np.array([[0.0]])]
    assert relative_rms(expected, expected) == 0
    assert relative_rms(expected, [np.array([3.0, 4.5]), np.array([[0.0]])]) == pytest.approx(0.1)
    assert relative_rms(expected, [np.array([3.0, np.nan]), np.array([[0.0]])]) == np.inf
    assert relative_rms([np.zeros(2)], [np.ones(2)]) == np.inf
    large, small = np.full((4, 2), 1000.0), np.ones((4, 2))
    assert relative_rms([large, small], [large, 1.1 * small]) == pytest.approx(0.1)


def test_noise_is_over_what_varies() -> None:
    values = np.random.default_rng(0).normal(100, 1, (50, 3)) * [1, 10, 1]
    noise = np.random.default_rng(1).normal(0, 1, (50, 3))
    expected = np.sqrt(np.square(noise).sum() / np.square(values - values.mean(axis=0)).sum())
    assert relative_noise([values], [values + noise]) == pytest.approx(expected)
    assert relative_noise([values], [values + noise]) > 10 * relative_rms([values], [values + noise])
    few = values[:2]
    assert relative_noise([few], [few + 1]) == pytest.approx(1 / few.std())
