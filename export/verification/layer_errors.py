"""Which layer of a file hurts: the error of each operation's tensor against the float graph."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from export.client import Worker
from export.data.samples import Inputs
from export.ir.graph import Graph
from export.ir.tensor_names import operations_of
from export.tflite_file.interpreter import Interpreter
from export.worker.protocol import CompareLayers

CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")


def layer_errors(graph: Graph, worker: Worker, path: str | os.PathLike[str], samples: Inputs) -> dict[str, Any]:
    """Compare a file with the graph that it was made of, operation by operation.

    Args:
        samples: (N, …) for each input. All activations are held in memory: a few will do.

    Returns:
        `samples`, their number; `rows` in order of execution: `operation` (and `fused`, those before it that
        have no tensor of their own), `operator`, `sqnr_db` of the tensor, with all error made before it,
        and `own_sqnr_db`, of what the operation makes of the file's own inputs to it; None where there is
        no error. `worst` and `worst_own` name the operations with the least of each.
    """
    interpreter = Interpreter(path, inspect=True)
    tensors = _tensors(graph, interpreter)
    names = list(tensors)
    found = interpreter.run(samples, [tensors[name][1] for name in names])
    powers = worker.run(CompareLayers(graph, dict(zip(names, found, strict=True)), samples)).powers
    rows = [
        {
            "operation": name,
            "fused": tensors[name][2],
            "operator": tensors[name][0],
            "sqnr_db": _decibels(signal, error),
            "own_sqnr_db": _decibels(own_signal, own_error),
        }
        for name, (signal, error, own_signal, own_error) in zip(names, powers, strict=True)
    ]
    return {
        "samples": len(samples[0]),
        "rows": rows,
        "worst": _least(rows, "sqnr_db"),
        "worst_own": _least(rows, "own_sqnr_db"),
    }


def _tensors(graph: Graph, interpreter: Interpreter) -> dict[str, tuple[str, int, list[str]]]:
    """For each operation that has a tensor in the file: its operator, the tensor's index, and what is fused."""
    outputs = interpreter.output_names
    of_inputs = {port.index: name for port, name in zip(interpreter.inputs, graph.inputs, strict=True)}
    found: dict[str, tuple[str, int, list[str]]] = {name: ("INPUT", index, []) for index, name in of_inputs.items()}
    for operator, index, tensor, shape in interpreter.computed():
        *fused, name = operations_of(graph, tensor, outputs) or [""]
        if name and shape[1:] == graph.operations[name].shape and (operator not in CONVERSIONS or name not in found):
            found[name] = (operator, index, fused)
    return {
        name: found[name] for name, operation in graph.operations.items() if name in found and operation.quantizable
    }


def _decibels(signal: float, error: float) -> float | None:
    return round(float(10 * np.log10(signal / error)), 2) if signal and error else None


def _least(rows: list[dict[str, Any]], column: str) -> str | None:
    known = [row for row in rows if row[column] is not None]
    return min(known, key=lambda row: row[column])["operation"] if known else None
