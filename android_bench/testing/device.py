"""The device side of adb over loopback TCP: `adb connect` takes it for a phone."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from android_bench.testing.connection import Connection
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
