"""Fetching published files from a server that may cut, alter or refuse them."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keras_classics.errors import InputError
from keras_classics.pretrained import downloads
from keras_classics.pretrained.catalog import Checkpoint
from keras_classics.pretrained.preprocessing import Preprocessing

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Keeps what was asked for; answers with a content (None: an error) of an announced length, when it may."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []
        self.answer: tuple[bytes | None, int] = (CONTENT, len(CONTENT))
        self.may_answer = threading.Event()
        self.may_answer.set()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        self.server.may_answer.wait()
        content, announced = self.server.answer
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def checkpoint(server: Server, name: str = f"net-{SHA256[:8]}.pth", md5: str | None = None) -> Checkpoint:
    host, port = server.server_address
    preprocessing = Preprocessing(256, 224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Checkpoint("net", "imagenet", f"http://{host}:{port}/{name}", preprocessing, None, None, "MIT", md5=md5)


def refusal(wanted: Checkpoint) -> str:
    with pytest.raises(InputError) as caught:
        downloads.fetch(wanted)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "md5"),
    [
        (f"net-{SHA256[:8]}.pth", None),
        ("net.h5", hashlib.md5(CONTENT).hexdigest()),
        ("mobilenet.h5", None),
    ],
)
def test_file_is_fetched_once_and_its_hash_recorded(server: Server, name: str, md5: str | None, tmp_path: Path) -> None:
    wanted = checkpoint(server, name, md5)
    path = downloads.fetch(wanted)
    assert path == tmp_path / "models" / name
    assert path.read_bytes() == CONTENT
    assert path.with_name(f"{name}.sha256").read_text() == f"{SHA256}  {name}\n"
    assert downloads.fetch(wanted) == path
    assert server.requests == [f"/{name}"]
    assert {file.name for file in path.parent.iterdir()} == {name, f"{name}.sha256"}


@pytest.mark.parametrize(("name", "md5"), [("net-00000000.pth", None), ("net.h5", hashlib.md5(b"other").hexdigest())])
def test_what_its_publisher_does_not_describe_is_not_kept(
    server: Server, name: str, md5: str | None, tmp_path: Path
) -> None:
    assert "is not the file that its publisher describes" in refusal(checkpoint(server, name, md5))
    assert list((tmp_path / "models").iterdir()) == []


def test_answer_that_is_cut_short_is_not_kept(server: Server, tmp_path: Path) -> None:
    server.answer = (CONTENT[:-1], len(CONTENT))
    message = refusal(checkpoint(server, "mobilenet.h5"))
    assert "could not be downloaded" in message
    assert "weights=PATH" in message
    assert list((tmp_path / "models").iterdir()) == []


def test_server_that_refuses_or_is_away(server: Server) -> None:
    server.answer = (None, 0)
    wanted = checkpoint(server)
    assert "HTTP Error 404" in refusal(wanted)
    server.shutdown()
    server.server_close()
    message = refusal(wanted)
    assert wanted.url in message
    assert "weights=PATH" in message


@pytest.mark.parametrize("altered", [CONTENT[:-1], b"W" + CONTENT[1:]])
@pytest.mark.parametrize("name", [f"net-{SHA256[:8]}.pth", "mobilenet.h5"])
def test_file_that_changed_in_the_cache_is_refused_until_both_are_removed(
    server: Server, name: str, altered: bytes
) -> None:
    wanted = checkpoint(server, name)
    path = downloads.fetch(wanted)
    path.write_bytes(altered)
    assert "is not the file that was first fetched" in refusal(wanted)
    path.unlink()
    server.answer = (altered, len(altered))
    assert "is not the file that was first fetched" in refusal(wanted)
    server.answer = (CONTENT, len(CONTENT))
    assert downloads.fetch(wanted).read_bytes() == CONTENT


def test_file_that_keras_already_fetched_is_checked_and_used(server: Server, tmp_path: Path) -> None:
    wanted = checkpoint(server)
    path = tmp_path / "models" / wanted.file_name
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-1])
    assert "is not the file that its publisher describes" in refusal(wanted)
    path.write_bytes(CONTENT)
    assert downloads.fetch(wanted) == path
    assert server.requests == []


def test_threads_that_ask_at_once_wait_for_one_download(server: Server, tmp_path: Path) -> None:
    wanted, barrier = checkpoint(server), threading.Barrier(5)
    server.may_answer.clear()

    def fetch(_: object) -> bytes:
        barrier.wait()
        return downloads.fetch(wanted).read_bytes()

    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(fetch, range(4))
        barrier.wait()
        server.may_answer.set()
        assert list(answers) == [CONTENT] * 4
    assert len(server.requests) == 1
    assert {file.name for file in (tmp_path / "models").iterdir()} == {wanted.file_name, f"{wanted.file_name}.sha256"}


FETCH = """
import sys
from keras_classics.pretrained import downloads
from keras_classics.pretrained.catalog import Checkpoint

print("ready", flush=True)
sys.stdin.readline()
wanted = Checkpoint("net", "imagenet", sys.argv[1], None, None, None, "MIT")
print(len(downloads.fetch(wanted).read_bytes()), flush=True)
"""


def test_processes_that_ask_at_once_wait_for_one_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = checkpoint(server)
    monkeypatch.setenv("KERAS_BACKEND", "numpy")  # the quickest to import
    command = [sys.executable, "-c", FETCH, wanted.url]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        server.may_answer.clear()
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        server.may_answer.set()
        assert [process.communicate()[0].split()[-1] for process in processes] == [f"{len(CONTENT)}"] * 3
    assert len(server.requests) == 1
    assert {file.name for file in (tmp_path / "models").iterdir()} == {wanted.file_name, f"{wanted.file_name}.sha256"}


def test_a_failed_download_leaves_the_next_in_line_to_try(server: Server) -> None:
    wanted, barrier = checkpoint(server), threading.Barrier(3)
    server.answer = (None, 0)

    def fetch(_: object) -> str:
        barrier.wait()
        return refusal(wanted)

    with ThreadPoolExecutor(3) as pool:
        assert all("HTTP Error 404" in message for message in pool.map(fetch, range(3)))
    assert len(server.requests) == 3


@pytest.mark.parametrize("record", [b"\xff\xfe not text", SHA256.upper().encode(), b""])
def test_a_record_beside_a_file_never_stands_for_the_publishers_hash(
    server: Server, record: bytes, tmp_path: Path
) -> None:
    altered = b"W" + CONTENT[1:]
    wanted = checkpoint(server)
    path = tmp_path / "models" / wanted.file_name
    path.parent.mkdir()
    path.write_bytes(altered)
    path.with_name(f"{path.name}.sha256").write_bytes(hashlib.sha256(altered).hexdigest().encode())
    assert "is not the file that its publisher describes" in refusal(wanted)
    path.write_bytes(CONTENT)
    path.with_name(f"{path.name}.sha256").write_bytes(record)
    assert "is not the file that was first fetched" in refusal(wanted)
