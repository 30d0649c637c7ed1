"""The signature of a file: the names by which its inputs and outputs are called.

The converter writes none for a concrete function, and calls tensors by what computed them. Packing the file anew would
hold its weights several times over. All references of a FlatBuffer are relative and point forward, so a new root table
goes in front of the old content, new texts behind it, and in between a few references change. Only data that stands
behind the FlatBuffer, as large weights of the quantizer do, is found by its place in the file, which is corrected.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

KEY = "serving_default"
"""What TensorFlow, and so LiteRT, calls the signature that serves a model."""
ALIGNMENT = 64
"""Bytes by multiples of which the old content moves: all alignments of its buffers (16) stay."""
HEADER = 8
"""Bytes of the reference to the root table and of the file identifier."""
# Places in the vtables of schema.fbs, version 3, in bytes.
MODEL_VERSION, MODEL_SIGNATURES = 4, 18
TENSOR_NAME = 10
BUFFER_OFFSET = 6
_UINT16, _INT32 = flatbuffers.number_types.Uint16Flags, flatbuffers.number_types.SOffsetTFlags


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
    front, root = _front(model, _signature(inputs, outputs))
    references: dict[int, str] = {}
    for name, index in [*inputs, *outputs]:
        tensor = graph.Tensors(index)
        references.setdefault(tensor._tab.Pos + tensor._tab.Offset(TENSOR_NAME) + len(front), name)
    buffers = map(model.Buffers, range(model.BuffersLength()))
    apart = {each._tab.Pos + each._tab.Offset(BUFFER_OFFSET): each.Offset() for each in buffers if each.Offset() > 1}
    result = content if isinstance(content, bytearray) else bytearray(content)
    result[HEADER:HEADER] = front
    struct.pack_into("<I", result, 0, root)
    for place, offset in apart.items():
        struct.pack_into("<Q", result, place + len(front), offset + len(front))
    for reference, name in references.items():
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


def _front(model: schema.Model, signature: bytes) -> tuple[bytes, int]:
    """What goes between the file's header and its old content, and where in the file the root table is then.

    It is the root table's layout (vtable), the table with all that the old one refers to, and the list of one
    signature.
    """
    table = model._tab
    places = [MODEL_VERSION, *range(MODEL_VERSION + 2, table.Get(_UINT16, table.Pos - table.Get(_INT32, table.Pos)), 2)]
    present = sorted({place for place in places if table.Offset(place)} | {MODEL_SIGNATURES})
    layout = bytearray(present[-1] + 2)
    struct.pack_into("<HH", layout, 0, len(layout), 4 * (len(present) + 1))
    for position, place in enumerate(present, start=1):
        struct.pack_into("<H", layout, place, 4 * position)
    layout += bytes(-len(layout) % 4)
    start = HEADER + len(layout)  # of the table, in the file
    end = start + 4 * (len(present) + 1)
    size = len(layout) + 4 * (len(present) + 1) + 8 + len(signature)
    moved = size + -size % ALIGNMENT
    fields = [len(layout)]
    for place in present:
        here = start + 4 * len(fields)
        old = table.Pos + table.Offset(place)
        if place == MODEL_SIGNATURES:
            fields.append(end - here)
        elif place == MODEL_VERSION:
            fields.append(model.Version())
        else:
            fields.append(table.Indirect(old) + moved - here)
    signatures = struct.pack("<II", 1, 4 + struct.unpack_from("<I", signature)[0]) + signature
    front = bytes(layout) + struct.pack(f"<{len(fields)}I", *fields) + signatures
    return front + bytes(moved - size), start
