"""What an output's columns are, as the graph tells it: classes of a softmax, probabilities, or other values."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from export.ir.graph import Graph

Kind = Literal["softmax", "logits", "probabilities", "values"]


@dataclass(frozen=True)
class Part:
    """Neighbouring columns (places on the last axis) of an output that were computed together.

    Attributes:
        start, stop: which they are.
        kind: "softmax" makes one distribution of them, and so will what follows "logits"; "probabilities" come from
            a sigmoid, each for itself; "values" are anything else, such as coordinates.
        source: the operation that computes them.
    """

    start: int
    stop: int
    kind: Kind
    source: str


@dataclass(frozen=True)
class DescribedOutput:
    """An output's name and its parts."""

    name: str
    parts: list[Part]

    @property
    def tells_classes(self) -> bool:
        """Whether all of it is scores of classes, of which there are several."""
        return len(self.parts) == 1 and self.parts[0].kind in ("softmax", "logits") and self.parts[0].stop > 1


def described(graph: Graph, names: Sequence[str], scores: Collection[str]) -> list[DescribedOutput]:
    """All outputs of a graph.

    Args:
        names: what the outputs are called, in the graph's order.
        scores: those that are known to be scores of classes, though no softmax follows.
    """
    return [
        DescribedOutput(name, _as_logits(parts(graph, output)) if name in scores else parts(graph, output))
        for name, output in zip(names, graph.outputs, strict=True)
    ]


def _as_logits(found: list[Part]) -> list[Part]:
    if any(part.kind != "values" for part in found):
        return found
    return [Part(0, found[-1].stop, "logits", found[-1].source)]


def parts(graph: Graph, output: str) -> list[Part]:
    """The parts of an output, through reshapes and concatenations, in order."""
    operation = graph.operations[output]
    columns = operation.shape[-1] if operation.shape else 1
    function = operation.function
    if function == "softmax":
        return [Part(0, columns, "softmax", output)]
    if function == "sigmoid":
        return [Part(0, columns, "probabilities", output)]
    if operation.kind == "reshape":
        given = graph.operations[operation.inputs[0]]
        if given.shape[-1:] == operation.shape[-1:]:
            return parts(graph, given.name)
        found = parts(graph, given.name)
        if len(found) == 1 and found[0].kind == "probabilities":  # each for itself, wherever it stands
            return [replace(found[0], stop=columns)]
    if operation.kind == "concatenate":
        inner = [parts(graph, name) for name in operation.inputs]
        if operation.attributes["axis"] == len(operation.shape):
            return _beside(inner)
        if len({tuple((part.start, part.stop, part.kind) for part in each) for each in inner}) == 1:
            return inner[0]
    return [Part(0, columns, "values", output)]


def _beside(inner: list[list[Part]]) -> list[Part]:
    found: list[Part] = []
    for each in inner:
        offset = found[-1].stop if found else 0
        found += [replace(part, start=offset + part.start, stop=offset + part.stop) for part in each]
    return found


def joining(graph: Graph, output: str) -> list[str]:
    """The operations at the end of an output that only put together what others computed, and reshape it."""
    operation = graph.operations[output]
    if operation.kind == "reshape":
        found = joining(graph, operation.inputs[0])
        return [*found, output] if found else []
    return [output] if operation.kind == "concatenate" else []
