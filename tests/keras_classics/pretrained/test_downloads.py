"""Fetching published files from a server that may cut, alter or refuse them."""

from __future__ import annotations

import hashlib
import http.server
import threading

import pytest

from keras_classics.errors import InputError
from keras_classics.pretrained import downloads
from keras_classics.pretrained.catalog import Checkpoint
from keras_classics.pretrained.preprocessing import Preprocessing

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        content, announced = self.server.answer
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests, server.answer = [], (CONTENT, len(CONTENT))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def checkpoint(server, name=f"net-{SHA256[:8]}.pth", md5=None):
    host, port = server.server_address
    preprocessing = Preprocessing(256, 224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Checkpoint("net", "imagenet", f"http://{host}:{port}/{name}", preprocessing, None, None, "MIT", md5=md5)


def refusal(wanted):
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
def test_file_is_fetched_once_and_its_hash_recorded(server, name, md5, tmp_path):
    wanted = checkpoint(server, name, md5)
    path = downloads.fetch(wanted)
    assert path == tmp_path / "models" / name
    assert path.read_bytes() == CONTENT
    assert path.with_name(f"{name}.sha256").read_text() == f"{SHA256}  {name}\n"
    assert downloads.fetch(wanted) == path
    assert server.requests == [f"/{name}"]
    assert {file.name for file in path.parent.iterdir()} == {name, f"{name}.sha256"}


@pytest.mark.parametrize(("name", "md5"), [("net-00000000.pth", None), ("net.h5", hashlib.md5(b"other").hexdigest())])
def test_what_its_publisher_does_not_describe_is_not_kept(server, name, md5, tmp_path):
    assert "is not the file that its publisher describes" in refusal(checkpoint(server, name, md5))
    assert list((tmp_path / "models").iterdir()) == []


def test_answer_that_is_cut_short_is_not_kept(server, tmp_path):
    server.answer = (CONTENT[:-1], len(CONTENT))
    message = refusal(checkpoint(server, "mobilenet.h5"))
    assert "could not be downloaded" in message
    assert "weights=PATH" in message
    assert list((tmp_path / "models").iterdir()) == []


def test_server_that_refuses_or_is_away(server):
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
def test_file_that_changed_in_the_cache_is_refused_until_both_are_removed(server, name, altered):
    wanted = checkpoint(server, name)
    path = downloads.fetch(wanted)
    path.write_bytes(altered)
    assert "is not the file that was first fetched" in refusal(wanted)
    path.unlink()
    server.answer = (altered, len(altered))
    assert "is not the file that was first fetched" in refusal(wanted)
    server.answer = (CONTENT, len(CONTENT))
    assert downloads.fetch(wanted).read_bytes() == CONTENT


def test_file_that_keras_already_fetched_is_checked_and_used(server, tmp_path):
    wanted = checkpoint(server)
    path = tmp_path / "models" / wanted.file_name
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-1])
    assert "is not the file that its publisher describes" in refusal(wanted)
    path.write_bytes(CONTENT)
    assert downloads.fetch(wanted) == path
    assert server.requests == []
