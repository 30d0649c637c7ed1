"""An Android device over adb: pushes the native runner and the models, and runs them there."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from android_bench.errors import InputError
from android_bench.jobs import (
    TEMPERATURES,
    Configuration,
    Job,
    Measurement,
    Target,
    TargetLost,
    hottest,
    refuse_impossible,
)
from android_bench.runners import benchmark_model, native_runner, protocol
from android_bench.runners.benchmark_model import Machine, Program

FOLDER = "/data/local/tmp/android_bench"
CALL_TIMEOUT = 60.0
SLOWEST_PUSH = 200_000  # bytes a second
PROPERTIES = {
    "model": "ro.product.model",
    "soc": "ro.soc.model",
    "platform": "ro.board.platform",
    "abis": "ro.product.cpu.abilist64",
    "release": "ro.build.version.release",
    "api": "ro.build.version.sdk",
    "qemu": "ro.boot.qemu",
    "old_qemu": "ro.kernel.qemu",
}
LOST = re.compile(r"device .*not found|device offline|no devices|error: closed|protocol fault|device unauthorized")
STATES = {
    "authorizing": "accept the question on its screen, then run again",
    "unauthorized": "it does not trust this computer; accept the question on its screen, then run again",
    "offline": "it does not answer; plug it in again or run `adb reconnect`",
    "no permissions": "this user may not use its USB port; add udev rules or join the plugdev group",
    "recovery": "it is in recovery mode; start Android",
    "sideload": "it is in sideload mode; start Android",
    "bootloader": "it is in its bootloader; start Android",
}


@dataclass(frozen=True)
class Device:
    """One line of `adb devices`."""

    serial: str
    state: str


def adb_binary() -> str:
    """Return $ADB, the adb in PATH, or the one that the adbutils package carries; raise InputError without any."""
    named = os.environ.get("ADB")
    if named:
        if shutil.which(named) is None:
            raise InputError(f"$ADB is {named}, which cannot be run; name the adb binary")
        return named
    found = shutil.which("adb")
    if found:
        return found
    specification = importlib.util.find_spec("adbutils")
    for folder in (specification and specification.submodule_search_locations) or []:
        bundled = Path(folder) / "binaries" / "adb"
        if os.access(bundled, os.X_OK):
            return str(bundled)
    raise InputError("adb is not installed; apt-get install adb, pip install adbutils, or name it in $ADB")


def devices() -> list[Device]:
    """Return what adb sees, in any state."""
    process = _run([adb_binary(), "devices"], CALL_TIMEOUT, "adb devices")
    if process.returncode:
        raise InputError(f"adb devices failed ({_last_line(process)}); run `adb kill-server` and try again")
    lines = [line.split(None, 1) for line in _text(process.stdout).splitlines()[1:] if line.strip()]
    return [Device(words[0], words[1].strip()) for words in lines if len(words) == 2 and words[0] != "*"]


def choose(serial: str | None) -> str:
    """Return the serial of the device to use; raise InputError where there is none, or no single one."""
    known = devices()
    if serial is None:
        if not known:
            raise InputError("no Android device; plug one in with USB debugging on, or `adb connect HOST:PORT`")
        if len(known) > 1:
            serials = ", ".join(device.serial for device in known)
            raise InputError(f"{len(known)} devices ({serials}); choose one with --target adb:{known[0].serial}")
        serial = known[0].serial
    states = {device.serial: device.state for device in known}
    if serial not in states:
        seen = ", ".join(states) or "none"
        raise InputError(f"no device {serial}; adb sees: {seen}")
    state = states[serial]
    if state != "device":
        raise InputError(f"device {serial} is {state.split(' (')[0]}: {_mend(state)}")
    return serial


def describe(device: Device) -> tuple[str, str]:
    """Return the device's state and, where it is ready, what it is, else what to do."""
    if device.state != "device":
        return device.state.split(" (")[0], _mend(device.state)
    known = AdbTarget(device.serial).device
    return "ready", f"{known['model']}, {known['cpu']}, {known['cores']} cores, {known['os']}"


