"""What `run` refuses on this machine, and what it keeps of what it measured before."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from android_bench import processes, results
from android_bench.commands import refuse_disturbance
from android_bench.errors import InputError, RefusedError
from android_bench.jobs import Configuration, Job, Measurement
from android_bench.measure import Plan, measure
from android_bench.model_file import open_model
from android_bench.results import Row
from android_bench.runners import protocol
from android_bench.targets.local import LocalTarget

pytestmark = pytest.mark.usefixtures("litert")
FEW = ["--runs", "3", "--warmup", "1", "--repeats", "2"]
LITERT = Configuration("litert", "xnnpack", 1)


def test_an_operator_newer_than_the_runtime_is_named_and_the_rest_is_kept(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old_runtime_python: Path, run: Callable[..., int]
) -> None:
    output = tmp_path / "results.jsonl"
    words = ["--runtime", "tflite-runtime", "--tflite-runtime-python", old_runtime_python]
    assert run(models / "dynamic.tflite", models / "float32.tflite", *words, *FEW, "--output", output) == 2
    assert {row.model for row in results.read(output)} == {"float32"}
    error = capsys.readouterr().err.strip()
    assert "does not know FULLY_CONNECTED version 12" in error
    assert "\n" not in error


def test_an_operator_that_no_runtime_knows_is_named(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Callable[..., int]
) -> None:
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


def test_a_c_library_older_than_the_runtime_is_named(models: Path) -> None:
    job = Job(open_model(models / "int8.tflite"), LITERT, None, 1, 0, 60)
    message = "/lib/libc.so.6: version `GLIBC_2.34' not found (required by libLiteRt.so)"
    document = json.dumps({"error": {"kind": "runtime", "message": message}})
    process = subprocess.CompletedProcess([], 1, document.encode(), b"")
    with pytest.raises(InputError, match=r"needs GLIBC_2\.34, and its C library is older; take tflite-runtime"):
        protocol.read_document(job, process, "ssh:pi")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), (b"", "is empty"), (b"PK\3\4 not a model", "not a TFLite file")],
)
def test_a_file_that_is_no_model_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, message: str, run: Callable[..., int]
) -> None:
    model = tmp_path / "model.tflite"
    if content is not None:
        model.write_bytes(content)
    assert run(model, "--output", tmp_path / "out" / "results.jsonl") == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_a_cut_off_model_is_refused_and_earlier_rows_are_kept(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Callable[..., int]
) -> None:
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
def test_what_cannot_run_is_refused_in_one_line(
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
    run: Callable[..., int],
) -> None:
    output = tmp_path / "results.jsonl"
    assert run(models / "int8.tflite", *words, "--output", output) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not output.exists()


def test_a_python_without_the_runtime_says_how_to_get_it(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Callable[..., int]
) -> None:
    output = tmp_path / "results.jsonl"
    words = ["--runtime", "tflite-runtime", "--tflite-runtime-python", sys.executable, *FEW]
    assert run(models / "int8.tflite", *words, "--output", output) == 2
    assert "pip install tflite-runtime" in capsys.readouterr().err


class Device(LocalTarget):
    """This machine, with a fault in what comes back."""

    name = "faulty"

    def __init__(self, fault: Callable[[Measurement], Measurement] | None) -> None:
        super().__init__()
        self.fault = fault

    def run(self, job: Job) -> Measurement:
        return self.fault(super().run(job))


def test_this_machine_is_measured_alone(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Callable[..., int]
) -> None:
    twice = ["--target", "local", "--target", "local"]
    assert run(*twice, models / "int8.tflite", *FEW, "--output", tmp_path / "results.jsonl") == 0
    assert len(results.read(tmp_path / "results.jsonl")) == 2
    with pytest.raises(InputError, match="run it on its own"):
        refuse_disturbance([LocalTarget(), Device(None)])
    with pytest.raises(InputError, match="named twice"):
        refuse_disturbance([Device(None), Device(None)])


def measured(target: LocalTarget, models: Path, tmp_path: Path) -> list[Row]:
    files = [open_model(models / name) for name in ("float32.tflite", "int8.tflite")]
    return list(measure(target, files, [LITERT], Plan(2, runs=2, warmup=0), tmp_path / "results.jsonl"))


def test_a_wrong_output_withholds_its_latency_and_keeps_the_others(models: Path, tmp_path: Path) -> None:
    def wrong_integers(measurement: Measurement) -> Measurement:
        if measurement.document.outputs[0].dtype != "int8":
            return measurement
        output = np.frombuffer(measurement.output, np.int8)
        return Measurement(measurement.document, np.roll(output, 1).tobytes())

    with pytest.raises(RefusedError, match="its latency is withheld") as caught:
        measured(Device(wrong_integers), models, tmp_path)
    assert "int8.tflite" in str(caught.value)
    assert "float32.tflite" not in str(caught.value)
    assert [row.model for row in results.read(tmp_path / "results.jsonl")] == ["float32", "float32"]


def test_a_file_that_changes_under_way_gets_no_row(models: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes((models / "int8.tflite").read_bytes())

    def replace_file(measurement: Measurement) -> Measurement:
        model.write_bytes((models / "float32.tflite").read_bytes())
        return measurement

    with pytest.raises(InputError, match="changed while it was measured"):
        list(measure(Device(replace_file), [open_model(model)], [LITERT], Plan(1, 1, 0), tmp_path / "results.jsonl"))
    assert not (tmp_path / "results.jsonl").exists()


def test_a_device_that_goes_away_leaves_the_rows_before_it(models: Path, tmp_path: Path) -> None:
    calls = []

    def vanish(measurement: Measurement) -> Measurement:
        calls.append(measurement)
        if len(calls) > 1:
            raise InputError("device offline")
        return measurement

    with pytest.raises(InputError, match="device offline"):
        measured(Device(vanish), models, tmp_path)
    assert len(results.read(tmp_path / "results.jsonl")) == 1


def test_a_model_that_asks_for_more_memory_than_there_is_ends_its_own_process_only(
    models: Path,
    tmp_path: Path,
    run: Callable[..., int],
    complaint: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flatbuffers = pytest.importorskip("flatbuffers")
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    monkeypatch.setattr(processes, "free_memory", lambda: 2**30)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs((models / "float32.tflite").read_bytes(), 0))
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].shape = [1, 12_000, 12_000, 3]
    builder = flatbuffers.Builder(2**20)
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "vast.tflite").write_bytes(bytes(builder.Output()))
    assert run(tmp_path / "vast.tflite", "--output", tmp_path / "results.jsonl") == 2
    assert "vast.tflite" in complaint()


def test_what_is_free_here_is_the_limit() -> None:
    free = processes.free_memory()
    assert free is not None
    told = "print(*(resource.getrlimit(each)[0] for each in (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE)))"
    done = processes.run([sys.executable, "-c", f"import resource; input(); {told}"], 60, b"\n", memory=free)
    assert done.stdout.split() == [str(free).encode(), str(processes.MOST_OUTPUT_BYTES).encode()]
