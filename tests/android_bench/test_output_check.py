from collections.abc import Sequence

import numpy as np
import pytest

from android_bench import output_check
from android_bench.document import Tensor
from android_bench.output_check import OutputCheck, Reference

INT8 = Tensor([1, 4], "int8", 0.5, -10)
FLOAT = Tensor([1, 4], "float32")


def reference(values: Sequence[float], tensor: Tensor) -> Reference:
    return Reference("XNNPACK", "2.3.0", [tensor], np.asarray(values, tensor.dtype).tobytes())


def check(values: Sequence[float], expected: Sequence[float], tensor: Tensor) -> OutputCheck:
    return output_check.check(np.asarray(values, tensor.dtype).tobytes(), reference(expected, tensor))


def test_equal_bytes_are_identical() -> None:
    result = check([1, 2, 3, 90], [1, 2, 3, 90], INT8)
    assert result.identical
    assert result.passed
    assert result.relative_rms == 0


def test_error_is_in_real_units() -> None:
    result = check([-10, -10, -10, 91], [-10, -10, -10, 90], INT8)
    assert result.relative_rms == pytest.approx(1 / 100)
    assert result.passed
    assert not result.identical


def test_another_peak_fails_even_when_the_error_is_small() -> None:
    result = check([0.0, 0.0, 1.001, 1.0], [0.0, 0.0, 1.0, 1.001], FLOAT)
    assert result.relative_rms < output_check.MAX_RELATIVE_RMS
    assert not result.argmax_equal
    assert not result.passed


def test_a_peak_one_quantization_step_away_is_a_tie() -> None:
    assert check([0, 0, 90, 90], [0, 0, 89, 90], INT8).argmax_equal
    assert not check([0, 0, 90, 89], [0, 0, 88, 90], INT8).argmax_equal


@pytest.mark.parametrize("values", [[np.nan, 0, 0, 1], [np.inf, 0, 0, 1], [0, 0, 1]])
def test_an_output_that_is_not_finite_or_has_another_size_fails(values: list[float]) -> None:
    result = check(values, [0.0, 0.0, 0.0, 1.0], FLOAT)
    assert result.relative_rms is None
    assert not result.passed


def test_a_zero_reference_takes_zero_only() -> None:
    assert check([0.0] * 4, [0.0] * 4, FLOAT).passed
    assert not check([0.0, 0.0, 0.0, 0.1], [0.0] * 4, FLOAT).passed


def test_a_reference_with_one_value_proves_little() -> None:
    assert check([7, 7, 7, 7], [7, 7, 7, 7], INT8).constant
    assert not check([7, 7, 7, 8], [7, 7, 7, 8], INT8).constant


def test_the_worst_of_several_outputs_counts() -> None:
    both = Reference("XNNPACK", "2.3.0", [FLOAT, FLOAT], np.float32([1, 2, 3, 4, 1, 2, 3, 4]).tobytes())
    result = output_check.check(np.float32([1, 2, 3, 4, 9, 2, 3, 4]).tobytes(), both)
    assert not result.passed


def test_the_nearest_reference_judges() -> None:
    far = reference([9, 9, 9, 90], INT8)
    near = reference([1, 2, 3, 90], INT8)
    result = output_check.nearest(np.int8([1, 2, 3, 90]).tobytes(), [far, near])
    assert result.identical
