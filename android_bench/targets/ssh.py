"""A Linux board over ssh: uploads the Python runner and the models, and runs them with a runtime found there."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from android_bench import processes, records
from android_bench.document import Device
from android_bench.errors import InputError, TargetLostError
from android_bench.jobs import Configuration, Job, Measurement
from android_bench.processes import OutputTooLongError, last_line, text
from android_bench.runners import benchmark_model, protocol, python_runner
from android_bench.runners.benchmark_model import Machine, Program
from android_bench.targets import remote
from android_bench.targets.base import refuse_impossible
from android_bench.targets.remote import RemoteTarget

PROBE = Path(__file__).parent / "probe.py"
# How long ssh waits for a connection, in seconds.
CONNECT_TIMEOUT = 15
# The longest path of a Unix socket on Linux, 107 bytes, less the 17 that ssh adds while it makes one.
LONGEST_SOCKET_PATH = 90
# What ssh returns where it is not the command that failed.
CONNECTION_FAILED = 255
# The oldest Python that the runner is written for.
OLDEST_PYTHON = [3, 8]
# The oldest glibc that ai-edge-litert 2's wheels load with.
LITERT_GLIBC = [2, 34]
# What ssh says where it cannot connect, and what to do.
REFUSALS = {
    "Permission denied": "it does not take your key; run `ssh-copy-id {host}`",
    "Host key verification failed": "its host key is not known or has changed; run `ssh {host}` once by hand",
    "Could not resolve": "no such host; check the name or ~/.ssh/config",
    "Connection refused": "nothing listens there; start sshd on the board",
    "timed out": "it does not answer; check power and network",
    "No route": "it cannot be reached; check power and network",
}


@dataclass(frozen=True)
class Probe:
    """What is on a board, as `probe.py` tells it.

    Attributes:
        python: the version of its Python, two numbers.
        architecture: its processor's.
        glibc: the version of its C library, two numbers; zeros where it has another.
        cpus: the cores that a process may use.
        numpy: whether its Python has NumPy.
        runtimes: those that its Python has, the preferred first.
        temporary: its temporary folder.
    """

    python: list[int]
    architecture: str
    glibc: list[int]
    cpus: list[int]
    numpy: bool
    runtimes: list[str]
    temporary: str


@dataclass(frozen=True)
class Described:
    """What the runner's `--describe` tells."""

    device: Device
    emulated: bool


def ssh_command() -> list[str]:
    """Return the words that start ssh: $ANDROID_BENCH_SSH (a command with options, as git's) or `ssh`."""
    words = shlex.split(os.environ.get("ANDROID_BENCH_SSH", "ssh"))
    if not words or shutil.which(words[0]) is None:
        raise InputError("ssh is not installed; apt-get install openssh-client, or name it in $ANDROID_BENCH_SSH")
    return words


