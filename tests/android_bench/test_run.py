"""The whole of `run` on this machine: real runtimes, real processes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from android_bench import results
from android_bench.__main__ import main
from android_bench.errors import InputError
from android_bench.jobs import Configuration, Job, Measurement
from android_bench.measure import Plan, measure
from android_bench.model_file import open_model
from android_bench.runners.python.machine import usable_cpus
from android_bench.targets.local import LocalTarget

pytestmark = pytest.mark.usefixtures("litert")
FEW = ["--runs", "3", "--warmup", "1", "--repeats", "2"]
LITERT = Configuration("litert", "xnnpack", 1)


def test_rows_hold_every_sample_and_the_proof(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Callable[..., int]
) -> None:
    output = tmp_path / "results.jsonl"
    assert run(models / "float32.tflite", models / "int8.tflite", *FEW, "--output", output) == 0
    rows = results.read(output)
    assert sorted((row.model, row.repeat) for row in rows) == [
        ("float32", 0),
        ("float32", 1),
        ("int8", 0),
        ("int8", 1),
    ]
    for row in rows:
        assert len(row.samples_us) == len(row.cpu_us) == 3
        assert row.output_check.identical
        assert row.nodes == row.delegated_nodes
        assert row.partitions == 1
        assert row.peak_rss_bytes > row.baseline_rss_bytes > 0
    assert {row.integer_nodes for row in rows if row.model == "float32"} == {0}
    assert len({row.run for row in rows}) == 1
    assert {row.order for row in rows} == {0, 1, 2, 3}
    assert f"4 rows appended to {output}" in capsys.readouterr().out


def test_built_in_kernels_agree_and_the_table_says_why_nothing_is_delegated(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Callable[..., int]
) -> None:
    output = tmp_path / "results.jsonl"
    assert run(models / "int8.tflite", "--delegate", "none", *FEW, "--output", output) == 0
    row = results.read(output)[0]
    assert (row.delegated_nodes, row.partitions) == (0, 0)
    assert row.nodes == row.integer_nodes > 4
    assert "no node of this int8 graph is delegated: no delegate was asked for" in capsys.readouterr().out


def test_tflite_runtime_runs_in_its_own_environment(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old_runtime_python: Path, run: Callable[..., int]
) -> None:
    output = tmp_path / "results.jsonl"
    words = ["--runtime", "tflite-runtime", "--tflite-runtime-python", old_runtime_python]
    assert run(models / "float32.tflite", models / "int8.tflite", *words, *FEW, "--output", output) == 0
    delegated = {row.model: (row.delegated_nodes == row.nodes, row.delegated_nodes) for row in results.read(output)}
    assert delegated["float32"][0]
    assert delegated["int8"] == (False, 0)
    assert "XNNPACK's int8 kernels switched off" in capsys.readouterr().out


@pytest.mark.slow
def test_tensorflow_computes_the_same(models: Path, tmp_path: Path, run: Callable[..., int]) -> None:
    output = tmp_path / "results.jsonl"
    assert run(models / "int8.tflite", "--runtime", "tensorflow", *FEW, "--output", output) == 0
    assert results.read(output)[0].output_check.passed


def test_without_counts_it_warms_up_and_takes_at_least_fifty_samples(models: Path, tmp_path: Path) -> None:
    target = LocalTarget()
    rows = list(measure(target, [open_model(models / "int8.tflite")], [LITERT], Plan(repeats=1), tmp_path / "r.jsonl"))
    assert 50 <= len(rows[0].samples_us) <= 1000
    assert rows[0].warmup_runs >= 10


def test_a_report_beside_the_file_joins_its_accuracy_if_the_hash_is_the_same(models: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes((models / "int8.tflite").read_bytes())
    digest = open_model(model).sha256
    report = tmp_path / "model.json"
    report.write_text(json.dumps({"sha256": digest, "mode": "int8", "accuracy": 0.97}))
    assert (open_model(model).mode, open_model(model).accuracy) == ("int8", 0.97)
    report.write_text(json.dumps({"sha256": "0" * 64, "mode": "int8", "accuracy": 0.97}))
    assert (open_model(model).mode, open_model(model).accuracy) == (None, None)


@pytest.mark.parametrize("runtime", ["litert", "native"])
def test_a_sustained_run_goes_on_beyond_the_usual_count(
    models: Path, tmp_path: Path, runtime: str, run: Callable[..., int]
) -> None:
    if runtime == "native" and shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    output = tmp_path / "results.jsonl"
    words = ["--runtime", runtime, "--seconds", "1", "--warmup", "0", "--repeats", "1", "--output", output]
    assert run(models / "int8.tflite", *words) == 0
    (row,) = results.read(output)
    assert len(row.samples_us) > 1000


@pytest.mark.parametrize("runtime", ["litert", "native"])
def test_a_mask_binds_the_process_to_its_cores(
    models: Path, tmp_path: Path, runtime: str, run: Callable[..., int]
) -> None:
    if runtime == "native" and shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    core = usable_cpus()[-1]
    output = tmp_path / "results.jsonl"
    words = ["--runtime", runtime, "--cpus", f"0x{1 << core:x}", *FEW, "--output", output]
    assert run(models / "int8.tflite", *words) == 0
    assert {tuple(row.cpus) for row in results.read(output)} == {(core,)}


class Cooling(LocalTarget):
    """This machine, which cools by 10 °C whenever it is asked for its temperature."""

    def __init__(self, start: float | None) -> None:
        super().__init__()
        self.readings = [start]

    def temperature(self) -> float | None:
        self.readings.append(None if self.readings[-1] is None else self.readings[-1] - 10)
        return self.readings[-1]


def test_a_hot_target_is_waited_for(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("android_bench.measure.COOLDOWN_STEP_SECONDS", 0)
    plan = Plan(1, runs=1, warmup=0, cooldown=45)
    target = Cooling(80.0)
    rows = list(measure(target, [open_model(models / "int8.tflite")], [LITERT], plan, tmp_path / "results.jsonl"))
    assert len(rows) == 1
    assert target.readings == [80, 70, 60, 50, 40]
    with pytest.raises(InputError, match="shows no temperature"):
        list(measure(Cooling(None), [open_model(models / "int8.tflite")], [LITERT], plan, tmp_path / "results.jsonl"))


def test_ctrl_c_keeps_what_was_measured(
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
) -> None:
    output = tmp_path / "results.jsonl"
    whole = LocalTarget.run
    calls = []

    def run_once(self: LocalTarget, job: Job) -> Measurement:
        calls.append(job)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return whole(self, job)

    monkeypatch.setattr(LocalTarget, "run", run_once)
    assert run(models / "int8.tflite", *FEW, "--output", output) == 130
    assert len(results.read(output)) == 1
    printed = capsys.readouterr()
    assert "1 row appended" in printed.out
    assert printed.err.startswith("interrupted:")


def test_a_dry_run_tells_and_measures_nothing(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "results.jsonl"
    words = ["run", str(models / "int8.tflite"), "--threads", "1", "2", "--repeats", "3", "--output", str(output)]
    assert main([*words, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "6 processes of half a second each, 2 configurations a model and target" in out
    assert not output.exists()
