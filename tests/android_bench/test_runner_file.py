"""The Python runner travels to boards with old Pythons, alone."""

import ast
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from android_bench.runners import python, python_runner
from android_bench.runners.python import delegation

SOURCES = sorted(Path(python.__file__).parent.glob("*.py"))


@pytest.fixture(scope="session")
def python_3_8() -> Path:
    """CPython 3.8, from PATH or from pyenv."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [shutil.which("python3.8"), *root.glob("versions/3.8.*/bin/python3.8")]
    for candidate in filter(None, candidates):
        told = subprocess.run([candidate, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True)
        if told.stdout.split() == [b"3", b"8"]:
            return Path(candidate)
    pytest.skip("Python 3.8 is not installed")


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_it_parses_as_python_3_8(source: Path) -> None:
    ast.parse(source.read_text(), feature_version=(3, 8))


def test_it_imports_numpy_the_standard_library_and_one_runtime_only() -> None:
    imported = set()
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module)
    foreign = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    ours = {name for name in foreign if name.startswith("android_bench.runners.python")}
    assert foreign - ours == {"numpy", "ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow"}


def test_python_3_8_runs_it(python_3_8: Path, runner: Path, tmp_path: Path) -> None:
    """NumPy is replaced by an empty module, for that Python need not have it: every module of ours is imported."""
    (tmp_path / "numpy.py").write_text("ndarray = object\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    process = subprocess.run([python_3_8, runner, "--describe"], capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stderr
    told = json.loads(process.stdout)
    assert told["device"]["cores"] == os.cpu_count()
    assert told["emulated"] is False
    words = ["--model", "none.tflite", "--runtime", "litert", "--output", tmp_path / "output"]
    process = subprocess.run([python_3_8, runner, *words], capture_output=True, text=True, env=environment)
    assert json.loads(process.stdout)["error"]["kind"] == "runtime"


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    """In another process, whose hash seed, clock and umask are others, and from a copy with other dates and modes."""
    package = tmp_path / "android_bench"
    shutil.copytree(Path(python.__file__).parent.parent.parent, package)
    for path in package.rglob("*.py"):
        path.chmod(0o600)
        os.utime(path, (1, 1))
    command = "import sys; from android_bench.runners import python_runner as r; sys.stdout.buffer.write(r.archive())"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    process = subprocess.run([sys.executable, "-c", command], capture_output=True, env=environment, cwd=tmp_path)
    assert process.stdout == python_runner.archive()


def test_it_holds_the_runner_and_nothing_else_of_ours(runner: Path) -> None:
    with zipfile.ZipFile(runner) as file:
        names = set(file.namelist())
    parents = {"__main__.py", "android_bench/__init__.py", "android_bench/runners/__init__.py"}
    assert names == parents | {f"android_bench/runners/python/{source.name}" for source in SOURCES}


def node(index: int, name: str, inputs: list[int], outputs: list[int]) -> dict[str, object]:
    return {"index": index, "op_name": name, "inputs": inputs, "outputs": outputs}


CHAIN = [
    node(0, "CONV_2D", [0, 10], [1]),
    node(1, "SOFTMAX", [1], [2]),
    node(2, "CONV_2D", [2, 11], [3]),
    node(3, "ADD", [3, 1], [4]),
]


@pytest.mark.parametrize(
    ("partitions", "delegated", "remaining"),
    [
        ([], 0, ["ADD", "CONV_2D", "SOFTMAX"]),
        ([node(4, "DELEGATE", [0, 10, 11], [4])], 4, []),
        ([node(4, "DELEGATE", [0, 10], [1]), node(5, "DELEGATE", [2, 1, 11], [4])], 3, ["SOFTMAX"]),
        ([node(4, "DELEGATE", [2, 1, 11], [4])], 2, ["CONV_2D", "SOFTMAX"]),
    ],
)
def test_delegated_nodes_are_those_between_a_partitions_inputs_and_outputs(
    partitions: list[dict[str, object]], delegated: int, remaining: list[str]
) -> None:
    counts = delegation.count(CHAIN + partitions, {1: "int8", 2: "int8", 3: "float32", 4: "float32"})
    assert counts == {
        "nodes": 4,
        "delegated_nodes": delegated,
        "partitions": len(partitions),
        "integer_nodes": 2,
        "undelegated_operators": remaining,
    }
