"""Reading a Keras 3 model, under any backend, into the neutral graph."""

from __future__ import annotations

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
    check_finite(graph)
    return graph


def check_finite(graph: Graph) -> None:
    """Raise InputError, naming the layer, where a weight is infinite or not a number: the converter crashes on some."""
    for operation in graph.operations.values():
        for role, array in operation.weights.items():
            if not np.isfinite(array).all():
                raise InputError(
                    f"layer {operation.name!r} has values in its {role} that are not finite; "
                    "train the model again with a lower learning rate, or load weights that are whole"
                )
