"""A Linux board over ssh: uploads the Python runner and the models, and runs them with a runtime found there."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
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
from android_bench.runners import benchmark_model, protocol
from android_bench.runners.benchmark_model import Machine, Program

RUNNER = Path(__file__).parent.parent / "runners" / "python_runner.py"
PROBE = Path(__file__).parent / "probe.py"
CALL_TIMEOUT = 60.0
CONNECT_TIMEOUT = 15
SLOWEST_UPLOAD = 200_000  # bytes a second
CONNECTION_FAILED = 255
OLDEST_PYTHON = (3, 8)
LITERT_GLIBC = (2, 34)
REFUSALS = {
    "Permission denied": "it does not take your key; run `ssh-copy-id {host}`",
    "Host key verification failed": "its host key is not known or has changed; run `ssh {host}` once by hand",
    "Could not resolve": "no such host; check the name or ~/.ssh/config",
    "Connection refused": "nothing listens there; start sshd on the board",
    "timed out": "it does not answer; check power and network",
    "No route": "it cannot be reached; check power and network",
}


def ssh_command() -> list[str]:
    """Return the words that start ssh: $ANDROID_BENCH_SSH (a command with options, as git's) or `ssh`."""
    words = shlex.split(os.environ.get("ANDROID_BENCH_SSH", "ssh"))
    if not words or shutil.which(words[0]) is None:
        raise InputError("ssh is not installed; apt-get install openssh-client, or name it in $ANDROID_BENCH_SSH")
    return words


class SshTarget(Target):
    """One board. `host` is what `ssh` takes; `python` is the Python there that has a runtime.

    `program` is the user's benchmark_model; with one the board needs no other runtime, only NumPy.
    """

    def __init__(self, host: str, python: str = "python3", keep_files: bool = False, program: Program | None = None):
        if not host or host.startswith("-"):
            raise InputError("name the board: --target ssh:HOST, where `ssh HOST` works without a password")
        self.name = f"ssh:{host}"
        self._host = host
        self._python = python
        self._program = program
        self._keep_files = keep_files
        self._pushed: set[str] = set()
        self._sockets = tempfile.TemporaryDirectory(prefix="android_bench-ssh-")
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": str(CONNECT_TIMEOUT),
            "ControlMaster": "auto",
            "ControlPath": f"{self._sockets.name}/%C",
            "ControlPersist": "60",
        }
        self._ssh = [*ssh_command(), *(word for item in options.items() for word in ("-o", "=".join(item)))]
        self._probe = self._find_runtimes()
        self.runtimes = (*self._probe["runtimes"], protocol.BENCHMARK_MODEL)
        self._folder = f"{self._probe['temporary']}/android_bench-{self._probe['user']}"

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if not self._keep_files and not (kind and issubclass(kind, TargetLost)):
                self._call(f"rm -rf {shlex.quote(self._folder)}")
            subprocess.run([*self._ssh, "-O", "exit", self._host], capture_output=True, timeout=CALL_TIMEOUT)
        finally:
            self._sockets.cleanup()

    def preflight(self, configurations: Sequence[Configuration]) -> None:
        refuse_impossible(self.name, self._probe["cpus"], configurations)

    def temperature(self) -> float | None:
        return hottest(_text(self._call(TEMPERATURES).stdout))

    def run(self, job: Job) -> Measurement:
        if self._program and job.configuration.runtime == protocol.BENCHMARK_MODEL:
            return benchmark_model.run(self._machine, self._program, job)
        assert job.input is not None
        output = f"{self._folder}/output"
        words = protocol.arguments(job, self._push(job.model.path), output, self._push(job.input))
        command = shlex.join([self._python, self._push(RUNNER), *words])
        process = self._call(command, timeout=job.timeout)
        document = protocol.document(job, _text(process.stdout), _text(process.stderr), process.returncode, self.name)
        content = self._fetch(output)
        if content is None:
            raise TargetLost(f"{self.name}: the output could not be fetched; run again")
        return Measurement(document, content)

    @cached_property
    def _machine(self) -> Machine:
        """What the board lends to a benchmark_model."""
        described = json.loads(self._call(shlex.join([self._python, self._push(RUNNER), "--describe"])).stdout)
        return Machine(
            name=self.name,
            folder=self._folder,
            cpus=self._probe["cpus"],
            device=described["device"],
            emulated=described["emulated"],
            shell=lambda command, timeout: self._call(command, timeout=timeout),
            place=self._push,
            fetch=self._fetch,
        )

    def _fetch(self, path: str) -> bytes | None:
        process = self._call(f"cat {shlex.quote(path)}")
        return None if process.returncode else process.stdout

    def _find_runtimes(self) -> dict[str, Any]:
        process = self._call(f"{shlex.quote(self._python)} -", PROBE.read_bytes())
        try:
            probe: dict[str, Any] = json.loads(_text(process.stdout).splitlines()[-1])
        except (IndexError, ValueError):
            raise InputError(
                f"{self.name}: {self._python} does not run there ({_last_line(process)}); "
                "name its Python with --remote-python"
            ) from None
        if tuple(probe["python"]) < OLDEST_PYTHON:
            raise InputError(f"{self.name} has Python {probe['python']}; the runner needs 3.8, see --remote-python")
        if not probe["numpy"] or not (probe["runtimes"] or self._program):
            raise InputError(f"{self.name}: {self._python} has no runtime; {_how_to_install(probe)}")
        return probe

    def _push(self, path: Path) -> str:
        """Upload a file unless one of the same content is there, and return where it is."""
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        remote = f"{self._folder}/{digest}{path.suffix}"
        if remote in self._pushed:
            return remote
        quoted = shlex.quote(remote)
        if self._remote_digest(quoted) != digest:
            timeout = CALL_TIMEOUT + len(content) / SLOWEST_UPLOAD
            process = self._call(f"mkdir -p {shlex.quote(self._folder)} && cat > {quoted}", content, timeout)
            if b"No space left" in process.stderr:
                raise TargetLost(f"{self.name} has no space left in {self._folder}; free some, then run again")
            if process.returncode or self._remote_digest(quoted) != digest:
                raise TargetLost(f"{self.name}: {path.name} did not arrive whole ({_last_line(process)}); run again")
        self._pushed.add(remote)
        return remote

    def _remote_digest(self, quoted: str) -> str:
        return _text(self._call(f"sha256sum {quoted} 2>/dev/null").stdout).partition(" ")[0]

    def _call(
        self, command: str, content: bytes = b"", timeout: float | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a shell command there; raise TargetLost where the board cannot be reached or does not end in time."""
        timeout = timeout or CALL_TIMEOUT
        try:
            process = subprocess.run(
                [*self._ssh, self._host, command], input=content, capture_output=True, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            raise TargetLost(f"{self.name} took longer than {timeout:.0f} s; check it, or raise --timeout") from None
        if process.returncode == CONNECTION_FAILED:
            words = _text(process.stderr)
            mends = [mend for sign, mend in REFUSALS.items() if sign in words]
            mend = mends[0].format(host=self._host) if mends else "check the connection, then run again with --resume"
            raise TargetLost(f"{self.name} cannot be reached ({_last_line(process)}): {mend}")
        return process


def _how_to_install(probe: dict[str, Any]) -> str:
    """Return what to install on a board: ai-edge-litert where its C library is new enough, else an older runtime."""
    glibc = ".".join(map(str, probe["glibc"]))
    if not probe["numpy"]:
        return "install numpy there first, then ai-edge-litert or tflite-runtime"
    if probe["architecture"] in ("aarch64", "x86_64") and tuple(probe["glibc"]) >= LITERT_GLIBC:
        return "pip install ai-edge-litert there"
    return (
        f"its glibc {glibc} on {probe['architecture']} is too old for ai-edge-litert 2 (2.34, 64 bits); "
        "pip install tflite-runtime 'numpy<2' there"
    )


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _last_line(process: subprocess.CompletedProcess[bytes]) -> str:
    words = _text(process.stderr).strip().splitlines()
    return words[-1] if words else f"exit code {process.returncode}"
