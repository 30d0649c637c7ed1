"""Devices that tests can talk to, where there is no phone and no board: real adb and ssh, real ARM code, faults."""

from android_bench.testing.board import TestBoard, missing_board_tools
from android_bench.testing.device import TestDevice, missing_tools
from android_bench.testing.phone import Faults

__all__ = ["Faults", "TestBoard", "TestDevice", "missing_board_tools", "missing_tools"]
