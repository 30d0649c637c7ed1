"""How long a process that was started for another one lives."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # of Linux's prctl(2): the signal that a process gets when the one that started it ends


def end_with(parent: int) -> None:
    """Let this process end at once when its parent does, also while a library holds the interpreter's lock (Linux).

    Args:
        parent: the process that started this one, which may have ended meanwhile.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
