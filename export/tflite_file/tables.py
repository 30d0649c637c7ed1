"""FlatBuffers from plain dictionaries and back, by a schema that is given as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
from flatbuffers import number_types
from flatbuffers.table import Table

Schema = Mapping[str, Sequence[tuple[str, str]]]
"""For each kind of table its fields in their order: name and type.

A type is `string`, `ubyte`, `uint`, `float`, the name of a table, or one of these in brackets for a list. The field
after a union's `ubyte` has the type `A|B|…`, whose members the byte counts from 1.
"""
BYTES_ALIGNMENT = 16
"""Lists of bytes start at a multiple of so many: what they hold may be a FlatBuffer, or a tensor."""
_SCALARS = {"ubyte": number_types.Uint8Flags, "uint": number_types.Uint32Flags, "float": number_types.Float32Flags}


def packed(schema: Schema, kind: str, fields: Mapping[str, Any], identifier: bytes | None = None) -> bytes:
    """A buffer whose root is a table of `kind`; fields that are left out take the schema's defaults.

    Args:
        identifier: four letters that tell the schema.
    """
    builder = flatbuffers.Builder()
    builder.Finish(_table(builder, schema, kind, fields), file_identifier=identifier)
    return bytes(builder.Output())


def unpacked(schema: Schema, kind: str, content: bytes) -> dict[str, Any]:
    """The root table of a buffer, without fields that it lacks."""
    root = flatbuffers.encode.Get(flatbuffers.packer.uoffset, content, 0)
    return _fields(schema, kind, Table(content, root))


def _table(builder: flatbuffers.Builder, schema: Schema, kind: str, fields: Mapping[str, Any]) -> int:
    rows = schema[kind]
    if unknown := fields.keys() - {name for name, _ in rows}:
        raise KeyError(f"{kind} has no field {', '.join(sorted(unknown))}")
    values = {
        name: fields[name] if of in _SCALARS else _value(builder, schema, _member(of, fields, rows, name), fields[name])
        for name, of in rows
        if name in fields
    }
    builder.StartObject(len(rows))
    for slot, (name, of) in enumerate(rows):
        if name in values:
            if of in _SCALARS:
                builder.Prep(_SCALARS[of].bytewidth, 0)
                builder.Place(values[name], _SCALARS[of])
                builder.Slot(slot)
            else:
                builder.PrependUOffsetTRelativeSlot(slot, values[name], 0)
    return int(builder.EndObject())


def _member(of: str, fields: Mapping[str, Any], rows: Sequence[tuple[str, str]], name: str) -> str:
    """The type of a field; of a union the one that the byte before it tells."""
    if "|" not in of:
        return of
    names = [each for each, _ in rows]
    return of.split("|")[fields[names[names.index(name) - 1]] - 1]


def _value(builder: flatbuffers.Builder, schema: Schema, of: str, value: Any) -> int:
    if of == "string":
        return int(builder.CreateString(value))
    if not of.startswith("["):
        return _table(builder, schema, of, value)
    inner = of[1:-1]
    if inner in _SCALARS:
        width = _SCALARS[inner].bytewidth
        builder.StartVector(width, len(value), BYTES_ALIGNMENT if inner == "ubyte" else width)
        for each in reversed(value):
            builder.Prep(width, 0)
            builder.Place(each, _SCALARS[inner])
        return int(builder.EndVector())
    places = [_value(builder, schema, inner, each) for each in value]
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return int(builder.EndVector())


def _fields(schema: Schema, kind: str, table: Table) -> dict[str, Any]:
    rows = schema[kind]
    found: dict[str, Any] = {}
    for slot, (name, of) in enumerate(rows):
        offset = table.Offset(4 + 2 * slot)
        if offset:
            found[name] = _read(schema, _member(of, found, rows, name), table, table.Pos + offset)
    return found


def _read(schema: Schema, of: str, table: Table, place: int) -> Any:
    """What stands at `place`, of type `of`."""
    if of in _SCALARS:
        return table.Get(_SCALARS[of], place)
    if of == "string":
        return table.String(place).decode()
    if not of.startswith("["):
        return _fields(schema, of, Table(table.Bytes, table.Indirect(place)))
    inner, vector = of[1:-1], place + table.Get(number_types.UOffsetTFlags, place)
    length = table.Get(number_types.UOffsetTFlags, vector)
    step = _SCALARS[inner].bytewidth if inner in _SCALARS else 4
    return [_read(schema, inner, table, vector + 4 + step * index) for index in range(length)]
