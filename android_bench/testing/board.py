"""A Linux board for tests: a real sshd on loopback, with this machine's userland or one of ARM."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Self

from android_bench.files import cache_folder
from android_bench.testing.sandbox import Sandbox

# Programs that this machine must have and the Debian packages that have them, and where they are looked for.
TOOLS = {"sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}
SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
# Debian 12's Python for ARM and what it is linked to, and the platform tags of its wheels for pip.
ARM_PACKAGES = (
    *("libc6", "libgcc-s1", "gcc-12-base", "libstdc++6", "libcrypt1", "libtirpc3", "libnsl2"),
    *("zlib1g", "libbz2-1.0", "liblzma5", "libexpat1", "libffi8", "libssl3", "libuuid1"),
    *("libsqlite3-0", "libdb5.3", "libncursesw6", "libtinfo6", "libreadline8"),
    *("libpython3.11-minimal", "libpython3.11-stdlib", "python3.11-minimal"),
)
ARM_PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")
# How long sshd may take to listen, in seconds.
START_SECONDS = 10.0


def missing_board_tools() -> list[str]:
    """Return what this machine lacks to run a test board, in words; empty where nothing is missing."""
    missing = [
        f"{tool} (apt-get install {package})" for tool, package in TOOLS.items() if not shutil.which(tool, path=SEARCH)
    ]
    if os.geteuid():
        missing.append("root, for sshd")
    return missing


class TestBoard:
    """A board that `ssh board` reaches with `ssh_command`, for use as a context manager.

    Args:
        arm: whether its programs are of 64-bit ARM, run by qemu (Debian's Python, numpy and
            ai-edge-litert, fetched once and kept in the user's cache).

    Attributes:
        ssh_command: ssh with the options that find this board, for $ANDROID_BENCH_SSH.
        temporary: its temporary folder, as this machine sees it.
    """

    __test__ = False

    def __init__(self, arm: bool = False):
        self._arm = arm

    def __enter__(self) -> Self:
        """Start sshd."""
        self._kept = tempfile.TemporaryDirectory(prefix="android_bench-board-")
        folder = Path(self._kept.name)
        for name in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        enter = folder / "enter"
        enter.write_text(self._enter(folder))
        enter.chmod(0o755)
        settings = {
            "Port": port,
            "ListenAddress": "127.0.0.1",
            "HostKey": folder / "host_key",
            "AuthorizedKeysFile": folder / "authorized_keys",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "UsePAM": "no",
            "PermitRootLogin": "prohibit-password",
            "StrictModes": "no",
            "PidFile": "none",
            "ForceCommand": enter,
        }
        config = folder / "sshd_config"
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        Path("/run/sshd").mkdir(exist_ok=True)
        sshd = shutil.which("sshd", path=SEARCH)
        self._sshd = subprocess.Popen([str(sshd), "-D", "-e", "-f", config], stderr=subprocess.DEVNULL)
        self._wait(port)
        client = {
            "HostName": "127.0.0.1",
            "Port": port,
            "User": "root",
            "IdentityFile": folder / "user_key",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
        }
        self.ssh_command = " ".join(["ssh -F none", *(f"-o {name}={value}" for name, value in client.items())])
        return self

    def __exit__(self, *_: object) -> None:
        """Stop sshd and remove the board's files."""
        self.stop()
        self._kept.cleanup()

    def stop(self) -> None:
        """Stop sshd: nothing listens any more."""
        self._sshd.terminate()
        self._sshd.wait()

    def forget_key(self) -> None:
        """Let the board no longer know the user's key."""
        (Path(self._kept.name) / "authorized_keys").write_text("")

    def temporary_files(self) -> list[Path]:
        """Return the files that lie in the board's temporary folder."""
        return [path for path in self.temporary.rglob("*") if path.is_file()]

    def _enter(self, folder: Path) -> str:
        """Return the script in whose hands sshd puts every command."""
        if not self._arm:
            return f'#!/bin/sh\nTMPDIR={self.temporary} exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'
        sandbox = Sandbox(folder / "root", {}, "cortex-a72", libraries=arm_userland())
        return f'#!/bin/sh\nexec unshare --mount {sandbox.script()} "$SSH_ORIGINAL_COMMAND"\n'

    def _wait(self, port: int) -> None:
        limit = time.monotonic() + START_SECONDS
        while time.monotonic() < limit:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError("sshd did not start")


def arm_userland() -> Path:
    """Return a folder with Debian's Python for ARM, numpy and ai-edge-litert, fetched when first asked for."""
    version = metadata.version("ai-edge-litert")
    digest = hashlib.sha256(f"{ARM_PACKAGES} {version}".encode()).hexdigest()[:16]
    root = cache_folder()
    userland = root / f"arm-userland-{digest}"
    if not userland.exists():
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix="fetching-") as folder:
            tree = Path(folder) / "tree"
            tree.mkdir()
            _unpack_packages(Path(folder), tree)
            _install_wheels(version, tree / "usr/lib/python3/dist-packages")
            tree.rename(userland)
    return userland


def _unpack_packages(folder: Path, tree: Path) -> None:
    """Fetch Debian packages for ARM with lists of their own, so that this machine's stay as they are."""
    lists = folder / "lists"
    (lists / "partial").mkdir(parents=True)
    options = ["-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64", "-o", f"Dir::State::Lists={lists}"]
    subprocess.run(["apt-get", "-q", *options, "update"], check=True, capture_output=True)
    packages = folder / "packages"
    packages.mkdir()
    packages.chmod(0o777)
    subprocess.run(
        ["apt-get", "-q", *options, "download", *ARM_PACKAGES], check=True, capture_output=True, cwd=packages
    )
    for package in packages.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", package, tree], check=True)


def _install_wheels(version: str, folder: Path) -> None:
    platforms = [word for platform in ARM_PLATFORMS for word in ("--platform", platform)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:", "--python-version", "3.11"]
    requirements = [f"ai-edge-litert=={version}", "numpy", "flatbuffers"]
    subprocess.run([*command, *platforms, "--target", folder, *requirements], check=True, capture_output=True)
