"""Reading a Keras 3 model, under any backend, into the neutral graph."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from export.errors import InputError
from export.frontend import lowerings
from export.frontend.builder import Builder
from export.ir.graph import Graph
from keras_classics.graph import walk

__all__ = ["lowerings", "read_graph"]


def read_graph(model: keras.Model) -> Graph:
    """Read a functional or Sequential model, nested models opened.

    Raises:
        UnsupportedLayerError: no bridge knows a layer.
        InputError: the model has no graph, is not channels-last, or has weights that are not finite.
    """
    try:
        walked = walk(model)
    except ValueError as error:
        raise InputError(str(error)) from error
    build = Builder(model.name)
    names = {
        tensor.number: build.input(keras_input.name, tensor)
        for keras_input, tensor in zip(model.inputs, walked.inputs, strict=True)
    }
    for call in walked.calls:
        found = build.call(call, names)
        names.update((tensor.number, name) for tensor, name in zip(call.outputs, found, strict=True))
    graph = build.finish([names[tensor.number] for tensor in walked.outputs])
    graph.input_names, graph.output_names = _user_names(model)
    check_finite(graph)
    return graph


def _user_names(model: keras.Model) -> tuple[list[str], list[str]]:
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
    """Raise InputError, naming the layer, where a weight is infinite or not a number: the converter crashes on some."""
    for operation in graph.operations.values():
        for role, array in operation.weights.items():
            if not np.isfinite(array).all():
                raise InputError(
                    f"layer {operation.name!r} has values in its {role} that are not finite; "
                    "train the model again with a lower learning rate, or load weights that are whole"
                )
