"""The calls that make up a functional Keras model, in order of execution, nested models opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    Attributes:
        masks: of the inputs, those that Keras hands on beside them, None where there is none.
        scope: names of the nested models around the call, outermost first.
        batch: what stands for the batch size in arguments and constants, where the graph was made with one.
        named: whether operations have their names from the model; elsewhere Keras numbers them anew each time.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    masks: tuple[Tensor | None, ...] = ()
    scope: tuple[str, ...] = ()
    batch: int | None = None
    named: bool = True


@dataclass(frozen=True)
class Expansion:
    """A graph that computes what a call does.

    Attributes:
        given: the values that stand at its inputs.
        inputs, outputs: its symbolic tensors.
        batch: the size of the first axis that stands for an open one.
        named: whether its operations have names that stay.
        scope: what it adds to `Call.scope`; the operation's name if not given.
    """

    given: tuple[Tensor, ...]
    inputs: Sequence[keras.KerasTensor]
    outputs: Sequence[keras.KerasTensor]
    batch: int | None = None
    named: bool = True
    scope: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Walk:
    """The whole graph of a model."""

    calls: tuple[Call, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def is_graph(value: Any) -> bool:
    """Whether `value` is a model whose calls can be walked: functional, or Sequential and built."""
    return isinstance(value, keras.Model) and bool(getattr(value, "inputs", None))


def nested_graph(call: Call) -> Call | Expansion:
    """The graph of a nested model; any other call as it is."""
    model = call.operation
    return Expansion(call.inputs[: len(model.inputs)], model.inputs, model.outputs) if is_graph(model) else call


def walk(model: keras.Model, resolve: Callable[[Call], Call | Expansion] = nested_graph) -> Walk:
    """Follow the outputs of a functional or built Sequential model back to its inputs.

    Args:
        resolve: gives the graph that is read in a call's place, or the call, perhaps with more known of its outputs.

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

    def number(tensor: keras.KerasTensor, batch: int | None) -> Tensor:
        nonlocal count
        count += 1
        shape = tuple(tensor.shape)
        shape = (None, *shape[1:]) if batch and shape[:1] == (batch,) else shape
        return Tensor(count - 1, shape, str(tensor.dtype))

    def visit(graph: Expansion, scope: tuple[str, ...]) -> list[Tensor]:
        known = {id(tensor): value for tensor, value in zip(graph.inputs, graph.given, strict=True)}
        for node in _nodes(graph):
            args = _resolved(node.arguments.args, known.__getitem__)
            kwargs = _resolved(node.arguments.kwargs, known.__getitem__)
            inputs = tuple(known[id(tensor)] for tensor in node.input_tensors)
            masks = tuple(known.get(id(_mask(tensor))) for tensor in node.input_tensors)
            outputs = [number(tensor, graph.batch) for tensor in node.output_tensors]
            call = Call(node.operation, args, kwargs, inputs, tuple(outputs), masks, scope, graph.batch, graph.named)
            found = resolve(call)
            if isinstance(found, Expansion):
                outputs = visit(found, (*scope, *((node.operation.name,) if found.scope is None else found.scope)))
            else:
                calls.append(found)
                outputs = list(found.outputs)
            known.update((id(tensor), value) for tensor, value in zip(node.output_tensors, outputs, strict=True))
        return [known[id(tensor)] for tensor in graph.outputs]

    inputs = tuple(number(tensor, None) for tensor in model.inputs)
    outputs = visit(Expansion(inputs, model.inputs, model.outputs), ())
    return Walk(tuple(calls), inputs, tuple(outputs))


def _mask(tensor: keras.KerasTensor) -> keras.KerasTensor | None:
    """The tensor that tells which steps of another one count, if there is one."""
    return getattr(tensor, "_keras_mask", None)


def _nodes(graph: Expansion) -> list[Any]:
    """The nodes between a graph's own inputs and outputs, each after those it needs."""
    order: list[Any] = []
    given = {id(tensor) for tensor in graph.inputs}
    seen = set(given)
    pending: list[tuple[Any, bool]] = [(tensor, False) for tensor in reversed(graph.outputs)]
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
            computed = [each for each in node.input_tensors if id(each) not in given]  # so its mask is computed too
            masks = [mask for mask in map(_mask, computed) if mask is not None]
            pending.extend((needed, False) for needed in reversed([*node.input_tensors, *masks]))
    return order


def _resolved(structure: Any, lookup: Callable[[int], Tensor]) -> Any:
    return keras.tree.map_structure(
        lambda leaf: lookup(id(leaf)) if isinstance(leaf, keras.KerasTensor) else leaf, structure
    )
