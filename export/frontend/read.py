"""Reading a Keras 3 model, under any backend, into the neutral graph."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from export.errors import InputError
from export.frontend import lowerings, openings
from export.frontend.builder import Builder, resolve
from export.frontend.opening import is_called_alone, with_fixed_shapes
from export.ir.graph import Graph
from keras_classics.graph import Call, Expansion, Tensor, Walk, walk

__all__ = ["lowerings", "openings", "read_graph"]

LARGEST_WEIGHT = float(np.sqrt(np.finfo(np.float32).max))
"""Of a kernel: its square is the largest number that float32 holds."""


def read_graph(model: keras.Model, input_shape: Any = None) -> Graph:
    """Read a model: functional and Sequential ones, and any other whose input shapes are known.

    Nested models are opened, and so are layers that no bridge knows (`export.frontend.opening`).

    Args:
        input_shape: of a sample, without batch, for a model that leaves sizes open; a list or a dict of shapes by
            input where there are several.

    Raises:
        UnsupportedLayerError: no bridge knows a layer, and it cannot be opened.
        InputError: sizes are open and not given, something is not channels-last, or weights are not finite.
    """
    model = with_fixed_shapes(model, input_shape)

    def resolved(call: Call) -> Call | Expansion:
        result = resolve(call)
        if isinstance(result, Expansion) and is_called_alone(call, model):
            return replace(result, scope=())
        return result

    walked = walk(model, resolved)
    build = Builder(model.name)
    names = {
        tensor.number: build.input(keras_input.name, tensor)
        for keras_input, tensor in zip(model.inputs, walked.inputs, strict=True)
    }
    for call in _needed(walked):
        found = build.call(call, names)
        names.update((tensor.number, name) for tensor, name in zip(call.outputs, found, strict=True))
    graph = build.finish([names[tensor.number] for tensor in walked.outputs])
    _take_as_numbers(graph)
    graph.input_names, graph.output_names = user_names(model)
    check_finite(graph)
    return graph


def _take_as_numbers(graph: Graph) -> None:
    """Let integer inputs that are only computed with be numbers, as an 8-bit file takes them."""
    for name in graph.inputs:
        readers = graph.consumers()[name]
        if all(reader.kind == "cast" and reader.dtype == "float32" for reader in readers):
            graph.operations[name].dtype = "float32"
            for reader in readers:  # between numbers a cast changes nothing
                graph.remove(reader)


def user_names(model: keras.Model) -> tuple[list[str], list[str]]:
    """What inputs and outputs are called in dicts of them, or else by Keras; all different."""
    inputs = [each.name for each in model.inputs]
    if isinstance(model, keras.Sequential):
        return inputs, [model.layers[-1].name]
    return _named(model.input, inputs), _named(model.output, model.output_names)


def _named(structure: Any, by_keras: Sequence[str]) -> list[str]:
    """Where tensors stand in nested dicts, such as `heads/box`; those outside any dict as Keras calls them."""
    result: list[str] = []
    for (path, _), name in zip(keras.tree.flatten_with_path(structure), by_keras, strict=True):
        wanted = "/".join(key for key in path if isinstance(key, str)) or name
        others = (f"{wanted}_{number}" for number in itertools.count(1))
        result.append(next(each for each in itertools.chain([wanted], others) if each not in result))
    return result


def check_finite(graph: Graph) -> None:
    """Raise InputError, naming the layer, where a weight is not finite or so large that products of it soon are not.

    The converter crashes on some of these.
    """
    for operation in graph.operations.values():
        for role, array in operation.weights.items():
            if not np.isfinite(array).all():
                raise InputError(
                    f"layer {operation.name!r} has values in its {role} that are not finite; "
                    "train the model again with a lower learning rate, or load weights that are whole"
                )
        kernel = operation.weights.get("kernel", np.zeros(1))
        if (greatest := float(np.abs(kernel).max(initial=0))) > LARGEST_WEIGHT:
            raise InputError(
                f"layer {operation.name!r} has values up to {greatest:.2g} in its kernel, whose products overflow; "
                "train the model again with a lower learning rate, or load weights that are whole"
            )


def _needed(walked: Walk) -> Sequence[Call]:
    """The calls on which the outputs depend: masks are computed only where one is used."""
    wanted = {tensor.number for tensor in walked.outputs}
    needed = []
    for call in reversed(walked.calls):
        if any(tensor.number in wanted for tensor in call.outputs):
            wanted |= {leaf.number for leaf in keras.tree.flatten((call.args, call.kwargs)) if isinstance(leaf, Tensor)}
            needed.append(call)
    return needed[::-1]
