"""Which layer of a file hurts: the error of each operation's tensor against the float graph."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from export.client import Worker
from export.data.samples import Inputs
from export.ir.graph import Graph
from export.ir.tensor_names import operations_of
from export.record import Record
from export.tflite_file.interpreter import Interpreter
from export.worker.protocol import CompareLayers

CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")


@dataclass(frozen=True, eq=False)
class LayerError(Record):
    """The error of an operation's tensor.

    Attributes:
        operation: its name.
        fused: those before it that TFLite computes with it, which have no tensor of their own.
        operator: TFLite's.
        sqnr_db: of the tensor, with all error that was made before it; None where there is no error.
        own_sqnr_db: of what the operation makes of the file's own inputs to it.
    """

    operation: str
    fused: list[str]
    operator: str
    sqnr_db: float | None
    own_sqnr_db: float | None


@dataclass(frozen=True, eq=False)
class LayerErrors(Record):
    """The errors in order of execution, over `samples` samples; `worst` and `worst_own` have the least SQNR."""

    samples: int
    rows: list[LayerError]
    worst: str | None
    worst_own: str | None


def layer_errors(graph: Graph, worker: Worker, path: str | os.PathLike[str], samples: Inputs) -> LayerErrors:
    """Compare a file with the graph that it was made of, operation by operation.

    Args:
        samples: (N, …) for each input. All activations are held in memory: a few will do.
    """
    interpreter = Interpreter(path, inspect=True)
    tensors = _tensors(graph, interpreter)
    names = list(tensors)
    found = interpreter.run(samples, [tensors[name][1] for name in names])
    powers = worker.run(CompareLayers(graph, dict(zip(names, found, strict=True)), samples)).powers
    rows = [
        LayerError(name, tensors[name][2], tensors[name][0], _decibels(signal, error), _decibels(own_signal, own_error))
        for name, (signal, error, own_signal, own_error) in zip(names, powers, strict=True)
    ]
    return LayerErrors(
        samples=len(samples[0]),
        rows=rows,
        worst=_least(rows, lambda row: row.sqnr_db),
        worst_own=_least(rows, lambda row: row.own_sqnr_db),
    )


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


def _least(rows: list[LayerError], sqnr_db: Callable[[LayerError], float | None]) -> str | None:
    known = [(value, row.operation) for row in rows if (value := sqnr_db(row)) is not None]
    return min(known)[1] if known else None
