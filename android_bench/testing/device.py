"""The device side of adb over loopback TCP: `adb connect` takes it for a phone."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from android_bench.testing import protocol
from android_bench.testing.protocol import Message
from android_bench.testing.sandbox import Sandbox

FEATURES = "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir"
PROPERTIES = {
    "ro.product.name": "testdevice",
    "ro.product.model": "Test Device",
    "ro.product.device": "testdevice",
    "ro.soc.model": "QEMU",
    "ro.product.cpu.abilist64": "arm64-v8a",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.boot.qemu": "1",
}
TOOLS = {"adb": "adb", "qemu-aarch64": "qemu-user", "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu", "gcc": "gcc"}


def missing_tools() -> list[str]:
    """Return what this machine lacks to run a test device, in words; empty where nothing is missing."""
    missing = [f"{tool} (apt-get install {package})" for tool, package in TOOLS.items() if not shutil.which(tool)]
    if os.geteuid():
        missing.append("root, for the device's own root folder")
    elif subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        missing.append("the right to make mount namespaces")
    return missing


@dataclass
class Faults:
    """What goes wrong; change it at any time.

    Attributes:
        unauthorized: never accepts the host's key (from the next connection on).
        offline: never answers the host's greeting (from the next connection on).
        disk_full: no file can be pushed.
        hang_up_at: the cable is pulled when a shell command holds this text; it can be plugged in again.
        cut_output_at: the standard output of commands that hold this text ends in the middle.
        seconds_a_packet: a slow link.
    """

    unauthorized: bool = False
    offline: bool = False
    disk_full: bool = False
    hang_up_at: str | None = None
    cut_output_at: str | None = None
    seconds_a_packet: float = 0.0


class TestDevice:
    """An Android device on a loopback port, for use as a context manager.

    Args:
        properties: what `getprop` says, beside or instead of the default's.
        cpu: the processor that qemu plays. "max" computes int8 wrongly without saying so.

    Attributes:
        serial: what `adb devices` calls it after `adb connect` with the same words.
        faults: see `Faults`.
    """

    __test__ = False

    def __init__(self, properties: Mapping[str, str] | None = None, cpu: str = "cortex-a72"):
        self.faults = Faults()
        self._properties = {**PROPERTIES, **(properties or {})}
        self._cpu = cpu
        self._connections: set[socket.socket] = set()

    def __enter__(self) -> TestDevice:
        self._folder = tempfile.TemporaryDirectory(prefix="android_bench-device-")
        self.sandbox = Sandbox(Path(self._folder.name), self._properties, self._cpu)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.hang_up()
        self._folder.cleanup()

    def hang_up(self) -> None:
        """Drop every connection, as a pulled cable does."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def banner(self) -> bytes:
        """Return how the device introduces itself."""
        names = ("ro.product.name", "ro.product.model", "ro.product.device")
        words = "".join(f"{name}={self._properties[name]};" for name in names)
        return f"device::{words}features={FEATURES}".encode()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            Connection(self, connection).serve()
        finally:
            self._connections.discard(connection)
            connection.close()


class Connection:
    """One host's connection and the streams on it."""

    def __init__(self, device: TestDevice, connection: socket.socket):
        self.device = device
        self._connection = connection
        self._sending = threading.Lock()
        self._streams: dict[int, Stream] = {}
        self._next = 1

    def send(self, message: Message) -> None:
        """Send a packet whole, whichever thread asks; a host that hung up is no fault of the sender."""
        if self.device.faults.seconds_a_packet:
            time.sleep(self.device.faults.seconds_a_packet)
        with self._sending, contextlib.suppress(OSError):
            protocol.send(self._connection, message)

    def serve(self) -> None:
        """Answer until the host hangs up."""
        while True:
            message = protocol.receive(self._connection)
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
        if self.device.faults.offline:
            return
        if self.device.faults.unauthorized:
            self.send(Message(protocol.AUTH, protocol.AUTH_TOKEN, 0, os.urandom(20)))
        else:
            self.send(Message(protocol.CNXN, protocol.VERSION, protocol.MAXIMUM_DATA, self.device.banner()))

    def _open(self, remote: int, service: str) -> None:
        name, _, argument = service.partition(":")
        kinds = {"shell": RawShell, "exec": RawShell, "sync": Sync}
        kind = FramedShell if name.startswith("shell,") and "v2" in name.split(",") else kinds.get(name)
        if kind is None:
            self.send(Message(protocol.CLSE, 0, remote))
            return
        local = self._next
        self._next += 1
        stream = kind(self, local, remote, argument)
        self._streams[local] = stream
        self.send(Message(protocol.OKAY, local, remote))
        threading.Thread(target=stream.run, daemon=True).start()


