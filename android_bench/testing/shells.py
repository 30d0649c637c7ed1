"""The shell services of the test device."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import threading

from android_bench.testing import protocol
from android_bench.testing.stream import Stream


class Shell(Stream):
    """A command. What it prints goes through `frame`."""

    def run(self) -> None:
        """Run the command to its end, or pull the cable."""
        faults = self.device.faults
        if faults.hang_up_at and faults.hang_up_at in self.argument:
            self.device.hang_up()
            return
        process = self.device.sandbox.start(self.argument)
        self._process = process
        cut = bool(faults.cut_output_at and faults.cut_output_at in self.argument)
        threads = [
            threading.Thread(target=self._copy, args=(process.stdout, protocol.STDOUT, cut), daemon=True),
            threading.Thread(target=self._copy, args=(process.stderr, protocol.STDERR, False), daemon=True),
        ]
        threading.Thread(target=self._feed, args=(process,), daemon=True).start()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.end(process.wait())
        self.finish()

    def close(self) -> None:
        """End the command, too, for the host has closed the stream."""
        super().close()
        process = getattr(self, "_process", None)
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)

    def _copy(self, pipe: io.BufferedReader, channel: int, cut: bool) -> None:
        content = b""
        while part := pipe.read1(65536):
            if cut:
                content += part
            else:
                self.frame(channel, part)
        if cut:
            self.frame(channel, content[: len(content) // 2])

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        raise NotImplementedError

    def frame(self, channel: int, content: bytes) -> None:
        """Send what the command printed on a channel."""
        raise NotImplementedError

    def end(self, code: int) -> None:
        """Send the command's exit code."""
        raise NotImplementedError


class RawShell(Shell):
    """The old shell service: output and errors in one stream, no exit code."""

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            while content := self.read(1):
                process.stdin.write(content)
                process.stdin.flush()
            process.stdin.close()

    def frame(self, channel: int, content: bytes) -> None:
        """Send what the command printed; both channels look alike."""
        self.write(content)

    def end(self, code: int) -> None:
        """Send nothing, for this service has no way to say it."""


class FramedShell(Shell):
    """The shell protocol: output, errors and the exit code apart."""

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            while header := self.read(protocol.SHELL_PACKET.size):
                channel, length = protocol.SHELL_PACKET.unpack(header)
                content = self.read(length) if length else b""
                if channel == protocol.STDIN and content:
                    process.stdin.write(content)
                    process.stdin.flush()
                elif channel == protocol.CLOSE_STDIN:
                    process.stdin.close()

    def frame(self, channel: int, content: bytes) -> None:
        """Send what the command printed, and on which channel."""
        self.write(protocol.SHELL_PACKET.pack(channel, len(content)) + content)

    def end(self, code: int) -> None:
        """Send the exit code; a signal's is 128 more than its number, as a shell says it."""
        self.frame(protocol.EXIT, bytes([code & 0xFF if code >= 0 else 128 - code]))
