"""What the parts of the test device share: its file system, its faults and its cables."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, field

from android_bench.testing.sandbox import Sandbox


@dataclass
class Faults:
    """What goes wrong; change it at any time.

    Attributes:
        unauthorized: never accepts the host's key (from the next connection on).
        offline: never answers the host's greeting (from the next connection on).
        disk_full: no file can be pushed.
        hang_up_at: the cable is pulled when a shell command holds this text; it can be plugged in again.
        cut_output_at: the standard output of commands that hold this text ends in the middle.
        seconds_a_packet: a slow link.
    """

    unauthorized: bool = False
    offline: bool = False
    disk_full: bool = False
    hang_up_at: str | None = None
    cut_output_at: str | None = None
    seconds_a_packet: float = 0.0


@dataclass
class Phone:
    """The device as its services see it.

    Attributes:
        sandbox: its file system and programs.
        faults: what goes wrong.
        banner: how it introduces itself to a host.
        cables: the sockets of the hosts that are connected.
    """

    sandbox: Sandbox
    faults: Faults
    banner: bytes
    cables: set[socket.socket] = field(default_factory=set)

    def hang_up(self) -> None:
        """Drop every connection, as a pulled cable does."""
        for cable in list(self.cables):
            with contextlib.suppress(OSError):
                cable.shutdown(socket.SHUT_RDWR)
            cable.close()