def _mend(state: str) -> str:
    mends = [mend for name, mend in STATES.items() if state.startswith(name)]
    return mends[0] if mends else "bring it to Android's home screen"


class AdbTarget(Target):
    """One device. Everything that is pushed lies in one folder there, removed at the end unless `keep_files`.

    `bundle` is the user's own build of the native runner; the default is ours, with a loader of its own.
    `program` is the user's benchmark_model.
    """

    runtimes = (protocol.NATIVE, protocol.BENCHMARK_MODEL)

    def __init__(
        self,
        serial: str | None = None,
        keep_files: bool = False,
        bundle: native_runner.Bundle | None = None,
        program: Program | None = None,
    ):
        self._bundle = bundle
        self._program = program
        self._adb = adb_binary()
        self._serial = choose(serial)
        self._keep_files = keep_files
        self._pushed: set[str] = set()
        self.name = f"adb:{self._serial}"

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._keep_files and not (kind and issubclass(kind, TargetLost)):
            self._shell(f"rm -rf {FOLDER}")

    def preflight(self, configurations: Sequence[Configuration]) -> None:
        if "arm64-v8a" not in self._properties["abis"].split(","):
            raise InputError(f"{self.name} has no 64-bit ARM ABI; the native runner needs arm64-v8a")
        refuse_impossible(self.name, range(self.device["cores"]), configurations)
        wanted = {(configuration.runtime, configuration.delegate) for configuration in configurations}
        if (protocol.NATIVE, "gpu") in wanted and self._bundle is None:
            raise InputError(
                "the bundled runner brings its own C library and cannot load a phone's GPU driver; give an NDK build "
                "with --native-runner, or take --runtime benchmark_model"
            )

    def temperature(self) -> float | None:
        return hottest(_text(self._shell(TEMPERATURES).stdout))

    def run(self, job: Job) -> Measurement:
        if self._program and job.configuration.runtime == protocol.BENCHMARK_MODEL:
            return benchmark_model.run(self._machine(), self._program, job)
        assert job.input is not None
        bundle = self._bundle or native_runner.for_aarch64()
        runner = self._push(sorted(path for path in bundle.folder.iterdir() if path.is_file()))
        model, input = self._place(job.model.path), self._place(job.input)
        output = f"{FOLDER}/output"
        command = [*bundle.command(runner, job.configuration.delegate), *protocol.arguments(job, model, output, input)]
        process = self._shell(shlex.join(command), job.timeout)
        document = protocol.document(job, _text(process.stdout), _text(process.stderr), process.returncode, self.name)
        document = native_runner.complete(document, bundle, self.device, self._emulated)
        content = self._pull(output)
        if content is None:
            raise TargetLost(f"{self.name}: the output could not be fetched; run again")
        return Measurement(document, content)

    def _machine(self) -> Machine:
        """Return what the device lends to a benchmark_model."""
        return Machine(
            name=self.name,
            folder=FOLDER,
            cpus=range(self.device["cores"]),
            device=self.device,
            emulated=self._emulated,
            shell=self._shell,
            place=self._place,
            fetch=self._pull,
        )

    @property
    def _emulated(self) -> bool:
        return "1" in (self._properties["qemu"], self._properties["old_qemu"])

    @cached_property
    def _properties(self) -> dict[str, str]:
        command = "; ".join(f"getprop {name}" for name in PROPERTIES.values())
        lines = _text(self._shell(command).stdout).splitlines()
        if len(lines) != len(PROPERTIES):
            raise InputError(f"{self.name} answered {len(lines)} of {len(PROPERTIES)} properties; run again")
        return dict(zip(PROPERTIES, (line.strip() for line in lines), strict=True))

    @cached_property
    def device(self) -> dict[str, Any]:
        """What the device is: model, CPU, cores, system, governor."""
        governor = "cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor 2>/dev/null | sort -u | tr '\\n' ' '"
        lines = _text(self._shell(f"nproc; uname -r; {governor}; echo").stdout).splitlines()
        if len(lines) < 3 or not lines[0].isdigit():
            raise InputError(f"{self.name} does not tell its cores ({' '.join(lines)}); run again")
        properties = self._properties
        return {
            "model": properties["model"] or None,
            "cpu": properties["soc"] or properties["platform"] or "unknown",
            "architecture": "arm64-v8a",
            "cores": int(lines[0]),
            "os": f"Android {properties['release']} (API {properties['api']})",
            "kernel": lines[1].strip(),
            "governor": ", ".join(lines[2].split()) or None,
        }

    def _push(self, paths: Sequence[Path]) -> str:
        """Push files and return the folder they are in; the same content lands in the same folder.

        What is there already is not sent again. Sizes and times prove nothing, so contents are hashed.
        """
        digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
        remote = f"{FOLDER}/{hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()[:16]}"
        if remote in self._pushed:
            return remote
        known = self._remote_digests(remote)
        missing = [path for path in paths if known.get(path.name) != digests[path.name]]
        if missing:
            self._shell(f"mkdir -p {remote}")
            timeout = CALL_TIMEOUT + sum(path.stat().st_size for path in missing) / SLOWEST_PUSH
            process = self._call(["push", *map(str, missing), f"{remote}/"], timeout)
            if "No space left" in _text(process.stdout + process.stderr):
                raise TargetLost(f"{self.name} has no space left in {FOLDER}; free some, then run again")
            if process.returncode:
                raise TargetLost(f"{self.name}: a push failed ({_last_line(process)}); run again")
            if self._remote_digests(remote) != digests:
                raise TargetLost(f"{self.name}: a file arrived damaged; check the cable, then run again")
        self._pushed.add(remote)
        return remote

    def _remote_digests(self, folder: str) -> dict[str, str]:
        lines = _text(self._shell(f"sha256sum {folder}/* 2>/dev/null").stdout).splitlines()
        pairs = [line.split(None, 1) for line in lines]
        return {os.path.basename(path): digest for digest, path in pairs}

    def _place(self, path: Path) -> str:
        """Push one file and return its path there."""
        return f"{self._push([path])}/{path.name}"

    def _pull(self, remote: str) -> bytes | None:
        """Return the bytes of a file, or None where it cannot be fetched."""
        with tempfile.TemporaryDirectory(prefix="android_bench-") as folder:
            local = Path(folder) / "output"
            process = self._call(["pull", remote, str(local)], CALL_TIMEOUT)
            return None if process.returncode or not local.exists() else local.read_bytes()

    def _shell(self, command: str, timeout: float | None = None) -> subprocess.CompletedProcess[bytes]:
        return self._call(["shell", command], timeout or CALL_TIMEOUT)

    def _call(self, words: list[str], timeout: float) -> subprocess.CompletedProcess[bytes]:
        """Run adb; raise TargetLost where the device is gone, which adb tells by 255 or by words."""
        process = _run([self._adb, "-s", self._serial, *words], timeout, f"{self.name}: adb {words[0]}")
        if process.returncode and (process.returncode == 255 or LOST.search(_text(process.stderr))):
            states = {device.serial: device.state for device in devices()}
            state = states.get(self._serial, "gone")
            if state != "device" or LOST.search(_text(process.stderr)):
                raise TargetLost(f"{self.name} went away ({state}); plug it in again, then run again with --resume")
        return process


def _run(command: list[str], timeout: float, what: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise TargetLost(
            f"{what} took longer than {timeout:.0f} s; check the device, or give a longer --timeout"
        ) from None


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _last_line(process: subprocess.CompletedProcess[bytes]) -> str:
    words = _text(process.stdout + process.stderr).strip().splitlines()
    return words[-1] if words else f"exit code {process.returncode}"
