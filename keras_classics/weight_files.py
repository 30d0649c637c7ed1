"""What `.keras` archives and HDF5 weight files hold, checked before Keras reads or builds anything of them.

Every number in such a file is its author's: how many bytes a member or an array has, how many filters a layer. Each is
compared with the bytes that are there, from the archive's directory and the arrays' headers, before memory is asked
for. Files of weights that `save_digest` has been at carry a SHA-256 of their arrays.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

# The members of a `.keras` file (keras.saving).
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MOST_MEMBERS = 1000
"""Of an archive; Keras writes three, and one for each asset, such as a vocabulary."""
MOST_DESCRIPTION = 1 << 26
"""Bytes of a model's description."""
MOST_LAYERS = 10_000
MOST_OBJECTS = 200_000
"""Groups and arrays of an HDF5 file."""
MOST_DEPTH = 64
"""Of groups in groups."""
GREATEST_RATIO = 100
"""Of what is unpacked to what is packed. Trained weights hardly shrink; pruned ones do, up to tenfold."""
ALWAYS_ALLOWED = 1 << 20
"""Bytes or weights that may be there whatever else says."""
NUMBERS_PER_BYTE = 2
"""Of weights that Keras has quantized to 4 bits."""
DIGEST = "keras_classics_sha256"
"""The attribute of an HDF5 file's root that holds the SHA-256 of its arrays."""
PART = 1 << 20  # bytes read at a time


def check_archive(path: Path) -> None:
    """Check a `.keras` file: members, their sizes and CRC-32, the weights' arrays, and what the layers ask for.

    Raises:
        ValueError: it is damaged, or asks for more than it holds; the message, without the path, says what.
    """
    with _faults_named(), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > MOST_MEMBERS:
            raise ValueError(f"it has {len(members):,} members, and a model has three")
        if len({member.filename for member in members}) < len(members):
            raise ValueError("two of its members have one name")
        for member in members:
            _check_member(member)
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"its member {damaged!r} is damaged (CRC-32)")
        size = 0
        if WEIGHTS in archive.namelist():
            with _seekable(path, archive, archive.getinfo(WEIGHTS)) as weights, h5py.File(weights, "r") as file:
                size = sum(array.nbytes for _, array in _arrays(file, archive.getinfo(WEIGHTS).file_size))
        _check_description(json.loads(archive.read(CONFIG)), size)


def check_weights(path: Path) -> None:
    """Check an HDF5 file of weights: links, sizes of arrays, and the digest if it carries one.

    Raises:
        ValueError: it is damaged, or announces more than it holds; the message, without the path, says what.
    """
    with _faults_named(), h5py.File(path, "r") as file:
        arrays = list(_arrays(file, path.stat().st_size))
        recorded = file.attrs.get(DIGEST)
        if recorded is not None and recorded != _digest(arrays):
            raise ValueError("its arrays are not those that were saved, by the SHA-256 in it")


def check_whole_model(path: Path) -> None:
    """Check a whole model in HDF5: its arrays, and what its layers ask for.

    Raises:
        ValueError: it is damaged, or asks for more than it holds; the message, without the path, says what.
    """
    with _faults_named(), h5py.File(path, "r") as file:
        size = sum(array.nbytes for _, array in _arrays(file, path.stat().st_size))
        description = file.attrs.get("model_config", "{}")
        if len(description) > MOST_DESCRIPTION:
            raise ValueError(f"its description has {len(description):,} bytes")
        _check_description(json.loads(description), size)


def save_digest(path: Path) -> None:
    """Put the SHA-256 of an HDF5 file's arrays into it, for `check_weights`."""
    with h5py.File(path, "r+") as file:
        file.attrs[DIGEST] = _digest(list(_arrays(file, path.stat().st_size)))


def _check_member(member: zipfile.ZipInfo) -> None:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"its member {member.filename!r} is packed in a way that Keras does not write")
    if member.file_size > max(ALWAYS_ALLOWED, GREATEST_RATIO * member.compress_size):
        raise ValueError(
            f"its member {member.filename!r} announces {member.file_size:,} bytes in {member.compress_size:,}"
        )
    if member.filename in (CONFIG, METADATA) and member.file_size > MOST_DESCRIPTION:
        raise ValueError(f"its {member.filename} has {member.file_size:,} bytes")


