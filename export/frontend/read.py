"""Reading a Keras 3 model, under any backend, into the neutral graph."""

from __future__ import annotations

import keras

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
        InputError: the model has no graph, or is not channels-last.
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
    return build.finish([names[tensor.number] for tensor in walked.outputs])
