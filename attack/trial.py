"""One trial: what it is made of, and how it is judged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Numbers that lie on the edges of what fields hold.
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**62, 2**63 - 1, 2**64 - 1)
EDGE_BYTES = 4096
"""So many bytes at both ends of a file, where headers and directories are, get half of the mutations."""

Trial = Callable[[np.random.Generator, Path], int]
"""Tries inputs drawn from a generator, in an empty folder; returns how many. Raises `Fell`."""


class Fell(Exception):  # noqa: N818 (no error of the program that is attacked)
    """What was attacked did not hold; the message says how."""


@dataclass(frozen=True)
class Kind:
    """A kind of attack.

    Attributes:
        group: what it is in the table under.
        share: of the time, beside the others' shares.
        seconds: after which a trial that has not ended fell.
        memory: the most bytes of data that the process of the trials may have; None for no limit.
        short: whether it belongs to the short form.
    """

    name: str
    group: str
    trial: Trial
    share: float = 1.0
    seconds: float = 60.0
    memory: int | None = 6 << 30
    short: bool = True


@contextlib.contextmanager
def refused_by(*errors: type[BaseException]) -> Iterator[None]:
    """Pass over these errors if they are of one line; anything else fell."""
    try:
        yield
    except errors as error:
        if "\n" in str(error).strip() or not str(error).strip():
            raise Fell(f"an error that is not one line: {str(error)[:300]!r}") from error
    except Fell:
        raise
    except Exception as error:
        raise Fell(f"{type(error).__name__}: {str(error)[:300]}") from error


def mutated(content: bytes, generator: np.random.Generator) -> bytes:
    """`content` with one to four changes."""
    data = bytearray(content)
    for _ in range(int(generator.integers(1, 5))):
        if not data:
            break
        position = _position(len(data), generator)
        match int(generator.integers(0, 7)):
            case 0:
                data[position] ^= 1 << int(generator.integers(0, 8))
            case 1:
                data[position] = int(generator.integers(0, 256))
            case 2:
                size = int(generator.choice((1, 2, 4, 8)))
                edge = int(generator.integers(0, len(EDGES)))
                data[position : position + size] = (EDGES[edge] % (1 << 8 * size)).to_bytes(size, "little")
            case 3:
                del data[position:]
            case 4:
                del data[position : position + int(generator.integers(1, 64))]
            case 5:
                data[position:position] = generator.bytes(int(generator.integers(1, 64)))
            case _:
                start = _position(len(data), generator)
                data[position:position] = data[start : start + int(generator.integers(1, 256))]
    return bytes(data)


def _position(size: int, generator: np.random.Generator) -> int:
    if size > 2 * EDGE_BYTES and generator.random() < 0.5:
        inside = int(generator.integers(0, EDGE_BYTES))
        return inside if generator.random() < 0.5 else size - 1 - inside
    return int(generator.integers(0, size))
