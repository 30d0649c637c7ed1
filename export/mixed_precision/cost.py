"""How long each operation takes on this CPU, in float and in int8: its share, measured in files of its own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.client import Worker
from export.ir.graph import Graph, Operation
from export.mixed_precision import latency
from export.quantization.scales import quantized_tensors
from export.tflite_file.interpreter import Interpreter

TYPICAL_RANGE = (-6.0, 6.0)


@dataclass(frozen=True)
class Costs:
    """Seconds in LiteRT at one thread.

    Attributes:
        in_float, in_int8: (units,).
        conversion, conversion_of_a_number: of a tensor from float to int8 or back, fixed and by its size.
    """

    in_float: np.ndarray
    in_int8: np.ndarray
    conversion: float
    conversion_of_a_number: float


def measure(graph: Graph, worker: Worker, units: Sequence[Sequence[str]], int8_seconds: float) -> Costs:
    """Time each unit of operations by itself, those of one shape once, and the whole graph in float.

    Alone an operation finds its data in the cache; so what all take together is scaled to what the graph takes.

    Args:
        int8_seconds: what the whole graph takes in int8.
    """
    parts = [_part(graph, unit) for unit in units]
    keys = [_shape(part) for part in parts]
    distinct = dict(zip(keys, parts, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "unit.tflite"

        def seconds(part: Graph, mode: str, io: str) -> float:
            ranges = _ranges(part) if mode == "int8" else None
            path.write_bytes(worker.convert(part, mode, io, ranges=ranges))
            return latency.fastest(Interpreter(path))

        in_float = {key: seconds(part, "float32", "float32") for key, part in distinct.items()}
        in_int8 = {key: seconds(part, "int8", "int8") for key, part in distinct.items()}
        small, large = (choose(distinct, key=lambda each: _numbers(distinct[each])) for choose in (min, max))
        float_seconds = seconds(graph, "float32", "float32")
        longer = {key: seconds(distinct[key], "int8", "float32") - in_int8[key] for key in {small, large}}
    fixed = max(longer[small], 0.0) / _edges(distinct[small])
    by_number = max(longer[large] - fixed * _edges(distinct[large]), 0.0) / _numbers(distinct[large])
    return Costs(
        _scaled([in_float[key] for key in keys], float_seconds),
        _scaled([in_int8[key] for key in keys], int8_seconds),
        fixed,
        by_number,
    )


def _scaled(seconds: Sequence[float], total: float) -> np.ndarray:
    return np.array(seconds) * total / sum(seconds)


def _part(graph: Graph, unit: Sequence[str]) -> Graph:
    """A unit as a graph: what it takes from elsewhere becomes an input."""
    own = {name: graph.operations[name] for name in unit}
    given = list(dict.fromkeys(name for each in own.values() for name in each.inputs if name not in own))
    inputs = {name: Operation(name, "input", [], graph.operations[name].shape) for name in given}
    return Graph("unit", inputs | own, given, [unit[-1]])


def _shape(part: Graph) -> str:
    """What its time depends on: everything but names and the values of weights."""
    order = {name: index for index, name in enumerate(part.operations)}
    return json.dumps(
        [
            [
                each.kind,
                [order[name] for name in each.inputs],
                each.shape,
                each.attributes,
                {role: array.shape for role, array in each.weights.items()},
            ]
            for each in part.operations.values()
        ]
    )


def _ranges(part: Graph) -> dict[str, tuple[float, float]]:
    return {name: part.operations[name].traits.fixed_range or TYPICAL_RANGE for name in quantized_tensors(part)}


def _edges(part: Graph) -> int:
    return len(part.inputs) + len(part.outputs)


def _numbers(part: Graph) -> int:
    """How many numbers are converted at its edges."""
    return sum(int(np.prod(part.operations[name].shape)) for name in [*part.inputs, *part.outputs])
