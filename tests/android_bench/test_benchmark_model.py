"""A double stands for benchmark_model, of which no build can be had here.

It is a shell script that checks its flags, prints what the real tool prints (by its source and by outputs that
were published), and writes the bytes it was made with. Nothing in these tests ran the real tool.
"""

import hashlib
import http.server
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from android_bench import compare, results
from android_bench.__main__ import main
from android_bench.document import Tensor
from android_bench.errors import InputError
from android_bench.jobs import Graph
from android_bench.results import Row
from android_bench.runners import benchmark_model, benchmark_model_output
from android_bench.runners.python.machine import usable_cpus
from android_bench.testing import TestBoard, missing_board_tools

FEW = ["--runs", "7", "--warmup", "2", "--repeats", "1"]
OLDEST = """count=3 first=900 curr=700 min=650 max=900 avg=750 std=100
count=50 first=700 curr=810 min=640 max=990 avg=720.5 std=60
Average inference timings in us: Warmup: 750, Init: 4200, no stats: 720.5
"""
OLD = """INFO: count=3 first=900 curr=700 min=650 max=900 avg=750 std=100
INFO: count=50 first=700 curr=810 min=640 max=990 avg=720.5 std=60
INFO: Inference timings in us: Init: 4200, First inference: 900, Warmup (avg): 750, Inference (avg): 720.5
"""
PERCENTILES = OLD.replace("std=60", "std=60 p5=641 median=701 p95=880")
BLOCK = """INFO: [benchmark_litert_model.h:93]
========== BENCHMARK RESULTS ==========
INFO: [benchmark_litert_model.h:94] Model initialization: 4.20 ms
INFO: [benchmark_litert_model.h:95] Warmup (first):       0.90 ms
INFO: [benchmark_litert_model.h:97] Warmup (avg):         0.75 ms (3 runs)
INFO: [benchmark_litert_model.h:99] Inference (avg):      0.72 ms (50 runs)
INFO: [benchmark_litert_model.h:103] Inference (min):      0.64 ms
INFO: [benchmark_litert_model.h:105] Inference (max):      0.99 ms
INFO: [benchmark_litert_model.h:107] Inference (std):      0.06
"""
APPLIED = "INFO: Explicitly applied {} delegate, and the model graph will be completely executed by the delegate.\n"
WITHOUT_OUTPUT = "--input_layer=a --input_layer_shape=1 --input_layer_value_files=a:b --output_filepath=c"


def floats(**values: float) -> bytes:
    """The bytes of a message of 32-bit floats, by field number."""
    return b"".join(bytes([int(name[1:]) << 3 | 5]) + struct.pack("<f", value) for name, value in values.items())


