"""Checkpoints that installed packages carry: recognized by hash, never by name alone."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from keras_classics.errors import InputError
from keras_classics.pretrained import downloads, installed
from keras_classics.pretrained.catalog import Checkpoint
from keras_classics.pretrained.preprocessing import Preprocessing

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PREPROCESSING = Preprocessing(256, 224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def wanted(name: str = f"net-{SHA256[:8]}.pth", md5: str | None = None) -> Checkpoint:
    return Checkpoint("net", "imagenet", f"http://localhost:9/{name}", PREPROCESSING, None, None, "MIT", md5=md5)


def install(folder: Path, name: str, content: bytes = CONTENT, listed: bytes | None = None) -> Path:
    """A package in `folder` that carries one file, and lists it by the hash of `listed` (the file's own)."""
    (folder / "carrier-1.0.dist-info").mkdir(parents=True)
    (folder / "carrier-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(content if listed is None else listed).digest()).rstrip(b"=")
    (folder / "carrier-1.0.dist-info" / "RECORD").write_text(
        f"carrier/__init__.py,,\ncarrier/{name},sha256={digest.decode()},{len(content)}\n"
    )
    (folder / "carrier").mkdir()
    (folder / "carrier" / name).write_bytes(content)
    return folder / "carrier" / name


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which packages are imported, and an empty cache of Keras."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return tmp_path / "site"


@pytest.mark.parametrize("name", [f"net-{SHA256[:8]}.pth", "renamed.bin"])
def test_a_file_is_used_where_it_lies_whatever_its_name(name: str, site: Path, tmp_path: Path) -> None:
    path = install(site, name)
    assert downloads.fetch(wanted()) == path
    assert not (tmp_path / "home").exists()


def test_a_publisher_of_md5_is_held_to_it(site: Path) -> None:
    path = install(site, "net.h5")
    assert installed.find(wanted("net.h5", hashlib.md5(CONTENT).hexdigest())) == path
    assert installed.find(wanted("net.h5", hashlib.md5(b"other").hexdigest())) is None
    assert installed.find(wanted("net.h5")) is None


def test_a_file_that_is_not_what_its_list_or_name_says_is_passed_over(site: Path) -> None:
    install(site, f"net-{SHA256[:8]}.pth", content=b"altered", listed=CONTENT)
    assert installed.find(wanted()) is None
    with pytest.raises(InputError, match="could not be downloaded"):
        downloads.fetch(wanted())


def test_a_listed_file_that_is_gone_is_passed_over(site: Path) -> None:
    install(site, f"net-{SHA256[:8]}.pth").unlink()
    assert installed.find(wanted()) is None


def test_a_file_in_the_cache_comes_first(site: Path, tmp_path: Path) -> None:
    install(site, f"net-{SHA256[:8]}.pth")
    cached = tmp_path / "home" / "models" / f"net-{SHA256[:8]}.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT)
    assert downloads.fetch(wanted()) == cached
