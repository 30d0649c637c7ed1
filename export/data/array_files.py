"""Arrays in `.npy` and `.npz` files, of which nothing is believed before it is checked."""

from __future__ import annotations

import errno
import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from export.errors import InputError

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_arrays(path: Path) -> Any:
    """The array of a `.npy` file or of a `.npz` with one, or a dict of the arrays of a `.npz` with several.

    A header that announces more numbers than the file holds is found before memory is asked for them.

    Raises:
        InputError: the file is missing, cut off, or holds other things than plain arrays of numbers.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file; check the path")
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                _check(file, path.stat().st_size, str(path))
            return np.load(path, allow_pickle=False)
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as member:
                    _check(member, entry.file_size, f"{path} ({entry.filename})")
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path} holds more than the memory of this machine; save fewer samples") from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # the second comes of offsets that lead out of the file
            raise
        raise _damaged(path) from error
    except Exception as error:  # NumPy reads a header as Python's tokens, and raises what their reader does
        raise _damaged(path) from error
    if not found:
        raise InputError(f"{path} holds no arrays; save some with numpy.savez")
    return next(iter(found.values())) if len(found) == 1 else found


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is not a whole NumPy file of plain arrays; save it again")


def _check(file: IO[bytes], size: int, name: str) -> None:
    """Refuse an array that cannot be what its header says."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise InputError(f"{name} is of a newer NumPy format, for structured arrays; save plain arrays of numbers")
    shape, _, dtype = _HEADERS[version](file)
    if dtype.hasobject or dtype.kind not in "biuf":
        raise InputError(f"{name} holds {dtype} values, not numbers; save plain arrays of numbers")
    announced, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if announced != there:
        raise InputError(
            f"{name} announces an array of shape {shape} ({announced:,} bytes) and holds {there:,} bytes; save it again"
        )
