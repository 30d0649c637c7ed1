"""One host's adb connection to the test device, and the streams that it opens."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

from android_bench.testing import protocol
from android_bench.testing.files_service import Sync
from android_bench.testing.phone import Phone
from android_bench.testing.protocol import Message
from android_bench.testing.shells import FramedShell, RawShell
from android_bench.testing.stream import Stream


class Connection:
    """One host's connection and the streams on it.

    Args:
        phone: the device.
        cable: the socket that leads to the host.
    """

    def __init__(self, phone: Phone, cable: socket.socket):
        self._phone = phone
        self._cable = cable
        self._sending = threading.Lock()
        self._streams: dict[int, Stream] = {}
        self._next = 1

    def send(self, message: Message) -> None:
        """Send a packet whole, whichever thread asks; a host that hung up is no fault of the sender."""
        if self._phone.faults.seconds_a_packet:
            time.sleep(self._phone.faults.seconds_a_packet)
        with self._sending, contextlib.suppress(OSError):
            protocol.send(self._cable, message)

    def serve(self) -> None:
        """Answer until the host hangs up."""
        while True:
            message = protocol.receive(self._cable)
            if message is None:
                break
            self._handle(message)
        for stream in self._streams.values():
            stream.close()

    def _handle(self, message: Message) -> None:
        if message.command in (protocol.CNXN, protocol.AUTH):
            self._greet()
        elif message.command == protocol.OPEN:
            self._open(message.first, message.payload.rstrip(b"\0").decode())
        elif message.second in self._streams:
            stream = self._streams[message.second]
            if message.command == protocol.OKAY:
                stream.acknowledged.release()
            elif message.command == protocol.WRTE:
                stream.received(message.payload)
                self.send(Message(protocol.OKAY, message.second, message.first))
            elif message.command == protocol.CLSE:
                del self._streams[message.second]
                stream.close()

    def _greet(self) -> None:
        if self._phone.faults.offline:
            return
        if self._phone.faults.unauthorized:
            self.send(Message(protocol.AUTH, protocol.AUTH_TOKEN, 0, os.urandom(20)))
        else:
            self.send(Message(protocol.CNXN, protocol.VERSION, protocol.MAXIMUM_DATA, self._phone.banner))

    def _open(self, remote: int, service: str) -> None:
        name, _, argument = service.partition(":")
        kinds = {"shell": RawShell, "exec": RawShell, "sync": Sync}
        kind = FramedShell if name.startswith("shell,") and "v2" in name.split(",") else kinds.get(name)
        if kind is None:
            self.send(Message(protocol.CLSE, 0, remote))
            return
        local = self._next
        self._next += 1
        stream = kind(self._phone, self.send, local, remote, argument)
        self._streams[local] = stream
        self.send(Message(protocol.OKAY, local, remote))
        threading.Thread(target=stream.run, daemon=True).start()
