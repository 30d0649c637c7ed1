"""What is judged of each output and column, and what an offset or a neighbour of another scale cannot hide."""

import numpy as np
import pytest

from export.verification.gate import output_faults
from export.verification.output_errors import PartError, part_errors, softmax
from export.verification.output_parts import Part

RANDOM = np.random.default_rng(0)
GRID = 1 / 256


def errors(expected: np.ndarray, found: np.ndarray, *parts: Part) -> list[PartError]:
    columns = expected.shape[-1] if expected.ndim > 1 else 1
    return part_errors("o", parts or [Part(0, columns, "values", "layer")], expected, found)


def rounded(values: np.ndarray) -> np.ndarray:
    """To 256 values between the extremes and zero, as one scale of a tensor has them."""
    low, high = min(values.min(), 0), max(values.max(), 0)
    step = (high - low) / 255
    return np.round(values / step) * step


def test_an_offset_hides_nothing() -> None:
    values = 1000 + RANDOM.normal(0, 1, (200, 1))
    (error,) = errors(values, rounded(values))
    assert error.relative_error == pytest.approx(
        np.sqrt(np.square(rounded(values) - values).mean()) / values.std(), rel=1e-6
    )
    assert error.relative_error > 0.5
    assert np.abs(rounded(values) - values).max() / 1000 < 0.003  # of its power it is nothing


def test_a_columns_neighbours_hide_nothing() -> None:
    boxes, scores = 300 * RANDOM.random((64, 4)), RANDOM.random((64, 1))
    values = np.hstack([boxes, scores])
    parts = [Part(0, 4, "values", "boxes"), Part(4, 5, "probabilities", "scores")]
    of_boxes, of_scores = errors(values, rounded(values), *parts)
    assert of_boxes.relative_error < 0.01
    assert (of_scores.column, of_scores.values) == (4, 2)
    (fault,) = output_faults([of_boxes, of_scores], io="int8")
    assert fault.startswith("output 'o', column 4, is off by ")
    assert fault.endswith("with 2 different values left; try --io float32, which joins it in float, or make it an "
                          "output of its own")  # fmt: skip
    (alone,) = errors(values, rounded(values))  # without a graph that tells, columns are judged singly too
    assert alone.column == 4


@pytest.mark.parametrize("shape", [(64,), (64, 3), (8, 6, 6, 2), (16, 5, 3)])
@pytest.mark.parametrize(("noise", "refused"), [(0.08, False), (0.13, True)])
def test_ten_percent_of_the_deviation_are_too_much(
    shape: tuple[int, int, int, int] | tuple[int, int, int] | tuple[int, int] | tuple[int], noise: float, refused: bool
) -> None:
    values = RANDOM.normal(5, 2, shape)
    found = values + noise * 2 * np.sign(RANDOM.normal(0, 1, shape))
    assert bool(output_faults(errors(values, found))) == refused
    assert not output_faults(errors(values, found), labelled={"o"})  # there the metric decides
    assert bool(output_faults(errors(values, found), min_sqnr=15)) is False
    assert output_faults(errors(values, found), min_sqnr=25)


def test_what_varies_in_the_model_and_not_in_the_file_is_refused_by_name() -> None:
    values = RANDOM.normal(0, 1, (50, 3))
    found = values.copy()
    found[:, 1] = values[:, 1].mean()
    (fault,) = output_faults(errors(values, found), labelled={"o"})
    assert fault == "output 'o', column 1, varies in the model and is constant in the file; try --keep-float layer"


def test_few_values_left_of_many_are_refused_with_labels_too() -> None:
    values = RANDOM.random((500, 1))
    (fault,) = output_faults(errors(values, np.round(values * 2) / 2), labelled={"o"})
    assert "with 3 different values left" in fault
    saturated = 1 / (1 + np.exp(-RANDOM.choice([-20.0, 20.0], (500, 1)) - RANDOM.normal(0, 1, (500, 1))))
    assert not output_faults(errors(saturated, np.round(saturated), Part(0, 1, "probabilities", "s")))


def test_what_does_not_vary_is_compared_by_its_size() -> None:
    still = np.hstack([np.full((40, 1), 5.0), RANDOM.normal(0, 1, (40, 1)), np.zeros((40, 1))])
    assert not output_faults(errors(still, still + np.array([0.02, 0, 0])))
    (fault,) = output_faults(errors(still, still + np.array([0.9, 0, 0])))
    assert "off by 0.18 of its greatest value, from which it does not move in the model" in fault
    assert output_faults(errors(still, still + np.array([0, 0, 1.0])))


def test_probabilities_below_a_step_vanish_one_by_one_but_not_together() -> None:
    part = Part(0, 3, "probabilities", "labels")
    rare = 1 / (1 + np.exp(-RANDOM.normal(0, 1, (60, 3)) - [0, 0, -9]))
    eighth = np.round(rare / GRID) * GRID
    assert len(np.unique(eighth[:, 2])) <= 2
    assert not output_faults(errors(rare, eighth, part))
    still = rare[:, [2, 2, 2]]
    (fault,) = output_faults(errors(still, np.zeros_like(still), part))
    assert "varies in the model and is constant in the file" in fault


def test_a_softmax_is_one_distribution() -> None:
    part = Part(0, 50, "softmax", "classes")
    logits = RANDOM.normal(0, 3, (80, 50))
    probabilities = softmax(logits)
    vanished = np.round(probabilities / GRID) * GRID
    assert (vanished == 0).mean() > 0.5
    assert not output_faults(errors(probabilities, vanished, part))
    off = np.round(softmax(logits + RANDOM.normal(0, 0.5, logits.shape)) / GRID) * GRID
    (fault,) = output_faults(errors(probabilities, off, part))
    assert "gives other classes " in fault
    assert "mean total variation, limit 0.05" in fault


@pytest.mark.parametrize("io", ["int8", "float32"])
def test_a_softmax_that_eight_bits_make_zero_is_refused(io: str) -> None:
    probabilities = softmax(RANDOM.normal(0, 0.1, (10, 1000)))
    assert probabilities.max() < GRID / 2
    (fault,) = output_faults(
        errors(probabilities, np.zeros_like(probabilities), Part(0, 1000, "softmax", "classes")), io=io
    )
    assert fault.startswith("output 'o' has probabilities that are all zero in 100% of the samples; try --logits")
    assert ("--io float32" in fault) == (io == "int8")


def test_few_samples_are_judged_as_a_whole_and_many_columns_too() -> None:
    pair = np.array([[1.0, 50.0], [1.001, 60.0]])
    assert not output_faults(errors(pair, pair + 0.3))  # the first column's deviation cannot be told
    picture = RANDOM.normal(0, 1, (40, 784)) * np.where(np.arange(784) < 50, 1e-3, 1)
    assert not output_faults(errors(picture, rounded(picture)))
    assert errors(picture, rounded(picture))[0].column is None