def message(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


LATENCIES = floats(f1=0.7205, f2=0.64, f3=0.99, f4=0.06, f5=0.701, f6=0.641, f7=0.88, f8=4.2, f9=0.9, f10=0.75)
RESULT = message(1, b"x") + message(2, LATENCIES) + message(4, floats(f1=0.1) + b"\x10\x96\x01\x18\x03")


def run(program: Path, *words: object) -> int:
    return main(["run", *map(str, words), "--runtime", "benchmark_model", "--benchmark-binary", str(program)])


def test_statistics_of_its_result_file_and_an_output_that_was_checked(
    double: Callable[..., Path], right: bytes, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results.jsonl"
    program = double(APPLIED.format("XNNPACK") + OLD, right, RESULT)
    assert run(program, models / "int8.tflite", *FEW, "--output", output) == 0
    (row,) = results.read(output)
    assert row.output_check.identical
    assert row.samples_us == []
    assert row.statistics.runs == 150
    assert row.statistics.median_us == pytest.approx(701)
    assert (row.p50_us, row.p90_us) == (pytest.approx(701), None)
    assert (row.init_us, row.first_us, row.warmup_runs) == (pytest.approx(4200), pytest.approx(900), 3)
    assert row.delegated_nodes == row.nodes == row.integer_nodes > 4
    assert row.runtime_version.startswith("sha256:")
    printed = capsys.readouterr().out
    assert "tells statistics and not its samples (mean 0.720 ms)" in printed
    assert main(["report", str(output), "--output", str(tmp_path / "report.html")]) == 0
    assert "No runtime told its samples" in (tmp_path / "report.html").read_text()


def test_its_flags_and_its_cores(double: Callable[..., Path], right: bytes, models: Path, tmp_path: Path) -> None:
    core = usable_cpus()[-1]
    program = double(APPLIED.format("XNNPACK") + OLD, right)
    flags = tmp_path / "flags"
    program.write_text(program.read_text().replace("exit 0", f'echo "$*" > {flags}; nproc >> {flags}'))
    words = ["--cpus", f"{1 << core:x}", "--delegate", "none", *FEW, "--output", tmp_path / "results.jsonl"]
    assert run(program, models / "int8.tflite", *words) == 0
    line, cores = flags.read_text().splitlines()
    assert cores == "1"
    assert {"--num_threads=1", "--num_runs=7", "--warmup_runs=2", "--min_secs=0.0", "--use_xnnpack=false"} <= set(
        line.split()
    )
    assert "--input_layer_shape=1,24,24,3 " in line
    (row,) = results.read(tmp_path / "results.jsonl")
    assert row.cpus == [core]
    assert (row.delegated_nodes, row.partitions) == (0, 0)


def test_a_wrong_output_withholds_the_latency(
    double: Callable[..., Path], right: bytes, models: Path, tmp_path: Path, complaint: Callable[[], str]
) -> None:
    output = tmp_path / "results.jsonl"
    program = double(APPLIED.format("XNNPACK") + OLD, right[1:] + right[:1], RESULT)
    assert run(program, models / "int8.tflite", *FEW, "--output", output) == 3
    assert "its latency is withheld" in complaint()
    assert not output.exists()


def test_without_its_output_it_counts_only_when_told_so(
    double: Callable[..., Path],
    models: Path,
    litert: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    complaint: Callable[[], str],
) -> None:
    output = tmp_path / "results.jsonl"
    program = double(f"WARN: Unconsumed cmdline flags: {WITHOUT_OUTPUT} --result_file_path=d\n{PERCENTILES}")
    assert run(program, models / "int8.tflite", *FEW, "--output", output) == 2
    assert "nothing shows what it computed" in complaint()
    assert not output.exists()
    assert run(program, models / "int8.tflite", "--unchecked", *FEW, "--output", output) == 0
    (row,) = results.read(output)
    assert row.output_check is None
    assert row.p50_us == 701
    assert "nothing shows that its output is right" in capsys.readouterr().out
    assert main(["report", str(output), "--output", str(tmp_path / "report.html")]) == 0
    assert ",unchecked," in (tmp_path / "report.csv").read_text()


def test_flags_that_it_ignores_are_named(
    double: Callable[..., Path], right: bytes, models: Path, tmp_path: Path, complaint: Callable[[], str]
) -> None:
    program = double(f"WARN: Unconsumed cmdline flags: --use_xnnpack=true --min_secs=0.0\n{OLD}", right)
    assert run(program, models / "int8.tflite", *FEW, "--output", tmp_path / "results.jsonl") == 2
    assert "ignores --min_secs, --use_xnnpack" in complaint()


def test_litert_2s_tool_takes_xnnpack_without_being_told(
    double: Callable[..., Path], models: Path, litert: None, tmp_path: Path
) -> None:
    output = tmp_path / "results.jsonl"
    program = double(f"WARN: Unconsumed cmdline flags: --use_xnnpack=true {WITHOUT_OUTPUT}\n", result=RESULT)
    assert run(program, models / "int8.tflite", "--unchecked", *FEW, "--output", output) == 0
    assert results.read(output)[0].p50_us == pytest.approx(701)


def test_a_gpu_that_it_did_not_use(
    double: Callable[..., Path], right: bytes, models: Path, tmp_path: Path, complaint: Callable[[], str]
) -> None:
    output = tmp_path / "results.jsonl"
    words = [models / "int8.tflite", "--delegate", "gpu", *FEW, "--output", output]
    assert run(double("WARN: GPU acceleration is unsupported on this platform.\n" + OLD, right), *words) == 2
    assert "does not say that it used the GPU" in complaint()
    assert run(double(APPLIED.format("GPU") + OLD, right), *words) == 0
    assert results.read(output)[0].delegate == "gpu"


def test_an_operator_that_it_does_not_know(
    double: Callable[..., Path], models: Path, litert: None, tmp_path: Path, complaint: Callable[[], str]
) -> None:
    text = "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '9'. An older version of this builtin\n"
    assert run(double(text, code=1), models / "int8.tflite", *FEW, "--output", tmp_path / "results.jsonl") == 2
    assert "does not know CONV_2D version 9" in complaint()


def test_the_first_error_says_why_it_failed(
    double: Callable[..., Path], models: Path, litert: None, tmp_path: Path, complaint: Callable[[], str]
) -> None:
    program = double("ERROR: Failed to allocate tensors!\nERROR: Benchmarking failed.\n", code=1)
    assert run(program, models / "int8.tflite", *FEW, "--output", tmp_path / "results.jsonl") == 2
    assert "ended with code 1: ERROR: Failed to allocate tensors!" in complaint()


@pytest.mark.parametrize(
    ("text", "result", "words"),
    [("hello\n", b"", "no timings that are known"), (OLD, RESULT[:20], "cut off or damaged")],
)
def test_what_it_says_makes_no_sense(
    double: Callable[..., Path],
    right: bytes,
    models: Path,
    tmp_path: Path,
    text: str,
    result: bytes,
    words: str,
    complaint: Callable[[], str],
) -> None:
    program = double(text, right, result)
    assert run(program, models / "int8.tflite", *FEW, "--output", tmp_path / "results.jsonl") == 2
    assert words in complaint()


def test_the_program_must_be_named_and_used(models: Path, tmp_path: Path, complaint: Callable[[], str]) -> None:
    model = str(models / "int8.tflite")
    assert main(["run", model, "--runtime", "benchmark_model"]) == 2
    assert "--benchmark-binary" in complaint()
    assert main(["run", model, "--benchmark-binary", "/bin/true"]) == 2
    assert "add --runtime benchmark_model" in complaint()
    assert run(tmp_path / "nothing", model) == 2
    assert "is no file" in complaint()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a folder, and the folder."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=folder)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


def test_it_is_fetched_once_and_only_with_its_digest(
    served: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = served
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (folder / "tool").write_bytes(b"binary")
    digest = hashlib.sha256(b"binary").hexdigest()
    with pytest.raises(InputError, match="needs the digest"):
        benchmark_model.open_program(f"{address}/tool")
    with pytest.raises(InputError, match="does not have the digest 0000"):
        benchmark_model.open_program(f"{address}/tool#sha256={'0' * 64}")
    with pytest.raises(InputError, match=r"cannot be fetched .*404"):
        benchmark_model.open_program(f"{address}/none#sha256={digest}")
    assert not list(tmp_path.glob("cache/*/*"))
    program = benchmark_model.open_program(f"{address}/tool#sha256={digest}")
    assert program.path.read_bytes() == b"binary"
    (folder / "tool").unlink()
    assert benchmark_model.open_program(f"{address}/tool#sha256={digest}") == program


@pytest.mark.parametrize(
    ("text", "median", "p95", "minimum"),
    [(OLDEST, None, None, 640), (OLD, None, None, 640), (PERCENTILES, 701, 880, 640), (BLOCK, None, None, 640)],
)
def test_every_form_of_its_text(text: str, median: float | None, p95: float | None, minimum: float) -> None:
    timings = benchmark_model_output.from_text(text)
    assert (timings.init_us, timings.first_us, timings.warmup_runs) == (4200, 900, 3)
    told = timings.statistics
    assert (told.runs, told.median_us, told.p95_us, told.minimum_us) == (50, median, p95, minimum)
    assert told.mean_us == pytest.approx(720.5, abs=0.6)


def test_runs_that_all_took_the_same() -> None:
    timings = benchmark_model_output.from_text(
        "count=1 curr=9\ncount=2 curr=7 (all same)\nAverage inference timings in us: Warmup: 9, Init: 4, Inference: 7\n"
    )
    assert (timings.first_us, timings.statistics.minimum_us, timings.statistics.maximum_us) == (9, 7, 7)


@pytest.mark.parametrize(
    ("text", "delegate", "counts"),
    [
        ("applied XNNPACK delegate, and the model graph will be completely executed", "xnnpack", (9, 1)),
        (
            "XNNPACK delegate, and the model graph will be partially executed w/ 3 delegate.",
            "xnnpack",
            (None, 3),
        ),
        ("Though XNNPACK delegate is explicitly applied, the model graph will not be executed", "xnnpack", (0, 0)),
        ("", "xnnpack", (None, None)),
        ("", "none", (0, 0)),
    ],
)
def test_what_it_says_of_delegation(text: str, delegate: str, counts: tuple[int | None, int | None]) -> None:
    told = benchmark_model_output.delegation(text, delegate, Graph((), 9, 0))
    assert (told.delegated_nodes, told.partitions) == counts


def test_each_of_several_inputs_gets_its_own_file(tmp_path: Path) -> None:
    inputs = [Tensor([1, 2, 3], "int8"), Tensor([1, 2], "float32")]
    (tmp_path / "all").write_bytes(bytes(range(14)))
    parts = benchmark_model._split(tmp_path / "all", Graph(inputs, 1, 0), tmp_path)
    assert [part.read_bytes() for part in parts] == [bytes(range(6)), bytes(range(6, 14))]
    assert benchmark_model._input_flags(Graph(inputs, 1, 0), ["/a:b", "/c"]) == {
        "input_layer": "input0,input1",
        "input_layer_shape": "1,2,3:1,2",
        "input_layer_value_files": "input0:/a::b,input1:/c",
    }


def test_rows_with_a_median_are_compared_and_those_without_refused(make_row: Callable[..., Row]) -> None:
    told = benchmark_model_output.from_text(PERCENTILES).statistics
    rows = [make_row(samples_us=[], statistics=told, repeat=number) for number in range(3)]
    (comparison,) = compare.compare(rows, rows, 0.05)
    assert comparison.verdict == "no change"
    without = [make_row(samples_us=[], statistics=replace(told, median_us=None))] * 3
    with pytest.raises(InputError, match="no median or minimum"):
        compare.compare(rows, without, 0.05)


@pytest.mark.skipif(bool(missing_board_tools()), reason=f"the test board needs {', '.join(missing_board_tools())}")
def test_on_a_board_that_has_no_runtime(
    double: Callable[..., Path], right: bytes, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = double(APPLIED.format("XNNPACK") + OLD, right, RESULT)
    output = tmp_path / "results.jsonl"
    with TestBoard() as board:
        monkeypatch.setenv("ANDROID_BENCH_SSH", board.ssh_command)
        words = ["--target", "ssh:board", "--remote-python", sys.executable, *FEW, "--output", output]
        assert run(program, models / "int8.tflite", *words) == 0
        assert not board.temporary_files()
    (row,) = results.read(output)
    assert row.target == "ssh:board"
    assert row.output_check.identical
    assert row.device.cores == os.cpu_count()