class Stream:
    """One service that a host opened. `run` serves it in a thread of its own."""

    def __init__(self, connection: Connection, local: int, remote: int, argument: str):
        self.connection = connection
        self.argument = argument
        self.acknowledged = threading.Semaphore(1)
        self._local = local
        self._remote = remote
        self._incoming = bytearray()
        self._arrived = threading.Condition()
        self._closed = False

    @property
    def device(self) -> TestDevice:
        return self.connection.device

    def run(self) -> None:
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
            self.connection.send(Message(protocol.WRTE, self._local, self._remote, part))

    def finish(self) -> None:
        """Close the stream from the device's side."""
        if not self._closed:
            self.acknowledged.acquire()
            self.connection.send(Message(protocol.CLSE, self._local, self._remote))

    def close(self) -> None:
        """The host has closed the stream."""
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()
        self.acknowledged.release()


class Shell(Stream):
    """A command. What it prints goes through `frame`."""

    def run(self) -> None:
        faults = self.device.faults
        if faults.hang_up_at and faults.hang_up_at in self.argument:
            self.device.hang_up()
            return
        process = self.device.sandbox.start(self.argument)
        self._process = process
        cut = bool(faults.cut_output_at and faults.cut_output_at in self.argument)
        threads = [
            threading.Thread(target=self._copy, args=(process.stdout, protocol.STDOUT, cut), daemon=True),
            threading.Thread(target=self._copy, args=(process.stderr, protocol.STDERR, False), daemon=True),
        ]
        threading.Thread(target=self._feed, args=(process,), daemon=True).start()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.end(process.wait())
        self.finish()

    def close(self) -> None:
        super().close()
        process = getattr(self, "_process", None)
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)

    def _copy(self, pipe: io.BufferedReader, channel: int, cut: bool) -> None:
        content = b""
        while part := pipe.read1(65536):
            if cut:
                content += part
            else:
                self.frame(channel, part)
        if cut:
            self.frame(channel, content[: len(content) // 2])

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        raise NotImplementedError

    def frame(self, channel: int, content: bytes) -> None:
        raise NotImplementedError

    def end(self, code: int) -> None:
        raise NotImplementedError


class RawShell(Shell):
    """The old shell service: output and errors in one stream, no exit code."""

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            while content := self.read(1):
                process.stdin.write(content)
                process.stdin.flush()
            process.stdin.close()

    def frame(self, channel: int, content: bytes) -> None:
        self.write(content)

    def end(self, code: int) -> None:
        """This service has no way to say it."""


class FramedShell(Shell):
    """The shell protocol: output, errors and the exit code apart."""

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            while header := self.read(protocol.SHELL_PACKET.size):
                channel, length = protocol.SHELL_PACKET.unpack(header)
                content = self.read(length) if length else b""
                if channel == protocol.STDIN and content:
                    process.stdin.write(content)
                    process.stdin.flush()
                elif channel == protocol.CLOSE_STDIN:
                    process.stdin.close()

    def frame(self, channel: int, content: bytes) -> None:
        self.write(protocol.SHELL_PACKET.pack(channel, len(content)) + content)

    def end(self, code: int) -> None:
        self.frame(protocol.EXIT, bytes([code & 0xFF if code >= 0 else 128 - code]))


class Sync(Stream):
    """The file service: stat, list, push and pull."""

    def run(self) -> None:
        while header := self.read(protocol.SYNC_HEADER.size):
            request, length = protocol.SYNC_HEADER.unpack(header)
            if request == b"QUIT":
                break
            path = (self.read(length) or b"").decode()
            handlers: dict[bytes, Callable[[bytes, str], None]] = {
                b"STAT": self._stat,
                b"STA2": self._stat_v2,
                b"LST2": self._stat_v2,
                b"LIST": self._list,
                b"LIS2": self._list_v2,
                b"SEND": self._send,
                b"RECV": self._receive,
            }
            handler = handlers.get(request)
            if handler is None:
                self._fail(f"unknown request {request.decode(errors='replace')}")
                break
            handler(request, path)
        self.finish()

    def _fail(self, message: str) -> None:
        self.write(protocol.SYNC_HEADER.pack(b"FAIL", len(message)) + message.encode())

    def _status(self, path: str) -> os.stat_result | OSError:
        try:
            return os.lstat(self.device.sandbox.path(path))
        except OSError as error:
            return error

    def _stat(self, request: bytes, path: str) -> None:
        status = self._status(path)
        known = (0, 0, 0) if isinstance(status, OSError) else (status.st_mode, status.st_size, int(status.st_mtime))
        self.write(b"STAT" + b"".join(value.to_bytes(4, "little") for value in known))

    def _stat_v2(self, request: bytes, path: str) -> None:
        self.write(request + _stat_fields(self._status(path)))

    def _list(self, request: bytes, path: str) -> None:
        for entry in self._entries(path):
            status = entry.lstat()
            fields = (status.st_mode, status.st_size, int(status.st_mtime), len(entry.name))
            self.write(b"DENT" + b"".join(value.to_bytes(4, "little") for value in fields) + entry.name.encode())
        self.write(b"DONE" + bytes(16))

    def _list_v2(self, request: bytes, path: str) -> None:
        for entry in self._entries(path):
            name = entry.name.encode()
            self.write(b"DNT2" + _stat_fields(entry.lstat()) + len(name).to_bytes(4, "little") + name)
        self.write(b"DONE" + bytes(72))

    def _entries(self, path: str) -> list[Path]:
        folder = self.device.sandbox.path(path)
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def _send(self, request: bytes, argument: str) -> None:
        path, _, mode = argument.rpartition(",")
        local = self.device.sandbox.path(path)
        content = bytearray()
        while header := self.read(protocol.SYNC_HEADER.size):
            kind, length = protocol.SYNC_HEADER.unpack(header)
            if kind == b"DONE":
                break
            content += self.read(length) or b""
        if self.device.faults.disk_full:
            self._fail("couldn't write file: No space left on device")
            return
        try:
            local.parent.mkdir(parents=True, exist_ok=True)
            local.write_bytes(content)
            local.chmod(stat.S_IMODE(int(mode)))
        except OSError as error:
            self._fail(f"couldn't create file: {error.strerror}")
        else:
            self.write(protocol.SYNC_HEADER.pack(b"OKAY", 0))

    def _receive(self, request: bytes, path: str) -> None:
        try:
            content = self.device.sandbox.path(path).read_bytes()
        except OSError as error:
            self._fail(f"open failed: {error.strerror}")
            return
        for start in range(0, len(content), 65536):
            part = content[start : start + 65536]
            self.write(protocol.SYNC_HEADER.pack(b"DATA", len(part)) + part)
        self.write(protocol.SYNC_HEADER.pack(b"DONE", 0))


def _stat_fields(status: os.stat_result | OSError) -> bytes:
    """Return error, device, inode, mode, links, user, group, size and three times, as version 2 packs them."""
    if isinstance(status, OSError):
        return (status.errno or 0).to_bytes(4, "little") + bytes(64)
    sizes = (4, 8, 8, 4, 4, 4, 4, 8, 8, 8, 8)
    times = (int(status.st_atime), int(status.st_mtime), int(status.st_ctime))
    owner = (status.st_nlink, status.st_uid, status.st_gid)
    values = (0, status.st_dev, status.st_ino, status.st_mode, *owner, status.st_size, *times)
    return b"".join(value.to_bytes(size, "little") for value, size in zip(values, sizes, strict=True))
