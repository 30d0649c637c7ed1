"""Messages between the exporting process and its worker: a JSON header, then the arrays' bytes."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

Arrays = dict[str, np.ndarray]


def send(stream: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> None:
    """Write one message. `header` must be JSON; arrays of any shape and plain dtype."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    described = [[name, array.dtype.str, array.shape] for name, array in contiguous.items()]
    text = json.dumps({"header": header, "arrays": described}).encode()
    stream.write(struct.pack("<Q", len(text)))
    stream.write(text)
    for array in contiguous.values():
        stream.write(array.reshape(-1).view(np.uint8).data)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], Arrays]:
    """Read one message. Raises EOFError when the other side has gone."""
    (length,) = struct.unpack("<Q", _exactly(stream, 8))
    message = json.loads(bytes(_exactly(stream, length)))
    arrays = {}
    for name, dtype, shape in message["arrays"]:
        size = np.dtype(dtype).itemsize * math.prod(shape)
        arrays[name] = np.frombuffer(_exactly(stream, size), dtype).reshape(shape)
    return message["header"], arrays


def _exactly(stream: IO[bytes], size: int) -> bytearray:
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        read = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not read:
            raise EOFError("the other process closed the connection")
        done += read
    return data
