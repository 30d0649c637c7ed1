"""The runner travels to boards with old Pythons, alone."""

import ast
import sys

import pytest

from android_bench.runners import python_runner
from android_bench.targets.local import RUNNER


def test_it_parses_as_python_3_8():
    ast.parse(RUNNER.read_text(), feature_version=(3, 8))


def test_it_imports_numpy_the_standard_library_and_one_runtime_only():
    imported = set()
    for node in ast.walk(ast.parse(RUNNER.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    runtimes = {"ai_edge_litert", "tflite_runtime", "tensorflow"}
    assert imported - set(sys.stdlib_module_names) == {"numpy"} | runtimes


def node(index, name, inputs, outputs):
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
def test_delegated_nodes_are_those_between_a_partitions_inputs_and_outputs(partitions, delegated, remaining):
    counts = python_runner.delegation(CHAIN + partitions, {1: "int8", 2: "int8", 3: "float32", 4: "float32"})
    assert counts == {
        "nodes": 4,
        "delegated_nodes": delegated,
        "partitions": len(partitions),
        "integer_nodes": 2,
        "undelegated_operators": remaining,
    }
