"""The calls that make up a functional Keras model, in order of execution, nested models opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class Tensor:
    """A value in the graph: its number, its shape (batch first, None where open) and dtype."""

    number: int
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Call:
    """One use of a layer or operation. In `args` and `kwargs` stand `Tensor`s for tensors.

    `scope` holds the names of the nested models around the call, outermost first.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    scope: tuple[str, ...] = ()


@dataclass(frozen=True)
class Walk:
    """The whole graph of a model."""

    calls: tuple[Call, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def is_graph(value: Any) -> bool:
    """Whether `value` is a model whose calls can be walked: functional, or Sequential and built."""
    return isinstance(value, keras.Model) and bool(getattr(value, "inputs", None))


def walk(model: keras.Model) -> Walk:
    """Follow the outputs of a functional or built Sequential model back to its inputs.

    Raises:
        ValueError: the model is subclassed or not built, so it has no graph.
    """
    if not is_graph(model):
        raise ValueError(
            f"{getattr(model, 'name', model)!r} has no graph; it takes a functional or Sequential model "
            "with a known input shape"
        )
    calls: list[Call] = []
    count = 0

    def number(tensor: keras.KerasTensor) -> Tensor:
        nonlocal count
        count += 1
        return Tensor(count - 1, tuple(tensor.shape), str(tensor.dtype))

    def visit(graph: keras.Model, arguments: list[Tensor], scope: tuple[str, ...]) -> list[Tensor]:
        known = {id(tensor): value for tensor, value in zip(graph.inputs, arguments, strict=True)}
        for node in _nodes(graph):
            args = _resolved(node.arguments.args, known.__getitem__)
            kwargs = _resolved(node.arguments.kwargs, known.__getitem__)
            inputs = tuple(known[id(tensor)] for tensor in node.input_tensors)
            if is_graph(node.operation):
                outputs = visit(node.operation, list(inputs), (*scope, node.operation.name))
            else:
                outputs = [number(tensor) for tensor in node.output_tensors]
                calls.append(Call(node.operation, args, kwargs, inputs, tuple(outputs), scope))
            known.update((id(tensor), value) for tensor, value in zip(node.output_tensors, outputs, strict=True))
        return [known[id(tensor)] for tensor in graph.outputs]

    inputs = [number(tensor) for tensor in model.inputs]
    outputs = visit(model, inputs, ())
    return Walk(tuple(calls), tuple(inputs), tuple(outputs))


def _nodes(model: keras.Model) -> list[Any]:
    """The nodes between a model's own inputs and outputs, each after those it needs."""
    order: list[Any] = []
    seen: set[int] = {id(tensor) for tensor in model.inputs}
    pending: list[tuple[Any, bool]] = [(tensor, False) for tensor in reversed(model.outputs)]
    while pending:
        tensor, ready = pending.pop()
        if id(tensor) in seen:
            continue
        operation, node_index, _ = tensor._keras_history
        node = operation._inbound_nodes[node_index]
        if ready:
            order.append(node)
            seen.update(id(output) for output in node.output_tensors)
        else:
            pending.append((tensor, True))
            pending.extend((needed, False) for needed in reversed(node.input_tensors))
    return order


def _resolved(structure: Any, lookup: Callable[[int], Tensor]) -> Any:
    return keras.tree.map_structure(
        lambda leaf: lookup(id(leaf)) if isinstance(leaf, keras.KerasTensor) else leaf, structure
    )
