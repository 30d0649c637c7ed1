"""A byte stream between the host and one service of the test device."""

from __future__ import annotations

import threading
from collections.abc import Callable

from android_bench.testing import protocol
from android_bench.testing.phone import Phone
from android_bench.testing.protocol import Message


class Stream:
    """One service that a host opened. `run` serves it in a thread of its own.

    Args:
        device: the device whose service it is.
        send: sends a packet to the host.
        local: the stream's number here.
        remote: its number there.
        argument: what the host asked the service for.
    """

    def __init__(self, device: Phone, send: Callable[[Message], None], local: int, remote: int, argument: str):
        self.device = device
        self._send = send
        self.argument = argument
        self.acknowledged = threading.Semaphore(1)
        self._local = local
        self._remote = remote
        self._incoming = bytearray()
        self._arrived = threading.Condition()
        self._closed = False

    def run(self) -> None:
        """Serve until the service ends or the host closes the stream."""
        raise NotImplementedError

    def received(self, content: bytes) -> None:
        """Keep what the host sent until `read` takes it."""
        with self._arrived:
            self._incoming += content
            self._arrived.notify_all()

    def read(self, size: int) -> bytes | None:
        """Return exactly `size` bytes from the host, or None where it closed the stream."""
        with self._arrived:
            self._arrived.wait_for(lambda: len(self._incoming) >= size or self._closed)
            if len(self._incoming) < size:
                return None
            content = bytes(self._incoming[:size])
            del self._incoming[:size]
            return content

    def write(self, content: bytes) -> None:
        """Send `content` in packets, each after the host acknowledged the one before."""
        for start in range(0, len(content), protocol.MAXIMUM_DATA):
            self.acknowledged.acquire()
            if self._closed:
                return
            part = content[start : start + protocol.MAXIMUM_DATA]
            self._send(Message(protocol.WRTE, self._local, self._remote, part))

    def finish(self) -> None:
        """Close the stream from the device's side."""
        if not self._closed:
            self.acknowledged.acquire()
            self._send(Message(protocol.CLSE, self._local, self._remote))

    def close(self) -> None:
        """Take note that the host has closed the stream."""
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()
        self.acknowledged.release()
