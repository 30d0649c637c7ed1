"""The wire format that adb and adbd speak: 24-byte headers, streams, the shell protocol and the file protocol.

Described in the Android source tree's `protocol.txt`, `OVERVIEW.TXT` and `SYNC.TXT`.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

CNXN, AUTH, OPEN, OKAY, CLSE, WRTE = (
    int.from_bytes(name, "little") for name in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"CLSE", b"WRTE")
)
# The protocol's version, whose packets have checksums; the most bytes of one packet's payload; and the kind of AUTH
# packet that holds a token to be signed.
VERSION = 0x01000000
MAXIMUM_DATA = 256 * 1024
AUTH_TOKEN = 1

# The packets of the shell protocol.
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = 0, 1, 2, 3, 4

# The layouts of a packet's header, of a shell packet's and of a file request's.
HEADER = struct.Struct("<6I")
SHELL_PACKET = struct.Struct("<BI")
SYNC_HEADER = struct.Struct("<4sI")


@dataclass(frozen=True)
class Message:
    """One packet: a command, its two arguments and its payload."""

    command: int
    first: int
    second: int
    payload: bytes = b""


def send(connection: socket.socket, message: Message) -> None:
    """Send a packet with its checksum, which protocol version 0x01000000 demands."""
    header = HEADER.pack(
        message.command,
        message.first,
        message.second,
        len(message.payload),
        sum(message.payload) & 0xFFFFFFFF,
        message.command ^ 0xFFFFFFFF,
    )
    connection.sendall(header + message.payload)


def receive(connection: socket.socket) -> Message | None:
    """Return the next packet, or None where the host hung up."""
    header = receive_exactly(connection, HEADER.size)
    if header is None:
        return None
    command, first, second, length, _, _ = HEADER.unpack(header)
    payload = receive_exactly(connection, length) if length else b""
    return None if payload is None else Message(command, first, second, payload)


def receive_exactly(connection: socket.socket, size: int) -> bytes | None:
    """Return `size` bytes, or None where the other side hung up before."""
    content = bytearray()
    while len(content) < size:
        try:
            part = connection.recv(size - len(content))
        except OSError:
            return None
        if not part:
            return None
        content += part
    return bytes(content)
