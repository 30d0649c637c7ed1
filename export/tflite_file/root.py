"""More tables under a TFLite file's root, without packing the file anew, which would hold its weights several times.

All references of a FlatBuffer are relative and point forward, so a new root table goes in front of the old content,
with lists that refer to old tables and to new ones. Only data that stands behind the FlatBuffer, as large weights of
the quantizer do, is found by its place in the file, which is corrected.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers

ALIGNMENT = 64
"""Bytes by multiples of which the old content moves: all alignments of its buffers (16) stay."""
HEADER = 8
"""Bytes of the reference to the root table and of the file identifier."""
# Places in the vtables of schema.fbs, version 3, in bytes.
VERSION, BUFFERS, METADATA, SIGNATURES = 4, 12, 16, 18
BUFFER_OFFSET = 6
_UINT16, _INT32 = flatbuffers.number_types.Uint16Flags, flatbuffers.number_types.SOffsetTFlags

Element = int | bytes
"""Of a list: where a table stands in the old content, or a buffer whose root is a new one."""


def elements(model: Any, place: int) -> list[Element]:
    """The tables of a list of the root table, by where they stand; none where there is no list."""
    table = model._tab
    offset = table.Offset(place)
    if not offset:
        return []
    start = table.Vector(offset)
    return [table.Indirect(start + 4 * index) for index in range(table.VectorLen(offset))]


def with_lists(
    content: bytes | bytearray | memoryview, lists: Mapping[int, Sequence[Element]]
) -> tuple[bytearray, int]:
    """The file with these lists of tables under its root, by their places in the root's vtable.

    Args:
        content: a file; a bytearray is changed in place.

    Returns:
        The file, and by how many bytes its old content has moved.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    front, root = _front(model, lists)
    buffers = map(model.Buffers, range(model.BuffersLength()))
    apart = {each._tab.Pos + each._tab.Offset(BUFFER_OFFSET): each.Offset() for each in buffers if each.Offset() > 1}
    result = content if isinstance(content, bytearray) else bytearray(content)
    result[HEADER:HEADER] = front
    struct.pack_into("<I", result, 0, root)
    for place, offset in apart.items():
        struct.pack_into("<Q", result, place + len(front), offset + len(front))
    return result, len(front)


def _front(model: Any, lists: Mapping[int, Sequence[Element]]) -> tuple[bytes, int]:
    """What goes between the file's header and its old content, and where in the file the root table is then.

    It is the root table's layout (vtable), the table with all that the old one refers to, and the lists.
    """
    table = model._tab
    places = [VERSION, *range(VERSION + 2, table.Get(_UINT16, table.Pos - table.Get(_INT32, table.Pos)), 2)]
    present = sorted({place for place in places if table.Offset(place)} | lists.keys())
    layout = bytearray(present[-1] + 2)
    struct.pack_into("<HH", layout, 0, len(layout), 4 * (len(present) + 1))
    for position, place in enumerate(present, start=1):
        struct.pack_into("<H", layout, place, 4 * position)
    layout += bytes(-len(layout) % 4)
    start = HEADER + len(layout)  # of the table, in the file
    end = start + 4 * (len(present) + 1)
    starts, at = {}, end
    for place, members in lists.items():
        starts[place] = at
        at += 4 * (len(members) + 1)
    new_tables = []  # where each stands in the file, and its buffer
    for members in lists.values():
        for member in members:
            if isinstance(member, bytes):
                at += -at % 16
                new_tables.append((at, member))
                at += len(member)
    moved = at - HEADER + -(at - HEADER) % ALIGNMENT
    fields = [len(layout)]
    for place in present:
        here = start + 4 * len(fields)
        if place in lists:
            fields.append(starts[place] - here)
        elif place == VERSION:
            fields.append(model.Version())
        else:
            fields.append(table.Indirect(table.Pos + table.Offset(place)) + moved - here)
    front = bytearray(moved)
    front[: len(layout)] = layout
    struct.pack_into(f"<{len(fields)}I", front, start - HEADER, *fields)
    waiting = iter(new_tables)
    for place, members in lists.items():
        struct.pack_into("<I", front, starts[place] - HEADER, len(members))
        for index, member in enumerate(members, start=1):
            here = starts[place] + 4 * index
            if isinstance(member, int):
                target = member + moved
            else:
                where, buffer = next(waiting)
                front[where - HEADER : where - HEADER + len(buffer)] = buffer
                target = where + struct.unpack_from("<I", buffer)[0]
            struct.pack_into("<I", front, here - HEADER, target - here)
    return bytes(front), start
