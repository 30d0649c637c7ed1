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
        raise NotImplementedError

    def end(self, code: int) -> None:
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
        self.write(content)

    def end(self, code: int) -> None:
        """This service has no way to say it."""


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
        self.write(protocol.SHELL_PACKET.pack(channel, len(content)) + content)

    def end(self, code: int) -> None:
        self.frame(protocol.EXIT, bytes([code & 0xFF if code >= 0 else 128 - code]))
