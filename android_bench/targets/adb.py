"""An Android device over adb: pushes the native runner and the models, and runs them there."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from android_bench import processes
from android_bench.document import Device, Environment
from android_bench.errors import InputError, TargetLostError
from android_bench.jobs import Configuration, Job, Measurement
from android_bench.processes import OutputTooLongError, last_line, text
from android_bench.runners import benchmark_model, native_runner, protocol
from android_bench.runners.benchmark_model import Machine, Program
from android_bench.targets import remote
from android_bench.targets.base import refuse_impossible
from android_bench.targets.remote import RemoteTarget

# Where adb's shell may write and run programs.
TEMPORARY = "/data/local/tmp"
# What adb's shell returns where the device is gone, and where a command there returns the same.
CONNECTION_FAILED = 255
# Android gives its own services the user numbers below this one and apps those above (android_filesystem_config.h).
FIRST_APP = 10_000
# The properties that a row is made of.
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
# What adb says where the device is gone.
LOST = re.compile(r"device .*not found|device offline|no devices|error: closed|protocol fault|device unauthorized")
# The states of `adb devices` in which a device cannot be used, and what to do.
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
class Listed:
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


def devices() -> list[Listed]:
    """Return what adb sees, in any state."""
    process = _run([adb_binary(), "devices"], remote.CALL_TIMEOUT, "adb devices")
    if process.returncode:
        reason = last_line(process.stdout + process.stderr, process.returncode)
        raise InputError(f"adb devices failed ({reason}); run `adb kill-server` and try again")
    lines = [line.split(None, 1) for line in text(process.stdout).splitlines()[1:] if line.strip()]
    return [Listed(words[0], words[1].strip()) for words in lines if len(words) == 2 and words[0] != "*"]


def choose(serial: str | None) -> str:
    """Choose a device.

    Args:
        serial: the user's choice; None for the only one.

    Returns:
        The serial of a device that is ready.

    Raises:
        InputError: where there is none, or no single one, or it is in another state.
    """
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


def describe(device: Listed) -> tuple[str, str]:
    """Return the device's state and, where it is ready, what it is, else what to do."""
    if device.state != "device":
        return device.state.split(" (")[0], _mend(device.state)
    known = AdbTarget(device.serial).device
    return "ready", f"{known.model}, {known.cpu}, {known.cores} cores, {known.os}"


def _mend(state: str) -> str:
    mends = [mend for name, mend in STATES.items() if state.startswith(name)]
    return mends[0] if mends else "bring it to Android's home screen"


