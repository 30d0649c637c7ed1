"""Child processes whose time, memory and output are bounded: a board may print, and a model ask, without end."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

# The most bytes that are kept of one process: far more than 200,000 samples with their processor times as text, or
# the outputs of any model that runs on a phone.
MOST_OUTPUT_BYTES = 256 * 1024 * 1024
PART_BYTES = 65536
# The share of what is free that a process may take: the rest of the machine must go on.
MEMORY_SHARE = 0.9


class OutputTooLongError(Exception):
    """A process printed more than is read of it; it was ended."""


def run(
    command: Sequence[str | os.PathLike[str]],
    timeout: float,
    content: bytes = b"",
    environment: Mapping[str, str] | None = None,
    memory: int | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end.

    Args:
        command: the program and its arguments.
        timeout: seconds after which it is killed.
        content: what it reads on its standard input.
        environment: its environment variables; None for ours.
        memory: the most bytes of data that it may have, on Linux, where it can then write no file larger than
            `MOST_OUTPUT_BYTES` either; None for no limit.

    Returns:
        What it printed and its exit code.

    Raises:
        subprocess.TimeoutExpired: where it took longer.
        OutputTooLongError: where it printed more than `MOST_OUTPUT_BYTES`.
        OSError: where it cannot be started.
    """
    deadline = time.monotonic() + timeout
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        try:
            if memory is not None:
                _limit(process.pid, memory)
            output, errors = _exchange(process, content, deadline)
            code = process.wait(max(0.0, deadline - time.monotonic()))
        except BaseException as error:
            process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                raise subprocess.TimeoutExpired(command, timeout) from None
            raise
    return subprocess.CompletedProcess(command, code, output, errors)


def free_memory() -> int | None:
    """Return how many bytes a process may have so that this machine goes on; None where that is not known."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            kilobytes = {line.split()[0]: int(line.split()[1]) for line in file}
        return int(MEMORY_SHARE * 1024 * kilobytes["MemAvailable:"])
    except (OSError, KeyError, ValueError, IndexError):
        return None


def text(content: bytes) -> str:
    """Return what a process printed as text; what is no UTF-8 becomes U+FFFD."""
    return content.decode("utf-8", "replace")


def last_line(content: bytes, code: int) -> str:
    """Return the last line that is not blank, or the exit code in words where there is none."""
    lines = text(content).strip().splitlines()
    return lines[-1] if lines else f"exit code {code}"


def _limit(process: int, memory: int) -> None:
    if sys.platform != "linux":
        return
    bounds = {resource.RLIMIT_DATA: memory, resource.RLIMIT_FSIZE: MOST_OUTPUT_BYTES, resource.RLIMIT_CORE: 0}
    with contextlib.suppress(ProcessLookupError):  # it has ended
        for kind, most in bounds.items():
            _, allowed = resource.prlimit(process, kind)
            most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
            resource.prlimit(process, kind, (most, most))


def _exchange(process: subprocess.Popen[bytes], content: bytes, deadline: float) -> tuple[bytes, bytes]:
    """Feed `content` and read both outputs until they are closed."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    waiting = memoryview(content)
    received = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    streams = list(received)
    with selectors.DefaultSelector() as selector:
        for stream in received:
            selector.register(stream, selectors.EVENT_READ)
        os.set_blocking(process.stdin.fileno(), False)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise subprocess.TimeoutExpired(process.args, 0)
            for key, _ in selector.select(remaining):
                if key.fileobj is process.stdin:
                    waiting = _feed(key.fd, waiting)
                    if not waiting:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                    continue
                part = os.read(key.fd, PART_BYTES)
                received[key.fd] += part
                if not part:
                    selector.unregister(key.fileobj)
                if sum(map(len, received.values())) > MOST_OUTPUT_BYTES:
                    raise OutputTooLongError(f"printed more than {MOST_OUTPUT_BYTES / 1e6:.0f} MB")
    output, errors = (bytes(received[stream]) for stream in streams)
    return output, errors


def _feed(descriptor: int, waiting: memoryview) -> memoryview:
    """Write what the pipe takes; return the rest, nothing where the process no longer reads."""
    try:
        return waiting[os.write(descriptor, waiting[:PART_BYTES]) :]
    except BlockingIOError:
        return waiting
    except BrokenPipeError:
        return waiting[:0]
