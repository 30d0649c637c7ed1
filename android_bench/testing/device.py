"""The device side of adb over loopback TCP: `adb connect` takes it for a phone."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from android_bench.testing.connection import Connection
from android_bench.testing.phone import Faults, Phone
from android_bench.testing.sandbox import Sandbox

# The features that the device tells a host it has, as adbd names them.
FEATURES = "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir"
# What `getprop` says by default.
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
# Programs that this machine must have, and the Debian packages that have them.
TOOLS = {"adb": "adb", "qemu-aarch64": "qemu-user", "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu", "gcc": "gcc"}


def missing_tools() -> list[str]:
    """Return what this machine lacks to run a test device, in words; empty where nothing is missing."""
    missing = [f"{tool} (apt-get install {package})" for tool, package in TOOLS.items() if not shutil.which(tool)]
    if os.geteuid():
        missing.append("root, for the device's own root folder")
    elif subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        missing.append("the right to make mount namespaces")
    return missing


class TestDevice:
    """An Android device on a loopback port, for use as a context manager.

    Args:
        properties: what `getprop` says, beside or instead of the default's.
        cpu: the processor that qemu plays. "max" computes int8 wrongly without saying so.

    Attributes:
        serial: what `adb devices` calls it after `adb connect` with the same words.
        faults: see `Faults`.
        sandbox: its file system, while it is entered.
    """

    __test__ = False

    def __init__(self, properties: Mapping[str, str] | None = None, cpu: str = "cortex-a72"):
        self.faults = Faults()
        self._properties = {**PROPERTIES, **(properties or {})}
        self._cpu = cpu

    def __enter__(self) -> Self:
        """Make its file system, and listen."""
        self._folder = tempfile.TemporaryDirectory(prefix="android_bench-device-")
        self.sandbox = Sandbox(Path(self._folder.name), self._properties, self._cpu)
        self._phone = Phone(self.sandbox, self.faults, self._banner())
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Pull the cable and remove its file system."""
        self._listener.close()
        self._phone.hang_up()
        self._folder.cleanup()

    def _banner(self) -> bytes:
        names = ("ro.product.name", "ro.product.model", "ro.product.device")
        words = "".join(f"{name}={self._properties[name]};" for name in names)
        return f"device::{words}features={FEATURES}".encode()

    def _accept(self) -> None:
        while True:
            try:
                cable, _ = self._listener.accept()
            except OSError:
                return
            self._phone.cables.add(cable)
            threading.Thread(target=self._serve, args=(cable,), daemon=True).start()

    def _serve(self, cable: socket.socket) -> None:
        try:
            Connection(self._phone, cable).serve()
        finally:
            self._phone.cables.discard(cable)
            cable.close()