class AdbTarget(RemoteTarget):
    """One device.

    Args:
        serial: which of those that adb sees; None for the only one.
        keep_files: whether files stay there for the next run.
        bundle: the user's own build of the native runner; the default is ours, with a loader of its own.
        program: the user's benchmark_model.
    """

    runtimes = (protocol.NATIVE, protocol.BENCHMARK_MODEL)
    untrusted_writers = 0o002

    def __init__(
        self,
        serial: str | None = None,
        keep_files: bool = False,
        bundle: native_runner.Bundle | None = None,
        program: Program | None = None,
    ):
        super().__init__(keep_files)
        self._bundle = bundle
        self._program = program
        self._adb = adb_binary()
        self._serial = choose(serial)
        self.name = f"adb:{self._serial}"

    def preflight(self, configurations: Sequence[Configuration]) -> None:
        """Raise InputError where a configuration cannot run here at all."""
        if "arm64-v8a" not in self._properties["abis"].split(","):
            raise InputError(f"{self.name} has no 64-bit ARM ABI; the native runner needs arm64-v8a")
        refuse_impossible(self.name, range(self.device.cores), configurations)
        wanted = {(configuration.runtime, configuration.delegate) for configuration in configurations}
        if (protocol.NATIVE, "gpu") in wanted and self._bundle is None:
            raise InputError(
                "the bundled runner brings its own C library and cannot load a phone's GPU driver; give an NDK build "
                "with --native-runner, or take --runtime benchmark_model"
            )

    def run(self, job: Job) -> Measurement:
        """Run one job in a process of its own; raise InputError where it cannot, TargetLostError where nothing can."""
        if self._program and job.configuration.runtime == protocol.BENCHMARK_MODEL:
            return benchmark_model.run(self._machine(), self._program, job)
        assert job.input is not None
        bundle = self._bundle or native_runner.for_aarch64()
        runner = self.place_together(sorted(path for path in bundle.folder.iterdir() if path.is_file()))
        model, input = self.place(job.model.path), self.place(job.input)
        output = f"{self._folder}/output"
        command = [*bundle.command(runner, job.configuration.delegate), *protocol.arguments(job, model, output, input)]
        process = self.run_program(f"exec {shlex.join(command)}", job.timeout)
        if b"{" not in process.stdout:
            self._refuse_if_gone()  # adb may end with code 0 and no word when the cable is pulled
        environment = Environment(bundle.version, self.device, self._emulated)
        document = native_runner.complete(protocol.read_document(job, process, self.name, environment))
        return Measurement(document, self.fetch_output(output))

    def shell(
        self, command: str, timeout: float | None = None, content: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a shell command there; see `RemoteTarget.shell`."""
        return self._call(["shell", command], timeout or remote.CALL_TIMEOUT, content)

    @cached_property
    def device(self) -> Device:
        """What the device is: model, CPU, cores, system, governor."""
        governor = "cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor 2>/dev/null | sort -u | tr '\\n' ' '"
        lines = text(self.shell(f"nproc; uname -r; {governor}; echo").stdout).splitlines()
        if len(lines) < 3 or not re.fullmatch(r"[1-9]\d{0,4}", lines[0]):
            raise InputError(f"{self.name} does not tell its cores ({' '.join(lines)[:200]}); run again")
        properties = self._properties
        return Device(
            model=properties["model"] or None,
            cpu=properties["soc"] or properties["platform"] or "unknown",
            architecture="arm64-v8a",
            cores=int(lines[0]),
            os=f"Android {properties['release']} (API {properties['api']})",
            kernel=lines[1].strip(),
            governor=", ".join(lines[2].split()) or None,
        )

    def _connect(self, cleanups: contextlib.ExitStack) -> str:
        return TEMPORARY

    def _upload(self, source: Path, remote: str, timeout: float) -> subprocess.CompletedProcess[bytes]:
        return self._call(["push", str(source.absolute()), remote], timeout)

    def _is_trusted(self, owner: int, user: int) -> bool:
        return owner < FIRST_APP

    def _folders_to_trust(self, temporary: str) -> list[str]:
        """Return the temporary folder alone; those above it are Android's, which guards them itself."""
        return [temporary]

    def _machine(self) -> Machine:
        """Return what the device lends to a benchmark_model."""
        return Machine(
            name=self.name,
            folder=self._folder,
            cpus=range(self.device.cores),
            device=self.device,
            emulated=self._emulated,
            shell=self.shell,
            run_program=self.run_program,
            place=self.place,
            fetch=self.fetch,
        )

    @property
    def _emulated(self) -> bool:
        return "1" in (self._properties["qemu"], self._properties["old_qemu"])

    @cached_property
    def _properties(self) -> dict[str, str]:
        command = "; ".join(f"getprop {name}" for name in PROPERTIES.values())
        lines = text(self.shell(command).stdout).splitlines()
        if len(lines) != len(PROPERTIES):
            raise InputError(f"{self.name} answered {len(lines)} of {len(PROPERTIES)} properties; run again")
        return dict(zip(PROPERTIES, (line.strip() for line in lines), strict=True))

    def _call(self, words: list[str], timeout: float, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run adb; raise TargetLostError where the device is gone, which adb tells by 255 or by words."""
        process = _run([self._adb, "-s", self._serial, *words], timeout, f"{self.name}: adb {words[0]}", content)
        told = text(process.stderr if words[0] == "shell" else process.stdout + process.stderr)
        lost = bool(LOST.search(told))
        if process.returncode and (process.returncode == CONNECTION_FAILED or lost):
            self._refuse_if_gone(lost)
        return process

    def _refuse_if_gone(self, lost: bool = False) -> None:
        """Raise TargetLostError where adb no longer sees the device ready, or has said that it is `lost`."""
        state = {device.serial: device.state for device in devices()}.get(self._serial, "gone")
        if lost or state != "device":
            raise TargetLostError(f"{self.name} went away ({state}); plug it in again, then run again with --resume")


def _run(command: list[str], timeout: float, what: str, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return processes.run(command, timeout, content)
    except subprocess.TimeoutExpired:
        raise TargetLostError(
            f"{what} took longer than {timeout:.0f} s; check the device, or give a longer --timeout"
        ) from None
    except OutputTooLongError as error:
        raise TargetLostError(f"{what} {error}; check what runs there") from None