@contextlib.contextmanager
def _seekable(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[IO[bytes] | Path]:
    """A member as a file in which HDF5 may go back and forth; of one that is stored nothing is copied."""
    if member.compress_type != zipfile.ZIP_STORED:
        yield io.BytesIO(archive.read(member))
        return
    with path.open("rb") as file:
        file.seek(member.header_offset)
        header = file.read(30)  # of fixed size; two lengths at its end, of the name and of what is extra
        start = member.header_offset + 30 + int.from_bytes(header[26:28], "little")
        start += int.from_bytes(header[28:30], "little")
        yield io.BufferedReader(_Window(file, start, member.file_size))


class _Window(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        super().__init__()
        self._file, self._start, self._size, self._position = file, start, size, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position of the part."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read at most what the part still holds."""
        view = memoryview(buffer).cast("B")
        self._file.seek(self._start + self._position)
        data = self._file.read(max(0, min(len(view), self._size - self._position)))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


def _arrays(file: h5py.File, size: int) -> Iterator[tuple[str, h5py.Dataset]]:
    """Every array, of numbers and all there in these `size` bytes, by its path; in one order for one content."""
    waiting: list[tuple[str, h5py.Group, int]] = [("", file, 0)]
    objects = total = 0
    while waiting:
        path, group, depth = waiting.pop()
        for name in sorted(group):
            objects += 1
            if objects > MOST_OBJECTS or depth > MOST_DEPTH:
                raise ValueError("it has more groups in groups than any model")
            here = f"{path}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"its {here} is a link to elsewhere")
            item = group[name]
            if isinstance(item, h5py.Group):
                waiting.append((here, item, depth + 1))
                continue
            _check_array(here, item)
            total += item.nbytes
            if total > max(ALWAYS_ALLOWED, GREATEST_RATIO * size):
                raise ValueError(f"it announces more than {total:,} bytes of arrays in {size:,}")
            yield here, item


def _check_array(path: str, array: Any) -> None:
    if not isinstance(array, h5py.Dataset) or array.dtype.hasobject or array.dtype.fields:
        raise ValueError(f"its {path} is no array of numbers")
    if array.is_virtual or array.external:
        raise ValueError(f"its {path} lies in another file")
    there = array.id.get_storage_size()
    if array.nbytes > (GREATEST_RATIO if array.compression else 1) * there:
        raise ValueError(f"its {path} announces {array.nbytes:,} bytes and holds {there:,}")


def _digest(arrays: list[tuple[str, h5py.Dataset]]) -> str:
    digest = hashlib.sha256()
    for path, array in sorted(arrays, key=lambda each: each[0]):
        digest.update(json.dumps([path, array.dtype.str, array.shape]).encode())
        digest.update(np.ascontiguousarray(array[()]).tobytes())
    return digest.hexdigest()


def _check_description(config: Any, size: int) -> None:
    """Refuse layers that need more weights than `size` bytes hold, however they are read."""
    limit = max(ALWAYS_ALLOWED, NUMBERS_PER_BYTE * size)
    waiting, layers, needed = [config], 0, 0
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            settings = value.get("config")
            if isinstance(settings, dict) and isinstance(value.get("class_name"), str) and "name" in settings:
                layers += 1
                needed += _least_weights(settings)
                if needed > limit:
                    name = f"layer {str(settings['name'])[:60]!r}"
                    raise ValueError(f"with {name} it asks for {needed:,} weights or more and holds {size:,} bytes")
    if layers > MOST_LAYERS:
        raise ValueError(f"it has {layers:,} layers")


def _least_weights(settings: dict[str, Any]) -> int:
    """How many weights a layer of these settings has at least, whatever its input is."""
    kernel = settings.get("kernel_size")
    positions = math.prod(map(_count, kernel)) if isinstance(kernel, list) else _count(kernel)
    return max(
        _count(settings.get("filters")) * max(1, positions),
        _count(settings.get("depth_multiplier")) * positions,
        _count(settings.get("units")),
        _count(settings.get("input_dim")) * _count(settings.get("output_dim")),
        _count(settings.get("num_heads")) * _count(settings.get("key_dim")),
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


@contextlib.contextmanager
def _faults_named() -> Iterator[None]:
    """Raise ValueError for each way in which the readers of zip, HDF5 and JSON refuse damaged bytes."""
    try:
        yield
    except ValueError:
        raise
    except zipfile.BadZipFile as error:
        raise ValueError(f"it is no whole zip archive: {error}") from error
    except (OSError, KeyError, RuntimeError, TypeError, AttributeError, EOFError, zlib.error) as error:
        raise ValueError(" ".join(str(error).split())[:200] or type(error).__name__) from error
    except (MemoryError, RecursionError, NotImplementedError, OverflowError, IndexError) as error:
        raise ValueError(type(error).__name__) from error
