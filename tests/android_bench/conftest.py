import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from android_bench import records, results
from android_bench.__main__ import main
from android_bench.document import Document
from android_bench.errors import InputError
from android_bench.runners import python_runner
from android_bench.targets.local import tflite_runtime_python

DOCUMENT = {
    "runtime_version": "2.3.0",
    "device": {
        "model": None,
        "cpu": "Cortex-A76",
        "architecture": "aarch64",
        "cores": 4,
        "os": "Debian",
        "kernel": "6.1",
        "governor": "performance",
    },
    "emulated": False,
    "cpus": [0, 1],
    "nodes": 6,
    "delegated_nodes": 6,
    "partitions": 1,
    "integer_nodes": 6,
    "undelegated_operators": [],
    "init_us": 900.0,
    "first_us": 60.0,
    "warmup_runs": 5,
    "steady": True,
    "samples_us": [500.0] * 50,
    "statistics": None,
    "cpu_us": [500.0] * 50,
    "baseline_rss_bytes": 40_000_000,
    "peak_rss_bytes": 50_000_000,
    "temperature": {"before": 40.0, "after": 41.0},
    "frequency": {"before": 2400.0, "after": 2400.0},
    "energy": None,
    "involuntary_switches": 0,
    "cpu_pressure": 0.0,
    "yardstick": None,
    "operators": None,
}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with float32.tflite and int8.tflite of one small network, and dynamic.tflite of a dense layer."""
    for package in ("tensorflow", "tf_keras"):
        pytest.importorskip(package, reason=f"{package} makes the models that these tests measure")
    folder = tmp_path_factory.mktemp("models")
    script = Path(__file__).parent / "make_models.py"
    subprocess.run([sys.executable, script, folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def run() -> Callable[..., int]:
    """`python -m android_bench run` with some words; gives its exit code."""
    return lambda *words: main(["run", *map(str, words)])


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Gives the one line of standard error since the last look."""

    def read() -> str:
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    return read


@pytest.fixture(scope="session")
def litert() -> None:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is the reference of every output check")


@pytest.fixture(scope="session")
def old_runtime_python() -> Path:
    """The Python of the environment that has tflite-runtime."""
    try:
        return tflite_runtime_python()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture
def double(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a double of benchmark_model: what it prints, writes and returns."""

    def build(text: str = "", output: bytes = b"", result: bytes = b"", code: int = 0) -> Path:
        def escaped(content: bytes) -> str:
            return "".join(f"\\{byte:03o}" for byte in content)

        path = tmp_path / "benchmark_model"
        path.write_text(
            "#!/bin/sh\n"
            'for word in "$@"; do case "$word" in\n'
            '  --output_filepath=*) output="${word#*=}" ;;\n'
            '  --result_file_path=*) result="${word#*=}" ;;\n'
            '  --input_layer_value_files=*) test -s "${word#*=input0:}" || exit 9 ;;\n'
            '  --graph=*) test -s "${word#*=}" || exit 8 ;;\n'
            "esac; done\n"
            f"cat <<'END'\n{text}END\n"
            'echo "INFO: flags $*"\n'
            + (f"printf '{escaped(output)}' > \"$output\"\n" if output else "")
            + (f"printf '{escaped(result)}' > \"$result\"\n" if result else "")
            + f"exit {code}\n"
        )
        return path

    return build


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that travels to boards."""
    path = tmp_path_factory.mktemp("runner") / "runner.pyz"
    path.write_bytes(python_runner.archive())
    return path


@pytest.fixture(scope="session")
def right(models: Path, litert: None, runner: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What int8.tflite gives on the fixed-seed noise."""
    path = tmp_path_factory.mktemp("right") / "output.bin"
    words = ["--model", models / "int8.tflite", "--runtime", "litert", "--runs", "1", "--warmup", "0"]
    subprocess.run([sys.executable, runner, *words, "--output", path], check=True, capture_output=True)
    return path.read_bytes()


@pytest.fixture
def make_document() -> Callable[..., Document]:
    """A function that returns a quiet runner's document with some fields changed."""
    return document


@pytest.fixture
def make_row() -> Callable[..., results.Row]:
    """A function that returns a valid row with some fields changed."""
    return row


def document(**changes: Any) -> Document:
    return records.decode(Document, {**DOCUMENT, **changes})


def row(**changes: Any) -> results.Row:
    known = {name: value for name, value in DOCUMENT.items() if name != "steady"}
    return records.decode(
        results.Row,
        {
            **known,
            "schema": results.SCHEMA,
            "run": "a",
            "time": "2026-11-22T12:00:00+00:00",
            "target": "local",
            "model": "lenet",
            "model_path": "lenet.tflite",
            "model_sha256": "0" * 64,
            "model_bytes": 100,
            "runtime": "litert",
            "delegate": "xnnpack",
            "threads": 1,
            "repeat": 0,
            "order": 0,
            "output_check": {
                "reference": "litert 2.3.0, XNNPACK kernels",
                "sha256": "1" * 64,
                "identical": True,
                "relative_rms": 0.0,
                "argmax_equal": True,
                "constant": False,
                "passed": True,
            },
            "noisy": [],
            "mode": None,
            "accuracy": None,
            **changes,
        },
    )
