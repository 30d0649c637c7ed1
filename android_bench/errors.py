"""What the command tells its user, and the exit code that goes with it."""

from __future__ import annotations

import contextlib
import errno
import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


class InputError(ValueError):
    """Input, a device or a tool that cannot be used. One line: the cause, then what would work."""


class RefusedError(Exception):
    """Something was measured and does not hold: a wrong output on the target, or a regression."""


class TargetLostError(InputError):
    """The target went away or cannot work on; nothing more will come from it."""


class TerminationError(BaseException):
    """A signal asked this process to end; raised so that everything cleans up after itself.

    Args:
        number: the signal's number.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


# What to do where the file system refuses, by the error's number.
MENDS = {
    errno.ENOSPC: "free some space there or choose another path",
    errno.EDQUOT: "free some space there or choose another path",
    errno.EACCES: "choose a path you may use",
    errno.EPERM: "choose a path you may use",
    errno.EROFS: "choose a path that can be written to",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another path",
    errno.EISDIR: "a folder stands where a file is needed; choose another path",
    errno.EEXIST: "a file stands where a folder is needed; choose another path",
    errno.ENOENT: "check the path",
    errno.EFBIG: "the file may not grow further; choose another path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its symbolic links lead in a circle; choose another path",
    errno.EIO: "the disk does not answer as it should; choose another path",
}


# What the bench imports and Python does not bring.
PACKAGES = ("ai_edge_litert", "jsonschema", "numpy", "rich")


def command_line(main: Callable[..., None]) -> Callable[..., int]:
    """Turn what `main` raises into one line on stderr and an exit code.

    Args:
        main: the command.

    Returns:
        A function that returns 0 for success, 2 for bad input, a device or a file system, 3 for a result that is
        refused, 130 for Ctrl-C, 143 for SIGTERM and 129 for SIGHUP. Anything else is a fault of ours and keeps its
        traceback.
    """

    @functools.wraps(main)
    def wrapped(*arguments: Any, **keywords: Any) -> int:
        try:
            with _signals_as_exceptions():
                main(*arguments, **keywords)
        except InputError as error:
            return _complain("error", str(error), 2)
        except RefusedError as error:
            return _complain("refused", str(error), 3)
        except KeyboardInterrupt:
            return _complain("interrupted", "stopped by Ctrl-C; what was already measured is kept", 130)
        except TerminationError as error:
            name = signal.Signals(error.number).name
            return _complain("interrupted", f"ended by {name}; what was already measured is kept", 128 + error.number)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in PACKAGES:
                raise
            return _complain("error", f"{package} is not installed; pip install 'keras-classics[bench]'", 2)
        except OSError as error:
            if error.errno not in MENDS:
                raise
            place = f"{error.filename}: " if error.filename else ""
            return _complain("error", f"{place}{error.strerror}; {MENDS[error.errno]}", 2)
        return 0

    return wrapped


@contextlib.contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise TerminationError here; Python would end without cleaning up.

    Only the main thread may set handlers. A signal that our parent lets us ignore stays ignored.
    """
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    """Raise TerminationError once; cleaning up is then not interrupted by the same signal."""
    signal.signal(number, signal.SIG_IGN)
    raise TerminationError(number)


def _complain(kind: str, message: str, code: int) -> int:
    """Print one line; control characters, which a device's words or a file's name may hold, become U+FFFD."""
    line = " ".join(message.split())
    print(f"{kind}: {''.join(each if each.isprintable() else '�' for each in line)}", file=sys.stderr)
    return code
