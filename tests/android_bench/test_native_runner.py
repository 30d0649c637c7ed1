"""The native runner on this machine, beside the Python one."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from android_bench import results
from android_bench.errors import InputError
from android_bench.jobs import Configuration, Job
from android_bench.model_file import open_model
from android_bench.runners.python.machine import usable_cpus
from android_bench.targets.local import LocalTarget

pytestmark = pytest.mark.usefixtures("litert")
FEW = ["--runs", "3", "--warmup", "1", "--repeats", "2"]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_the_native_runner_computes_and_counts_as_python_does(
    models: Path, tmp_path: Path, delegate: str, run: Callable[..., int]
) -> None:
    output = tmp_path / "results.jsonl"
    files = [models / "float32.tflite", models / "int8.tflite"]
    assert run(*files, "--runtime", "litert", "native", "--delegate", delegate, *FEW, "--output", output) == 0
    rows = {(row.model, row.runtime): row for row in results.read(output)}
    for model in ("float32", "int8"):
        python, native = rows[model, "litert"], rows[model, "native"]
        for field in ("nodes", "delegated_nodes", "partitions", "integer_nodes", "runtime_version", "device", "cpus"):
            assert getattr(native, field) == getattr(python, field), field
        assert native.output_check.sha256 == python.output_check.sha256
        assert len(native.samples_us) == len(native.cpu_us) == 3
        assert native.peak_rss_bytes < python.peak_rss_bytes
        assert {each.delegated for each in native.operators} == {delegate == "xnnpack"}
    built_in = {each.name for each in rows["int8", "native"].operators}
    if delegate == "none":
        assert built_in == {"CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "FULLY_CONNECTED"}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize("runtime", ["litert", "native"])
def test_the_yardstick_is_timed_between_samples_at_one_thread_alone(
    models: Path, tmp_path: Path, runtime: str, run: Callable[..., int]
) -> None:
    output = tmp_path / "results.jsonl"
    few = ["--runs", "200", "--warmup", "1", "--repeats", "1"]
    threads = ["1", "2"] if len(usable_cpus()) > 1 else ["1"]
    assert run(models / "float32.tflite", "--runtime", runtime, "--threads", *threads, *few, "--output", output) == 0
    rows = {row.threads: row for row in results.read(output)}
    after, bursts = rows[1].yardstick.after, rows[1].yardstick.bursts_us
    assert after[0] == 1
    assert after == sorted(set(after))
    assert after[-1] <= 200
    assert len(after) == len(bursts)
    assert rows[1].yardstick.kind.startswith("NumPy" if runtime == "litert" else "C (compiler")
    if 2 in rows:
        assert rows[2].yardstick is None


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_several_inputs_and_outputs_of_any_batch_keep_their_places(
    models: Path, tmp_path: Path, run: Callable[..., int]
) -> None:
    output = tmp_path / "results.jsonl"
    assert run(models / "several.tflite", "--runtime", "litert", "native", *FEW, "--output", output) == 0
    digests = {row.runtime: row.output_check.sha256 for row in results.read(output)}
    assert digests["native"] == digests["litert"]
    assert not results.read(output)[0].output_check.constant


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_the_native_runner_refuses_in_one_line_too(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Callable[..., int]
) -> None:
    output = tmp_path / "results.jsonl"
    assert run(models / "int8.tflite", "--runtime", "native", "--threads", "5000", "--output", output) == 2
    assert "5000 threads" in capsys.readouterr().err
    job = Job(
        open_model(models / "int8.tflite"), Configuration("native", "xnnpack", 1), models / "int8.tflite", 1, 0, 60
    )
    with pytest.raises(InputError, match="bytes of input"):
        LocalTarget().run(job)
    cut = tmp_path / "cut.tflite"
    cut.write_bytes((models / "int8.tflite").read_bytes()[:900])
    with pytest.raises(InputError, match="cut off or damaged"):
        LocalTarget().run(replace(job, model=open_model(cut)))


SWIFTSHADER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_the_gpu_is_refused_where_it_cannot_be_had(
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
) -> None:
    output = tmp_path / "results.jsonl"
    words = [models / "int8.tflite", "--delegate", "gpu", *FEW, "--output", output]
    assert run(*words) == 2
    assert "litert has no GPU here" in capsys.readouterr().err
    monkeypatch.setenv("VK_ICD_FILENAMES", "/nothing")
    assert run(*words, "--runtime", "native") == 2
    error = capsys.readouterr().err.strip()
    assert re.search("the GPU of local does not take it|LiteRT finds no GPU accelerator", error)
    assert "\n" not in error
    assert not output.exists()


@pytest.mark.skipif(not SWIFTSHADER.exists(), reason="Chromium's software GPU is not installed")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_a_gpu_computes_the_same(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., int]
) -> None:
    monkeypatch.setenv("VK_ICD_FILENAMES", str(SWIFTSHADER))
    (tmp_path / "libvulkan.so.1").symlink_to(SWIFTSHADER.parent / "libvulkan.so.1")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    output = tmp_path / "results.jsonl"
    files = [models / "float32.tflite", models / "int8.tflite"]
    assert run(*files, "--runtime", "native", "--delegate", "gpu", *FEW, "--output", output) == 0
    for row in results.read(output):
        assert row.output_check.relative_rms < 1e-3
        assert (row.delegate, row.delegated_nodes, row.operators) == ("gpu", row.nodes, None)
