import subprocess
import sys
from pathlib import Path

import pytest

from android_bench import results
from android_bench.errors import InputError
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
    "cpu_us": [500.0] * 50,
    "baseline_rss_bytes": 40_000_000,
    "peak_rss_bytes": 50_000_000,
    "temperature": {"before": 40.0, "after": 41.0},
    "frequency": {"before": 2400.0, "after": 2400.0},
    "involuntary_switches": 0,
    "cpu_pressure": 0.0,
    "operators": None,
}


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder with float32.tflite and int8.tflite of one small network, and dynamic.tflite of a dense layer."""
    for package in ("tensorflow", "tf_keras"):
        pytest.importorskip(package, reason=f"{package} makes the models that these tests measure")
    folder = tmp_path_factory.mktemp("models")
    script = Path(__file__).parent / "make_models.py"
    subprocess.run([sys.executable, script, folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def litert():
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is the reference of every output check")


@pytest.fixture(scope="session")
def old_runtime_python():
    """The Python of the environment that has tflite-runtime."""
    try:
        return tflite_runtime_python()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture
def make_document():
    """A function that returns a quiet runner's document with some fields changed."""
    return document


@pytest.fixture
def make_row():
    """A function that returns a valid row with some fields changed."""
    return row


def document(**changes):
    return {**DOCUMENT, **changes}


def row(**changes):
    known = {name: value for name, value in DOCUMENT.items() if name != "steady"}
    return results.Row(
        **{
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
        }
    )
