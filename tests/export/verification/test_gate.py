"""What of a quantized file counts as lost too much."""

from typing import Any

import pytest

from export.verification.gate import accuracy_faults
from export.verification.metrics import MetricRecord
from export.verification.parity import Parity


def parity(**changes: Any) -> Parity:
    values = {
        "relative_rms": 0.05, "sqnr_db": 26.0, "argmax_agreement": 0.9, "agreement_where_sure": 1.0, "sure": 20,
        "ties": 0.0, "kl_divergence": 0.01, "samples": 100, "compared_on": "evaluation data", "outputs": [],
    }  # fmt: skip
    return Parity(**values | changes)


@pytest.mark.parametrize(("sure", "missed", "refused"), [(3, 1, False), (3, 2, True), (100, 5, False), (100, 6, True)])
def test_a_miss_in_few_images_is_forgiven_and_a_share_of_many_is_not(sure: int, missed: int, refused: bool) -> None:
    found = parity(sure=sure, agreement_where_sure=1 - missed / sure)
    faults = accuracy_faults("int8", found, [], 1.0, None)
    assert [fault.startswith("it agrees with the float model on") for fault in faults] == [True] * refused


def row(drop: float, **changes: Any) -> MetricRecord:
    values = {
        "output": "o", "name": "sparse_categorical_accuracy", "higher_is_better": True, "float": 0.9,
        "file": 0.9 - drop / 100, "samples": 100, "decides": True, "unit": "points",
        "drop": drop, "low": drop - 0.3, "high": drop + 0.3,
    }  # fmt: skip
    return MetricRecord(**values | changes)


def test_labels_tell_more_than_agreement_does() -> None:
    assert accuracy_faults("int8", parity(agreement_where_sure=0.5), [row(0.4)], None, None) == []
    (fault,) = accuracy_faults("int8", parity(), [row(0.4)], 0.3, None)
    assert fault == "accuracy fell by 0.40 points (95 % interval 0.10 to 0.70, limit 0.3)"


def test_a_metric_is_judged_in_its_own_unit() -> None:
    error = row(2.0, name="mean_absolute_error", unit="", higher_is_better=False, float=150.0, file=152.0)
    assert accuracy_faults("int8", parity(), [error], 2.5, None) == []
    (fault,) = accuracy_faults("int8", parity(), [error], 1.5, None)
    assert fault == "mean_absolute_error of 'o' rose by 2 (95 % interval 1.7 to 2.3, limit 1.5)"
    (fault,) = accuracy_faults("int8", parity(), [error], None, None)
    assert fault.endswith("limit 1.5)")  # 1 % of what the model has
    unsure = row(3.0, low=None, high=None)
    assert accuracy_faults("int8", parity(), [unsure], None, None) == ["accuracy fell by 3.00 points (limit 1)"]


def test_every_metric_that_decides_can_refuse() -> None:
    rows = [row(0.2), row(4.0, name="mean_iou"), row(9.0, name="r2_score", decides=False)]
    (fault,) = accuracy_faults("int8", parity(), rows, None, None)
    assert fault.startswith("mean_iou of 'o' fell by 4.00 points")


def test_sqnr_has_a_floor_without_labels_alone() -> None:
    assert accuracy_faults("int8", parity(sqnr_db=9.0), [], None, None)
    assert not accuracy_faults("int8", parity(sqnr_db=9.0), [row(0.0)], None, None)
    assert accuracy_faults("int8", parity(sqnr_db=29.0), [row(0.0)], None, 30)
    assert not accuracy_faults("float16", parity(sqnr_db=9.0), [], None, None)
