"""Which nodes of a graph a delegate took."""

from __future__ import annotations

from typing import Any

import numpy as np

from android_bench.runners.python.runtime import Interpreter


def of_interpreter(interpreter: Interpreter) -> dict[str, Any]:
    """Return what `count` says of a loaded model.

    Python's runtimes have no public call that shows which nodes a delegate took; `_get_ops_details` has been in all
    of them since TensorFlow 2.5.
    """
    types = {int(each["index"]): np.dtype(each["dtype"]).name for each in interpreter.get_tensor_details()}
    return count(interpreter._get_ops_details(), types)


def count(operators: list[dict[str, Any]], tensor_types: dict[int, str]) -> dict[str, Any]:
    """Count the nodes of the graph and those that delegates took.

    A runtime appends one DELEGATE node a partition and leaves the nodes it replaces in the list. A partition's nodes
    are found by walking back from its outputs to its inputs through their producers.

    Args:
        operators: index, op_name, inputs and outputs of each node, DELEGATE nodes among them.
        tensor_types: name of the dtype by tensor index.

    Returns:
        nodes, delegated_nodes, partitions, integer_nodes (those with an int8 output) and undelegated_operators
        (sorted names), as the row has them.
    """
    nodes = [each for each in operators if each["op_name"] != "DELEGATE"]
    partitions = [each for each in operators if each["op_name"] == "DELEGATE"]
    producer = {int(tensor): each for each in nodes for tensor in each["outputs"]}
    delegated: set[int] = set()
    for partition in partitions:
        inputs = {int(tensor) for tensor in partition["inputs"]}
        waiting = [int(tensor) for tensor in partition["outputs"]]
        while waiting:
            node = producer.get(waiting.pop())
            if node is None or node["index"] in delegated:
                continue
            delegated.add(node["index"])
            waiting += [int(tensor) for tensor in node["inputs"] if int(tensor) not in inputs]
    remaining = sorted({each["op_name"] for each in nodes if each["index"] not in delegated})
    integer = sum(any(tensor_types.get(int(tensor)) == "int8" for tensor in each["outputs"]) for each in nodes)
    return {
        "nodes": len(nodes),
        "delegated_nodes": len(delegated),
        "partitions": len(partitions),
        "integer_nodes": integer,
        "undelegated_operators": remaining,
    }
