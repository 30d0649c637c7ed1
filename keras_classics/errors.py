"""What a command tells its user, and the exit code that goes with it."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import functools
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from types import FrameType
from typing import Any, NoReturn


class InputError(ValueError):
    """Input that cannot be used. The message is one line: the cause, then what would work."""


class GateError(Exception):
    """A result that was made, measured and refused. The message says which measure failed."""


class TerminationError(BaseException):
    """A signal asked this process to end; raised so that everything cleans up after itself.

    Args:
        number: the signal's number.
    """

    def __init__(self, number: int, message: str = "nothing half-written is left") -> None:
        super().__init__(number)
        self.number, self.message = number, message


class FailedPartError(RuntimeError):
    """A part of ours, or a program that it uses, failed on input that was accepted. The message is one line."""


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not among `known`, with its nearest neighbours."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return InputError(f"unknown {kind} {name!r}; {hint}")


class ArgumentParser(argparse.ArgumentParser):
    """One that complains as everything else here does: in one line, without the usage."""

    def parse_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        """Parse; of a flag that is not known, tell the nearest that is."""
        found, rest = self.parse_known_args(None if args is None else list(args), namespace)
        if rest:
            flags = re.findall(r"--[\w-]+", self.format_help())
            near = difflib.get_close_matches(rest[0].partition("=")[0], flags, n=1)
            self.error(f"unrecognized arguments: {' '.join(rest)}" + (f"; did you mean {near[0]}?" if near else ""))
        return found

    def error(self, message: str) -> NoReturn:
        """Raise InputError."""
        raise InputError(f"{message}{'' if message.endswith('?') else ';'} see --help")


# The extra of this package that brings a module, where it is not Keras's backend.
_EXTRAS = {
    "ai_edge_litert": "export",
    "flatbuffers": "export",
    "jsonschema": "bench",
    "litert_quantizer": "export",
    "matplotlib": "train",
    "mlxtend": "train",
    "PIL": "train",
    "scipy": "train",
    "sklearn": "train",
    "tensorflow_datasets": "tfds",
    "tensorflow_model_optimization": "export",
    "tf_keras": "export",
}
_BACKENDS = ("tensorflow", "jax", "torch")


def missing(module: str) -> InputError | None:
    """The error for a package that is not installed; None where no extra of ours would bring it."""
    if module in _BACKENDS:
        others = [name for name in _BACKENDS if name != module and find_spec(name)]
        instead = f", or set KERAS_BACKEND={others[0]}, which is installed" if others else ""
        return InputError(f"{module} is not installed; pip install 'keras-classics[{module}]'{instead}")
    if module not in _EXTRAS:
        return None
    return InputError(f"{module} is not installed; pip install 'keras-classics[{_EXTRAS[module]}]'")


def require(*modules: str) -> None:
    """Raise InputError for the first of these packages that is not installed, with what installs it."""
    for module in modules:
        if find_spec(module) is None:
            raise missing(module) or InputError(f"{module} is not installed; pip install it")


# Other systems than Unix lack the second.
ENDING_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
# What to do about each way in which a file system refuses.
_MENDS = {
    errno.ENOSPC: "free some space there or choose another folder",
    errno.EDQUOT: "free some space there or choose another folder",
    errno.EACCES: "choose a folder or file you may use",
    errno.EPERM: "choose a folder or file you may use",
    errno.EROFS: "choose a folder that can be written to",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another path",
    errno.EISDIR: "a folder stands where a file is needed; choose another path",
    errno.EEXIST: "a file stands where a folder is needed; choose another path",
    errno.ENOENT: "check the path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its symbolic links lead in a circle; choose another path",
    errno.EFBIG: "the file may not grow further; choose another folder",
    errno.EIO: "the disk does not answer as it should; choose another folder",
}


def command_line(main: Callable[..., None]) -> Callable[..., int]:
    """Turn what `main` raises into one line on stderr and an exit code.

    0 success, 2 bad input or a file system that refuses, 3 a failed gate, 4 a part that failed, 130 Ctrl-C,
    143 SIGTERM, 129 SIGHUP. Anything else is a fault of ours that no part foresaw, and keeps its traceback.
    """

    @functools.wraps(main)
    def wrapped(*arguments: Any, **keywords: Any) -> int:
        try:
            with _signals_as_exceptions():
                main(*arguments, **keywords)
        except InputError as error:
            return _complain("error", str(error), 2)
        except GateError as error:
            return _complain("refused", str(error), 3)
        except FailedPartError as error:
            return _complain("failed", str(error), 4)
        except KeyboardInterrupt as error:
            return _complain("interrupted", str(error) or "stopped by Ctrl-C; nothing half-written is left", 130)
        except TerminationError as error:
            name = signal.Signals(error.number).name
            return _complain("interrupted", f"ended by {name}; {error.message}", 128 + error.number)
        except ModuleNotFoundError as error:
            mend = missing((error.name or "").partition(".")[0])
            if mend is None:
                raise
            return _complain("error", str(mend), 2)
        except OSError as error:
            if error.errno not in _MENDS:
                raise
            place = f"{error.filename}: " if error.filename else ""
            return _complain("error", f"{place}{error.strerror}; {_MENDS[error.errno]}", 2)
        return 0

    return wrapped


@contextlib.contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise TerminationError here; Python would end without cleaning up.

    Only the main thread may set handlers. A signal that our parent lets us ignore stays ignored.
    """
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in ENDING_SIGNALS:
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
    """Print one line; control characters, which a file's name or content may hold, become U+FFFD."""
    line = " ".join(message.split())
    print(f"{kind}: {''.join(each if each.isprintable() else '�' for each in line)}", file=sys.stderr)
    return code
