from collections.abc import Callable
from typing import Any

import pytest

from android_bench import noise
from android_bench.document import Document


def test_a_quiet_run_has_no_reason(make_document: Callable[..., Document]) -> None:
    assert noise.reasons(make_document(), threads=1) == []


@pytest.mark.parametrize(
    ("changes", "sign"),
    [
        ({"cpu_us": [400.0] * 50}, "shared its core"),
        ({"involuntary_switches": 9}, "pushed off its core"),
        ({"samples_us": [500.0] * 40 + [800.0] * 10}, "spread"),
        ({"cpu_pressure": 40.0}, "busy machine"),
        ({"steady": False}, "unsteady"),
        ({"frequency": {"before": 2400.0, "after": 1500.0}}, "throttled"),
        ({"temperature": {"before": 40.0, "after": 62.0}}, "heated"),
    ],
)
def test_each_sign_gives_its_reason(make_document: Callable[..., Document], changes: dict[str, Any], sign: str) -> None:
    samples = changes.get("samples_us", [500.0] * 50)
    (reason,) = noise.reasons(make_document(**{"cpu_us": samples, **changes}), threads=1)
    assert reason.startswith(f"{sign}:")


def test_processor_time_of_many_threads_says_nothing_about_sharing(make_document: Callable[..., Document]) -> None:
    assert noise.reasons(make_document(cpu_us=[900.0] * 50), threads=2) == []


def test_a_process_that_waits_for_the_gpu_shares_nothing(make_document: Callable[..., Document]) -> None:
    assert noise.reasons(make_document(cpu_us=[100.0] * 50), threads=1, on_gpu=True) == []


def test_sensors_that_a_machine_lacks_are_no_noise(make_document: Callable[..., Document]) -> None:
    nothing = {"before": None, "after": None}
    lacking = {"temperature": nothing, "frequency": nothing}
    quiet = make_document(**lacking, involuntary_switches=None, cpu_pressure=None, cpu_us=None)
    assert noise.reasons(quiet, threads=1) == []
