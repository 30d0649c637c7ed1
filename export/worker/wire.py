"""Messages between the exporting process and its worker: a JSON header, then the arrays' bytes.

Large arrays go through a file instead, which the receiver maps: so they take no memory but while they are read.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
import tempfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from export.ir.graph import Arrays

LARGE = 1 << 24
"""Bytes from which an array goes through a file."""


def send(
    stream: IO[bytes],
    header: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray] | None = None,
    folder: str | None = None,
) -> None:
    """Write one message. `header` must be JSON; arrays of any shape and plain dtype.

    Args:
        folder: where large arrays are put for the receiver, who takes them away; without it they go by the stream.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    in_file = {name for name, array in contiguous.items() if folder and array.nbytes >= LARGE}
    described = [[name, array.dtype.str, array.shape, name in in_file] for name, array in contiguous.items()]
    path = _written([contiguous[name] for name in contiguous if name in in_file], folder) if in_file else None
    text = json.dumps({"header": header, "arrays": described, "file": path}).encode()
    stream.write(struct.pack("<Q", len(text)))
    stream.write(text)
    for name, array in contiguous.items():
        if name not in in_file:
            stream.write(_bytes(array))
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], Arrays]:
    """Read one message. Raises EOFError when the other side has gone."""
    (length,) = struct.unpack("<Q", _exactly(stream, 8))
    message = json.loads(bytes(_exactly(stream, length)))
    mapped = _mapped(message["file"]) if message["file"] else b""
    arrays = {}
    start = 0
    for name, dtype, shape, in_file in message["arrays"]:
        count = math.prod(shape)
        if in_file:
            arrays[name] = np.frombuffer(mapped, dtype, count, start).reshape(shape)
            start += arrays[name].nbytes
        else:
            arrays[name] = np.frombuffer(_exactly(stream, np.dtype(dtype).itemsize * count), dtype).reshape(shape)
    return message["header"], arrays


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _written(arrays: list[np.ndarray], folder: str | None) -> str:
    """A new file of the arrays, one after the other."""
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        for array in arrays:
            file.write(_bytes(array))
    return file.name


def _mapped(path: str) -> mmap.mmap:
    """The file's bytes; the file itself goes."""
    with open(path, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    os.unlink(path)
    return content


def _exactly(stream: IO[bytes], size: int) -> bytearray:
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        read = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not read:
            raise EOFError("the other process closed the connection")
        done += read
    return data
