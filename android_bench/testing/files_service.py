"""The file service of the test device."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from android_bench.testing import protocol
from android_bench.testing.stream import Stream


class Sync(Stream):
    """The file service: stat, list, push and pull."""

    def run(self) -> None:
        """Answer requests until the host has no more."""
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
                b"SEND": self._take,
                b"RECV": self._give,
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

    def _take(self, request: bytes, argument: str) -> None:
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

    def _give(self, request: bytes, path: str) -> None:
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