class SshTarget(RemoteTarget):
    """One board.

    Args:
        host: what `ssh` takes.
        python: the Python there that has a runtime.
        keep_files: whether files stay there for the next run.
        program: the user's benchmark_model; with one the board needs no other runtime, only NumPy.
    """

    def __init__(self, host: str, python: str = "python3", keep_files: bool = False, program: Program | None = None):
        super().__init__(keep_files)
        if not host or host.startswith("-") or not records.is_plain(host):
            raise InputError("name the board: --target ssh:HOST, where `ssh HOST` works without a password")
        self.name = f"ssh:{host}"
        self._host = host
        self._python = python
        self._program = program
        self._ssh = ssh_command()

    def preflight(self, configurations: Sequence[Configuration]) -> None:
        """Raise InputError where a configuration cannot run here at all."""
        refuse_impossible(self.name, self._probe.cpus, configurations)

    def run(self, job: Job) -> Measurement:
        """Run one job in a process of its own; raise InputError where it cannot, TargetLostError where nothing can."""
        if self._program and job.configuration.runtime == protocol.BENCHMARK_MODEL:
            return benchmark_model.run(self._machine, self._program, job)
        assert job.input is not None
        output = f"{self._folder}/output"
        words = protocol.arguments(job, self.place(job.model.path), output, self.place(job.input))
        command = shlex.join([self._python, self.place(self._runner), *words])
        process = self.run_program(f"exec {command}", job.timeout)
        return Measurement(protocol.read_document(job, process, self.name), self.fetch_output(output))

    def shell(
        self, command: str, timeout: float | None = None, content: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a shell command there; see `RemoteTarget.shell`."""
        timeout = timeout or remote.CALL_TIMEOUT
        try:
            process = processes.run([*self._ssh, self._host, command], timeout, content)
        except subprocess.TimeoutExpired:
            raise TargetLostError(
                f"{self.name} took longer than {timeout:.0f} s; check it, or raise --timeout"
            ) from None
        except OutputTooLongError as error:
            raise TargetLostError(f"{self.name} {error}; check what runs there") from None
        if process.returncode == CONNECTION_FAILED:
            words = text(process.stderr)
            mends = [mend for sign, mend in REFUSALS.items() if sign in words]
            mend = mends[0].format(host=self._host) if mends else "check the connection, then run again with --resume"
            reason = last_line(process.stderr, process.returncode)
            raise TargetLostError(f"{self.name} cannot be reached ({reason}): {mend}")
        return process

    def _connect(self, cleanups: contextlib.ExitStack) -> str:
        """Find what the board has; all later commands share one connection, where its socket's path is short enough."""
        scratch = cleanups.enter_context(tempfile.TemporaryDirectory(prefix="android_bench-ssh-"))
        options = {"BatchMode": "yes", "ConnectTimeout": str(CONNECT_TIMEOUT)}
        socket = f"{scratch}/socket"
        if len(os.fsencode(socket)) <= LONGEST_SOCKET_PATH:
            options |= {"ControlMaster": "auto", "ControlPath": socket.replace("%", "%%"), "ControlPersist": "60"}
        self._ssh = [*ssh_command(), *(word for item in options.items() for word in ("-o", "=".join(item)))]
        cleanups.callback(self._hang_up)
        self._runner = Path(scratch) / "runner.pyz"
        self._runner.write_bytes(python_runner.archive())
        self._probe = self._find_runtimes()
        self.runtimes = (*self._probe.runtimes, protocol.BENCHMARK_MODEL)
        return self._probe.temporary

    def _hang_up(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired, OutputTooLongError):
            processes.run([*self._ssh, "-O", "exit", self._host], remote.CLEANUP_TIMEOUT)

    def _upload(self, source: Path, remote: str, timeout: float) -> subprocess.CompletedProcess[bytes]:
        return self.shell(f"umask 077; cat > {shlex.quote(remote)}", timeout, source.read_bytes())

    def _is_trusted(self, owner: int, user: int) -> bool:
        return owner == 0

    @cached_property
    def _machine(self) -> Machine:
        """What the board lends to a benchmark_model."""
        process = self.shell(shlex.join([self._python, self.place(self._runner), "--describe"]))
        try:
            described = records.decode(Described, records.loads(process.stdout))
        except ValueError as error:
            raise InputError(f"{self.name} does not tell what it is ({error}); check {self._python} there") from None
        return Machine(
            name=self.name,
            folder=self._folder,
            cpus=self._probe.cpus,
            device=described.device,
            emulated=described.emulated,
            shell=self.shell,
            run_program=self.run_program,
            place=self.place,
            fetch=self.fetch,
        )

    def _find_runtimes(self) -> Probe:
        process = self.shell(f"{shlex.quote(self._python)} -", content=PROBE.read_bytes())
        try:
            probe = records.decode(Probe, records.loads(text(process.stdout).splitlines()[-1]))
        except (IndexError, ValueError):
            raise InputError(
                f"{self.name}: {self._python} does not run there ({last_line(process.stderr, process.returncode)}); "
                "name its Python with --remote-python"
            ) from None
        if probe.python < OLDEST_PYTHON:
            version = ".".join(map(str, probe.python))
            raise InputError(f"{self.name} has Python {version}; the runner needs 3.8, see --remote-python")
        if not probe.numpy or not (probe.runtimes or self._program):
            raise InputError(f"{self.name}: {self._python} has no runtime; {how_to_install(probe)}")
        return probe


def how_to_install(probe: Probe) -> str:
    """Return what to install on a board: ai-edge-litert where its C library is new enough, else an older runtime."""
    glibc = ".".join(map(str, probe.glibc))
    if not probe.numpy:
        return "install numpy there first, then ai-edge-litert or tflite-runtime"
    if probe.architecture in ("aarch64", "x86_64") and probe.glibc >= LITERT_GLIBC:
        return "pip install ai-edge-litert there"
    return (
        f"its glibc {glibc} on {probe.architecture} is too old for ai-edge-litert 2 (2.34, 64 bits); "
        "pip install tflite-runtime 'numpy<2' there"
    )
