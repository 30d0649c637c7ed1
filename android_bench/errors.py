"""What the command tells its user, and the exit code that goes with it."""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Callable
from typing import Any


class InputError(ValueError):
    """Input, a device or a tool that cannot be used. One line: the cause, then what would work."""


class Refused(Exception):
    """Something was measured and does not hold: a wrong output on the target, or a regression."""


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
}


def command_line(main: Callable[..., None]) -> Callable[..., int]:
    """Turn what `main` raises into one line on stderr and an exit code.

    0 success, 2 bad input, device or file system, 3 a result that is refused, 130 Ctrl-C. Anything
    else is a fault of ours and keeps its traceback.
    """

    @functools.wraps(main)
    def wrapped(*arguments: Any, **keywords: Any) -> int:
        try:
            main(*arguments, **keywords)
        except InputError as error:
            return _complain("error", str(error), 2)
        except Refused as error:
            return _complain("refused", str(error), 3)
        except KeyboardInterrupt:
            return _complain("interrupted", "stopped by Ctrl-C; what was already measured is kept", 130)
        except OSError as error:
            if error.errno not in MENDS:
                raise
            place = f"{error.filename}: " if error.filename else ""
            return _complain("error", f"{place}{error.strerror}; {MENDS[error.errno]}", 2)
        return 0

    return wrapped


def _complain(kind: str, message: str, code: int) -> int:
    print(f"{kind}: {' '.join(message.split())}", file=sys.stderr)
    return code
