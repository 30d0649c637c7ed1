"""The signature of a file: the names by which its inputs and outputs are called.

The converter writes none for a concrete function, and calls tensors by what computed them. The signature goes in front
of the old content (`export.tflite_file.root`), new names behind it, to which a few references are turned.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from export.tflite_file.root import SIGNATURES, with_lists

KEY = "serving_default"
"""What TensorFlow, and so LiteRT, calls the signature that serves a model."""
# Place in the vtable of schema.fbs, version 3, in bytes.
TENSOR_NAME = 10


def with_signature(content: bytes | bytearray, input_names: Sequence[str], output_names: Sequence[str]) -> bytearray:
    """The file with the signature `serving_default`, and its input and output tensors called as in that.

    Args:
        content: a file without signatures; a bytearray is changed in place.
        input_names, output_names: in the order of the file's inputs and outputs, any UTF-8.
    """
    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    inputs = list(zip(input_names, graph.InputsAsNumpy().tolist(), strict=True))
    outputs = list(zip(output_names, graph.OutputsAsNumpy().tolist(), strict=True))
    places: dict[int, str] = {}
    for name, index in [*inputs, *outputs]:
        tensor = graph.Tensors(index)
        places.setdefault(tensor._tab.Pos + tensor._tab.Offset(TENSOR_NAME), name)
    result, moved = with_lists(content, {SIGNATURES: [_signature(inputs, outputs)]})
    for place, name in places.items():
        reference = place + moved
        result += bytes(-len(result) % 4)
        struct.pack_into("<I", result, reference, len(result) - reference)
        text = name.encode()
        result += struct.pack("<I", len(text)) + text + b"\0"
    return result


def _signature(inputs: Sequence[tuple[str, int]], outputs: Sequence[tuple[str, int]]) -> bytes:
    """A buffer whose root is the signature."""
    definition = schema.SignatureDefT()
    definition.signatureKey = KEY
    definition.inputs, definition.outputs = (
        [schema.TensorMapT(name=name, tensorIndex=index) for name, index in ports] for ports in (inputs, outputs)
    )
    builder = flatbuffers.Builder()
    builder.Finish(definition.Pack(builder))
    return bytes(builder.Output())
