"""The whole of `run` on this machine: real runtimes, real processes."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from android_bench import given_input, results
from android_bench.__main__ import main, refuse_disturbance
from android_bench.errors import InputError, Refused
from android_bench.jobs import Configuration, Job, Measurement
from android_bench.measure import Plan, measure
from android_bench.model_file import open_model
from android_bench.runners import protocol
from android_bench.targets.local import RUNNER, LocalTarget, usable_cpus

pytestmark = pytest.mark.usefixtures("litert")
FEW = ["--runs", "3", "--warmup", "1", "--repeats", "2"]
LITERT = Configuration("litert", "xnnpack", 1)


def run(*words):
    return main(["run", *map(str, words)])


def test_rows_hold_every_sample_and_the_proof(models, tmp_path, capsys):
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
        assert row.output_check["identical"]
        assert row.nodes == row.delegated_nodes
        assert row.partitions == 1
        assert row.peak_rss_bytes > row.baseline_rss_bytes > 0
    assert {row.integer_nodes for row in rows if row.model == "float32"} == {0}
    assert len({row.run for row in rows}) == 1
    assert {row.order for row in rows} == {0, 1, 2, 3}
    assert f"4 rows appended to {output}" in capsys.readouterr().out


def test_built_in_kernels_agree_and_the_table_says_why_nothing_is_delegated(models, tmp_path, capsys):
    output = tmp_path / "results.jsonl"
    assert run(models / "int8.tflite", "--delegate", "none", *FEW, "--output", output) == 0
    row = results.read(output)[0]
    assert (row.delegated_nodes, row.partitions) == (0, 0)
    assert row.nodes == row.integer_nodes > 4
    assert "no node of this int8 graph is delegated: no delegate was asked for" in capsys.readouterr().out


def test_tflite_runtime_runs_in_its_own_environment(models, tmp_path, capsys, old_runtime_python):
    output = tmp_path / "results.jsonl"
    words = ["--runtime", "tflite-runtime", "--tflite-runtime-python", old_runtime_python]
    assert run(models / "float32.tflite", models / "int8.tflite", *words, *FEW, "--output", output) == 0
    delegated = {row.model: (row.delegated_nodes == row.nodes, row.delegated_nodes) for row in results.read(output)}
    assert delegated["float32"][0]
    assert delegated["int8"] == (False, 0)
    assert "XNNPACK's int8 kernels switched off" in capsys.readouterr().out


def test_an_operator_newer_than_the_runtime_is_named_and_the_rest_is_kept(models, tmp_path, capsys, old_runtime_python):
    output = tmp_path / "results.jsonl"
    words = ["--runtime", "tflite-runtime", "--tflite-runtime-python", old_runtime_python]
    assert run(models / "dynamic.tflite", models / "float32.tflite", *words, *FEW, "--output", output) == 2
    assert {row.model for row in results.read(output)} == {"float32"}
    error = capsys.readouterr().err.strip()
    assert "does not know FULLY_CONNECTED version 12" in error
    assert "\n" not in error


def test_an_operator_that_no_runtime_knows_is_named(models, tmp_path, capsys):
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    model = schema.ModelT.InitFromPackedBuf((models / "int8.tflite").read_bytes())
    (code,) = [each for each in model.operatorCodes if each.builtinCode == schema.BuiltinOperator.FULLY_CONNECTED]
    code.version = 99
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "future.tflite").write_bytes(builder.Output())
    assert run(tmp_path / "future.tflite", *FEW, "--output", tmp_path / "results.jsonl") == 2
    error = capsys.readouterr().err.strip()
    assert "does not know FULLY_CONNECTED version 99" in error
    assert "\n" not in error
    assert not (tmp_path / "results.jsonl").exists()


def test_a_c_library_older_than_the_runtime_is_named(models):
    job = Job(open_model(models / "int8.tflite"), LITERT, None, 1, 0, 60)
    message = "/lib/libc.so.6: version `GLIBC_2.34' not found (required by libLiteRt.so)"
    document = json.dumps({"error": {"kind": "runtime", "message": message}})
    with pytest.raises(InputError, match=r"needs GLIBC_2\.34, and its C library is older; take tflite-runtime"):
        protocol.document(job, document, "", 1, "ssh:pi")


@pytest.mark.slow
def test_tensorflow_computes_the_same(models, tmp_path):
    output = tmp_path / "results.jsonl"
    assert run(models / "int8.tflite", "--runtime", "tensorflow", *FEW, "--output", output) == 0
    assert results.read(output)[0].output_check["passed"]


def test_without_counts_it_warms_up_and_takes_at_least_fifty_samples(models, tmp_path):
    target = LocalTarget()
    rows = list(measure(target, [open_model(models / "int8.tflite")], [LITERT], Plan(repeats=1), tmp_path / "r.jsonl"))
    assert 50 <= len(rows[0].samples_us) <= 1000
    assert rows[0].warmup_runs >= 10


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), (b"", "is empty"), (b"PK\3\4 not a model", "not a TFLite file")],
)
def test_a_file_that_is_no_model_is_refused_before_anything_is_written(tmp_path, capsys, content, message):
    model = tmp_path / "model.tflite"
    if content is not None:
        model.write_bytes(content)
    assert run(model, "--output", tmp_path / "out" / "results.jsonl") == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_a_cut_off_model_is_refused_and_earlier_rows_are_kept(models, tmp_path, capsys):
    output = tmp_path / "results.jsonl"
    assert run(models / "int8.tflite", *FEW, "--output", output) == 0
    before = output.read_bytes()
    whole = (models / "int8.tflite").read_bytes()
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    assert run(cut, *FEW, "--output", output) == 2
    assert "cut off or damaged" in capsys.readouterr().err
    assert output.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--threads", "5000"], "5000 threads on"),
        (["--cpus", "1", "--threads", "2"], "2 threads on 1 usable cores"),
        (["--cpus", "1" + "0" * 40], "cannot be used on this machine"),
        (["--cpus", "zz"], "no hexadecimal mask"),
        (["--runs", "0"], "not at least 1"),
        (["--runtime", "onnx"], "invalid choice"),
        (["--runtime", "tflite-runtime", "--tflite-runtime-python", "/nowhere/python"], "is no Python to run"),
    ],
)
def test_what_cannot_run_is_refused_in_one_line(models, tmp_path, capsys, words, message):
    output = tmp_path / "results.jsonl"
    assert run(models / "int8.tflite", *words, "--output", output) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not output.exists()


def test_a_python_without_the_runtime_says_how_to_get_it(models, tmp_path, capsys):
    output = tmp_path / "results.jsonl"
    words = ["--runtime", "tflite-runtime", "--tflite-runtime-python", sys.executable, *FEW]
    assert run(models / "int8.tflite", *words, "--output", output) == 2
    assert "pip install tflite-runtime" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_the_native_runner_computes_and_counts_as_python_does(models, tmp_path, delegate):
    output = tmp_path / "results.jsonl"
    files = [models / "float32.tflite", models / "int8.tflite"]
    assert run(*files, "--runtime", "litert", "native", "--delegate", delegate, *FEW, "--output", output) == 0
    rows = {(row.model, row.runtime): row for row in results.read(output)}
    for model in ("float32", "int8"):
        python, native = rows[model, "litert"], rows[model, "native"]
        for field in ("nodes", "delegated_nodes", "partitions", "integer_nodes", "runtime_version", "device", "cpus"):
            assert getattr(native, field) == getattr(python, field), field
        assert native.output_check["sha256"] == python.output_check["sha256"]
        assert len(native.samples_us) == len(native.cpu_us) == 3
        assert native.peak_rss_bytes < python.peak_rss_bytes
        assert {each["delegated"] for each in native.operators} == {delegate == "xnnpack"}
    built_in = {each["name"] for each in rows["int8", "native"].operators}
    if delegate == "none":
        assert built_in == {"CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "FULLY_CONNECTED"}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize("runtime", ["litert", "native"])
def test_the_yardstick_is_timed_between_samples_at_one_thread_alone(models, tmp_path, runtime):
    output = tmp_path / "results.jsonl"
    few = ["--runs", "200", "--warmup", "1", "--repeats", "1"]
    threads = ["1", "2"] if len(usable_cpus()) > 1 else ["1"]
    assert run(models / "float32.tflite", "--runtime", runtime, "--threads", *threads, *few, "--output", output) == 0
    rows = {row.threads: row for row in results.read(output)}
    after, bursts = rows[1].yardstick["after"], rows[1].yardstick["bursts_us"]
    assert after[0] == 1
    assert after == sorted(set(after))
    assert after[-1] <= 200
    assert len(after) == len(bursts)
    assert rows[1].yardstick["kind"].startswith("NumPy" if runtime == "litert" else "C (compiler")
    if 2 in rows:
        assert rows[2].yardstick is None


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_several_inputs_and_outputs_of_any_batch_keep_their_places(models, tmp_path):
    output = tmp_path / "results.jsonl"
    assert run(models / "several.tflite", "--runtime", "litert", "native", *FEW, "--output", output) == 0
    digests = {row.runtime: row.output_check["sha256"] for row in results.read(output)}
    assert digests["native"] == digests["litert"]
    assert not results.read(output)[0].output_check["constant"]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_the_native_runner_refuses_in_one_line_too(models, tmp_path, capsys):
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


def test_a_report_beside_the_file_joins_its_accuracy_if_the_hash_is_the_same(models, tmp_path):
    model = tmp_path / "model.tflite"
    model.write_bytes((models / "int8.tflite").read_bytes())
    digest = open_model(model).sha256
    report = tmp_path / "model.json"
    report.write_text(json.dumps({"sha256": digest, "mode": "int8", "accuracy": 0.97}))
    assert (open_model(model).mode, open_model(model).accuracy) == ("int8", 0.97)
    report.write_text(json.dumps({"sha256": "0" * 64, "mode": "int8", "accuracy": 0.97}))
    assert (open_model(model).mode, open_model(model).accuracy) == (None, None)


@pytest.mark.parametrize("runtime", ["litert", "native"])
def test_a_sustained_run_goes_on_beyond_the_usual_count(models, tmp_path, runtime):
    if runtime == "native" and shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    output = tmp_path / "results.jsonl"
    words = ["--runtime", runtime, "--seconds", "1", "--warmup", "0", "--repeats", "1", "--output", output]
    assert run(models / "int8.tflite", *words) == 0
    (row,) = results.read(output)
    assert len(row.samples_us) > 1000


def test_an_image_takes_the_place_of_noise_and_is_quantized_as_the_model_wants(models, tmp_path, capsys):
    output = tmp_path / "results.jsonl"
    image = np.linspace(0, 1, 24 * 24 * 3, dtype=np.float32).reshape(24, 24, 3)
    np.save(tmp_path / "image.npy", image)
    files = [models / "float32.tflite", models / "int8.tflite"]
    assert run(*files, *FEW, "--output", output) == 0
    assert run(*files, "--input", tmp_path / "image.npy", *FEW, "--output", output) == 0
    digests = {(row.model, row.output_check["sha256"]) for row in results.read(output)}
    assert len(digests) == 4
    np.save(tmp_path / "wide.npy", image[None, :, :20])
    np.save(tmp_path / "bytes.npy", np.zeros((24, 24, 3), np.uint8))
    (tmp_path / "text.npy").write_text("no numbers")
    for name, words in (
        ("wide", "shape (1, 24, 24, 3)"),
        ("bytes", "takes float32 input"),
        ("text", "is no .npy file"),
    ):
        capsys.readouterr()
        assert run(files[0], "--input", tmp_path / f"{name}.npy", *FEW, "--output", output) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("runtime", ["litert", "native"])
def test_a_mask_binds_the_process_to_its_cores(models, tmp_path, runtime):
    if runtime == "native" and shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    core = usable_cpus()[-1]
    output = tmp_path / "results.jsonl"
    words = ["--runtime", runtime, "--cpus", f"0x{1 << core:x}", *FEW, "--output", output]
    assert run(models / "int8.tflite", *words) == 0
    assert {tuple(row.cpus) for row in results.read(output)} == {(core,)}


SWIFTSHADER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_the_gpu_is_refused_where_it_cannot_be_had(models, tmp_path, capsys, monkeypatch):
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
def test_a_gpu_computes_the_same(models, tmp_path, monkeypatch):
    monkeypatch.setenv("VK_ICD_FILENAMES", str(SWIFTSHADER))
    (tmp_path / "libvulkan.so.1").symlink_to(SWIFTSHADER.parent / "libvulkan.so.1")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    output = tmp_path / "results.jsonl"
    files = [models / "float32.tflite", models / "int8.tflite"]
    assert run(*files, "--runtime", "native", "--delegate", "gpu", *FEW, "--output", output) == 0
    for row in results.read(output):
        assert row.output_check["relative_rms"] < 1e-3
        assert (row.delegate, row.delegated_nodes, row.operators) == ("gpu", row.nodes, None)


def test_floats_are_quantized_to_the_nearest_step_within_the_range():
    tensor = {"shape": [1, 3], "dtype": "int8", "scale": 0.5, "zero_point": -10}
    content = given_input.as_bytes(np.array([0.0, 1.3, 900.0]), [tensor], Path("model.tflite"))
    assert np.frombuffer(content, np.int8).tolist() == [-10, -7, 127]


class Cooling(LocalTarget):
    """This machine, which cools by 10 °C whenever it is asked for its temperature."""

    def __init__(self, start):
        super().__init__()
        self.readings = [start]

    def temperature(self):
        self.readings.append(None if self.readings[-1] is None else self.readings[-1] - 10)
        return self.readings[-1]


def test_a_hot_target_is_waited_for(models, tmp_path, monkeypatch):
    monkeypatch.setattr("android_bench.measure.COOLDOWN_STEP_SECONDS", 0)
    plan = Plan(1, runs=1, warmup=0, cooldown=45)
    target = Cooling(80.0)
    rows = list(measure(target, [open_model(models / "int8.tflite")], [LITERT], plan, tmp_path / "results.jsonl"))
    assert len(rows) == 1
    assert target.readings == [80, 70, 60, 50, 40]
    with pytest.raises(InputError, match="shows no temperature"):
        list(measure(Cooling(None), [open_model(models / "int8.tflite")], [LITERT], plan, tmp_path / "results.jsonl"))


def test_ctrl_c_keeps_what_was_measured(models, tmp_path, capsys, monkeypatch):
    output = tmp_path / "results.jsonl"
    whole = LocalTarget.run
    calls = []

    def run_once(self, job):
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


def test_this_machine_is_measured_alone(models, tmp_path, capsys):
    twice = ["--target", "local", "--target", "local"]
    assert run(*twice, models / "int8.tflite", *FEW, "--output", tmp_path / "results.jsonl") == 0
    assert len(results.read(tmp_path / "results.jsonl")) == 2
    with pytest.raises(InputError, match="run it on its own"):
        refuse_disturbance([LocalTarget(), Device(None)])
    with pytest.raises(InputError, match="named twice"):
        refuse_disturbance([Device(None), Device(None)])


class Device(LocalTarget):
    """This machine, with a fault in what comes back."""

    name = "faulty"

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def run(self, job):
        return self.fault(super().run(job))


def measured(target, models, tmp_path):
    rows = []
    files = [open_model(models / name) for name in ("float32.tflite", "int8.tflite")]
    try:
        for row in measure(target, files, [LITERT], Plan(2, runs=2, warmup=0), tmp_path / "results.jsonl"):
            rows.append(row)
    finally:
        target.rows = rows


def test_a_wrong_output_withholds_its_latency_and_keeps_the_others(models, tmp_path):
    def wrong_integers(measurement):
        if measurement.document["outputs"][0]["dtype"] != "int8":
            return measurement
        output = np.frombuffer(measurement.output, np.int8)
        return Measurement(measurement.document, np.roll(output, 1).tobytes())

    with pytest.raises(Refused, match="its latency is withheld") as caught:
        measured(Device(wrong_integers), models, tmp_path)
    assert "int8.tflite" in str(caught.value)
    assert "float32.tflite" not in str(caught.value)
    assert [row.model for row in results.read(tmp_path / "results.jsonl")] == ["float32", "float32"]


def test_a_file_that_changes_under_way_gets_no_row(models, tmp_path):
    model = tmp_path / "model.tflite"
    model.write_bytes((models / "int8.tflite").read_bytes())

    def replace_file(measurement):
        model.write_bytes((models / "float32.tflite").read_bytes())
        return measurement

    with pytest.raises(InputError, match="changed while it was measured"):
        list(measure(Device(replace_file), [open_model(model)], [LITERT], Plan(1, 1, 0), tmp_path / "results.jsonl"))
    assert not (tmp_path / "results.jsonl").exists()


def test_a_device_that_goes_away_leaves_the_rows_before_it(models, tmp_path):
    calls = []

    def vanish(measurement):
        calls.append(measurement)
        if len(calls) > 1:
            raise InputError("device offline")
        return measurement

    with pytest.raises(InputError, match="device offline"):
        measured(Device(vanish), models, tmp_path)
    assert len(results.read(tmp_path / "results.jsonl")) == 1


def test_the_runner_computes_on_the_input_it_is_given(models, tmp_path):
    def outputs(*words):
        path = tmp_path / "output.bin"
        command = [sys.executable, RUNNER, "--model", models / "float32.tflite", "--runtime", "litert"]
        process = subprocess.run(
            [*command, "--runs", "1", "--warmup", "0", "--output", path, *words], capture_output=True, text=True
        )
        return json.loads(process.stdout.splitlines()[-1]), path.read_bytes()

    zeros = tmp_path / "zeros.bin"
    zeros.write_bytes(bytes(24 * 24 * 3 * 4))
    _, noise = outputs("--save-input", tmp_path / "noise.bin")
    _, again = outputs("--input", tmp_path / "noise.bin")
    _, silence = outputs("--input", zeros)
    assert noise == again != silence
    zeros.write_bytes(b"12")
    document, _ = outputs("--input", zeros)
    assert document["error"]["kind"] == "input"
