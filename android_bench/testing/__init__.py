"""An Android device that tests can talk to, where there is no phone: real adb, real ARM code, faults on demand."""

from android_bench.testing.device import Faults, TestDevice, missing_tools

__all__ = ["Faults", "TestDevice", "missing_tools"]
