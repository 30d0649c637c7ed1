"""Boards that answer what they like, and connections that are slow or cut."""

from __future__ import annotations

import http.server
import os
import sys
import threading
from pathlib import Path

import numpy as np

from attack import models
from attack.commands import ended, nothing_half_written, start
from attack.trial import Fell, Kind, refused_by

# A board behind a program that is called as ssh or adb is: each call may be answered by `sh`, or by something else.
BOARD = """
import os, random, subprocess, sys, time
seed = int(sys.argv[1])
state = sys.argv[2]
with open(state, "a+b") as file:
    file.write(b"x")
    calls = file.tell()
chance = random.Random(seed * 1000 + calls)
command = sys.argv[-1]
home = os.path.dirname(state)
if "rm -" in command and home not in command:  # the board is this machine, and its lies must not harm that
    sys.exit(1)
if "exit" in sys.argv[3:6] or chance.random() < 0.75:
    given = sys.stdin if chance.random() < 0.9 else None
    done = subprocess.run(["sh", "-c", command], capture_output=True, stdin=given)
    output, code = done.stdout, done.returncode
else:
    output, code = b"", 0
kind = chance.randrange(9)
if chance.random() < 0.3:
    if kind == 0:
        output = output[: len(output) // 2]
    elif kind == 1:
        output = os.urandom(2000)
    elif kind == 2:
        output, code = b"", 255
    elif kind == 3:
        for _ in range(3000):
            sys.stdout.buffer.write(b"y\\n" * 50000)
    elif kind == 4:
        output = b'{"samples_us": [NaN], "device": ' + b"[" * 100000
    elif kind == 5:
        output = b'{"error": {"kind": "x\\x1b[2J", "message": 5}}\\n'
    elif kind == 6:
        code = 137
    elif kind == 7:
        for start in range(0, min(len(output), 400), 40):
            sys.stdout.buffer.write(output[start : start + 40])
            sys.stdout.flush()
            time.sleep(0.05)
        output = output[400:]
    else:
        output = output.replace(b"0", b"9")
sys.stdout.buffer.write(output)
sys.stdout.flush()
sys.exit(code)
"""


def hostile_board(generator: np.random.Generator, folder: Path) -> int:
    """A board over ssh or adb that lies, floods, stops and dies; the run ends in one line, or measured."""
    (folder / "small.tflite").write_bytes(models.tflite_file())
    (folder / "board.py").write_text(BOARD)
    (folder / "boardtmp").mkdir()
    program = folder / "program"
    seed = int(generator.integers(0, 2**31))
    program.write_text(
        f'#!/bin/sh\nTMPDIR={folder}/boardtmp exec {sys.executable} {folder}/board.py {seed} {folder}/calls "$@"\n'
    )
    program.chmod(0o755)
    over_ssh = generator.random() < 0.6
    target = ["--target", "ssh:board", "--remote-python", sys.executable] if over_ssh else ["--target", "adb:one"]
    words = ["android_bench", "run", "small.tflite", "--runs", "2", "--warmup", "0", "--repeats", "1", *target]
    process = start(
        [*words, "--timeout", "30", "--output", "results.jsonl"],
        folder,
        {"ANDROID_BENCH_SSH": str(program), "ADB": str(program)},
    )
    code, last = ended(process, 280)
    if not all(each.isprintable() for each in last):
        raise Fell(f"control characters from the board on the terminal: {last[:200]!r}")
    if code not in (0, 2, 3):
        raise Fell(f"exit code {code}: {last}")
    nothing_half_written(folder, killed=False)
    return 1


class _Server(http.server.BaseHTTPRequestHandler):
    """Sends a file in one of several wrong ways."""

    way = 0

    def do_GET(self) -> None:  # (a name of the standard library's)
        """Answer."""
        content = b"PK" * 50_000
        way = type(self).way
        self.send_response({0: 404, 1: 500}.get(way, 200))
        self.send_header("Content-Length", str(len(content) if way != 2 else 10 * len(content)))
        self.end_headers()
        part = content[: len(content) // (3 if way in (2, 3) else 1)]
        if way == 4:
            part = os.urandom(len(content))
        self.wfile.write(part)
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def cut_downloads(generator: np.random.Generator, folder: Path) -> int:
    """A server that refuses, sends less, more or something else."""
    import dataclasses

    from keras_classics.errors import InputError
    from keras_classics.pretrained import catalog
    from keras_classics.pretrained import downloads as fetching

    os.environ["KERAS_HOME"] = str(folder / "home")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/mobilenet_v2-b0353104.pth"
            row = dataclasses.replace(catalog.published_weights("mobilenet_v2")[0], url=url)
            for way in range(5):
                _Server.way = way
                with refused_by(InputError):
                    fetching.fetch(row)
                    raise Fell("a download that is not its publisher's was taken")
                if left := [each for each in (folder / "home").rglob("*") if each.is_file()]:
                    raise Fell(f"left behind: {[each.name for each in left]}")
        finally:
            server.shutdown()
    return 5


KINDS = (
    Kind("boards that lie, flood, stop and die", "boards", hostile_board, 4, 300, None),
    Kind("downloads cut, refused and replaced", "boards", cut_downloads, 1, 120),
)
