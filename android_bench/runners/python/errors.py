"""What the runner reports instead of a measurement."""

from __future__ import annotations


class RunnerError(Exception):
    """A fault with a name that the host knows (`kind`) and the runtime's own words.

    Args:
        kind: "runtime", "model", "input", "threads" or "cpus".
        message: the cause, as the runtime or the system words it.
    """

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind
