"""Published files: of an installed package, or in Keras's cache, fetched once and checked ever after."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import keras

from keras_classics import files
from keras_classics.errors import InputError
from keras_classics.pretrained import installed
from keras_classics.pretrained.catalog import Checkpoint


def fetch(checkpoint: Checkpoint) -> Path:
    """The checkpoint's file in Keras's cache (`KERAS_HOME`, or `~/.keras`), in an installed package, or downloaded.

    In the cache its publisher's hash is checked each time. The first time its SHA-256 is written beside it, in the
    form that `sha256sum --check` reads; from then on that SHA-256 is checked as well. Of several
    threads and processes that ask at once, one downloads and the others wait for it.

    Raises:
        ValueError: it cannot be downloaded, or is not what its publisher, or the record, says.
    """
    path = Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras")) / "models" / checkpoint.file_name
    record = path.with_name(f"{path.name}.sha256")
    if not path.exists():
        if carried := installed.find(checkpoint):
            return carried
        with files.locked(path.with_name(f".{path.name}.lock")):
            if not path.exists():
                with files.replacing(path) as temporary:
                    _download(checkpoint, temporary)
                    _check(checkpoint, temporary, record, f"what {checkpoint.url} sent")
                return path
    _check(checkpoint, path, record, str(path))
    return path


def _download(checkpoint: Checkpoint, path: Path) -> None:
    try:
        keras.utils.get_file(path.name, checkpoint.url, cache_subdir=str(path.parent.resolve()), force_download=True)
    # get_file raises a bare Exception, in the context of the true one, where a server refuses.
    except Exception as error:
        reason = " ".join(str(error.__context__ or error).split())[:200] or type(error).__name__
        raise InputError(
            f"{checkpoint.url} could not be downloaded ({reason}); fetch it by other means and pass it as weights=PATH"
        ) from error


def _check(checkpoint: Checkpoint, path: Path, record: Path, subject: str) -> None:
    sha256 = _digest(path, "sha256")
    recorded = record.exists()
    if recorded and record.read_bytes().split()[:1] != [sha256.encode()]:
        raise InputError(
            f"{subject} is not the file that was first fetched (its SHA-256 is in {record}); "
            f"remove {record.with_suffix('').name} and that record to fetch it anew"
        )
    expected = f"SHA-256 {checkpoint.sha256_prefix}…" if checkpoint.sha256_prefix else f"MD5 {checkpoint.md5}"
    if not sha256.startswith(checkpoint.sha256_prefix) or checkpoint.md5 not in (None, _digest(path, "md5")):
        raise InputError(
            f"{subject} is not the file that its publisher describes ({expected}), but cut short or altered; "
            "remove it if it is in the cache, and fetch it again"
        )
    if not recorded:
        files.write_text(record, f"{sha256}  {record.stem}\n")


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
