"""What of a quantized file counts as lost too much."""

import pytest

from export.verification.gate import accuracy_faults
from export.verification.parity import Parity


def parity(**changes) -> Parity:
    values = {
        "relative_rms": 0.05, "sqnr_db": 26.0, "argmax_agreement": 0.9, "agreement_where_sure": 1.0, "sure": 20,
        "ties": 0.0, "kl_divergence": 0.01, "samples": 100,
    }  # fmt: skip
    return Parity(**values | changes)


@pytest.mark.parametrize(("sure", "missed", "refused"), [(3, 1, False), (3, 2, True), (100, 5, False), (100, 6, True)])
def test_a_miss_in_few_images_is_forgiven_and_a_share_of_many_is_not(sure: int, missed: int, refused: bool) -> None:
    found = parity(sure=sure, agreement_where_sure=1 - missed / sure)
    faults = accuracy_faults("int8", found, None, 1.0, None)
    assert [fault.startswith("it agrees with the float model on") for fault in faults] == [True] * refused


def test_labels_tell_more_than_agreement_does() -> None:
    drop = {"points": 0.4, "low": 0.1, "high": 0.7, "lost": 60, "won": 20}
    assert accuracy_faults("int8", parity(agreement_where_sure=0.5), drop, 1.0, None) == []
    (fault,) = accuracy_faults("int8", parity(), drop, 0.3, None)
    assert fault == "accuracy fell by 0.40 points (95 % interval 0.10 to 0.70, limit 0.3)"


def test_sqnr_has_a_floor_without_labels_alone() -> None:
    drop = {"points": 0.0, "low": 0.0, "high": 0.0, "lost": 0, "won": 0}
    assert accuracy_faults("int8", parity(sqnr_db=9.0), None, 1.0, None)
    assert not accuracy_faults("int8", parity(sqnr_db=9.0), drop, 1.0, None)
    assert accuracy_faults("int8", parity(sqnr_db=29.0), drop, 1.0, 30)
    assert not accuracy_faults("float16", parity(sqnr_db=9.0), None, 1.0, None)
