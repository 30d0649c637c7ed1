"""The file system and the programs of the test device: a root folder of its own, entered by a chroot."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

SHIM = Path(__file__).parent / "exec_shim.c"
SHARED = ("usr", "etc", "dev")
CPUINFO = """processor\t: 0
BogoMIPS\t: 38.40
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
"""
ENTER = """#!/bin/sh
set -e
{mounts}
mount --bind "{root}/system/cpuinfo" "{root}/proc/cpuinfo"
exec chroot "{root}" /usr/bin/env -i PATH=/system/bin:/usr/bin:/bin {variables} /bin/sh -c "$1"
"""


class Sandbox:
    """A root folder with /data/local/tmp, properties, cpufreq and thermal trees, and a shell that runs ARM code.

    `cpu` is the processor that qemu plays; `libraries` is a tree of ARM programs and libraries, whose
    `python3` then is the shell's.
    """

    def __init__(self, root: Path, properties: Mapping[str, str], cpu: str, libraries: Path | None = None):
        self.root = root
        self._cpu = cpu
        self._libraries = libraries
        for folder in (*SHARED, "proc", "system/bin", "system/lib", "data/local/tmp", "tmp", "arm"):
            (root / folder).mkdir(parents=True)
        for name in ("bin", "lib", "lib64", "sbin"):
            if os.path.islink(f"/{name}"):
                (root / name).symlink_to(f"usr/{name}")
        (root / "system/cpuinfo").write_text(CPUINFO)
        self._write_properties(properties)
        self._write_sensors()
        self._write_script()
        if libraries:
            (root / "system/bin/python3").symlink_to("/arm/usr/bin/python3.11")
        shim = root / "system/lib/exec_shim.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", shim, SHIM, "-ldl"], check=True, capture_output=True)

    def path(self, remote: str) -> Path:
        """Return where the device's absolute path `remote` is; ".." does not leave the device."""
        return self.root / os.path.normpath("/" + remote).lstrip("/")

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Start the device's shell with `command`, in a mount namespace of its own."""
        return subprocess.Popen(
            ["unshare", "--mount", self.script(), command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def script(self) -> str:
        """Return a program that, in a mount namespace of its own, runs the command that is its argument."""
        return str(self.root / "system/enter")

    def _write_script(self) -> None:
        variables = {
            "LD_PRELOAD": "/system/lib/exec_shim.so",
            "ANDROID_BENCH_QEMU": shutil.which("qemu-aarch64") or "",
            "ANDROID_BENCH_QEMU_CPU": self._cpu,
            "QEMU_LD_PREFIX": "/arm",
        }
        mounts = {f"/{name}": name for name in (*SHARED, "proc")}
        if self._libraries:
            mounts[str(self._libraries)] = "arm"
        program = Path(self.script())
        program.write_text(
            ENTER.format(
                root=self.root,
                mounts="\n".join(f'mount --rbind "{source}" "{self.root}/{place}"' for source, place in mounts.items()),
                variables=" ".join(f"{name}={value}" for name, value in variables.items()),
            )
        )
        program.chmod(0o755)

    def _write_properties(self, properties: Mapping[str, str]) -> None:
        cases = "".join(f"  {name}) echo '{value}';;\n" for name, value in properties.items())
        program = self.root / "system/bin/getprop"
        program.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}  *) echo;;\nesac\n')
        program.chmod(0o755)

    def _write_sensors(self) -> None:
        files = {"sys/class/thermal/thermal_zone0/type": "cpu-0-0", "sys/class/thermal/thermal_zone0/temp": "41500"}
        cores = os.cpu_count() or 1
        for name in ("possible", "present", "online"):
            files[f"sys/devices/system/cpu/{name}"] = f"0-{cores - 1}"
        for cpu in range(cores):
            folder = f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
            files[f"{folder}/scaling_governor"] = "schedutil"
            files[f"{folder}/scaling_cur_freq"] = "1804800"
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content + "\n")
