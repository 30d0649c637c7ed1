"""PyTorch state dicts and checkpoints read without PyTorch, and without executing a pickle.

A `.pth` file is a pickle that refers to raw storages. `torch.save` writes it as a zip archive, and
before PyTorch 1.6 (much of torchvision) as one stream. The few pickle operations that a dict of
tensors needs are carried out here; a file that holds any other, or names any function or class but
those of `CONSTRUCTORS`, `INERT` and the storage types, is refused.
"""

from __future__ import annotations

import math
import os
import pickletools
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from keras_classics.errors import InputError

# The first two pickles of the stream that torch.save wrote before PyTorch 1.6 (torch/serialization.py).
LEGACY_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

# NumPy's type of the numbers in each of PyTorch's storages, which are little-endian.
STORAGE_TYPES: dict[str, np.dtype] = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}

# Reading numbers, pickle operations and zip archives from damaged bytes raises one of these.
_FAULTS = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
)

STATE_ENTRIES = ("state_dict", "model_state_dict", "state_dict_ema", "model_ema", "model", "net", "network", "weights")
"""Under these names training scripts save a state dict beside epochs, scores and optimizers; the first one counts."""


class _Opaque:
    """In the place of a value beside the weights, which nothing looks into."""


OPAQUE = _Opaque()
INERT = frozenset(
    (
        "__builtin__ dict",
        "_codecs encode",
        "argparse Namespace",
        "builtins dict",
        "collections defaultdict",
        "numpy dtype",
        "numpy._core.multiarray scalar",
        "numpy.core.multiarray scalar",
        "torch device",
        "torch.serialization _get_layout",
    )
)
"""What the settings, scores and optimizer states in a checkpoint name; none of it is called."""


@dataclass(frozen=True)
class Storage:
    """A run of numbers that tensors are views of."""

    key: str
    dtype: np.dtype
    size: int


@dataclass(frozen=True)
class View:
    """A tensor before its storage is read; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name, in the file's own types (bfloat16 as `ml_dtypes` has it).

    Raises:
        ValueError: the file is damaged, is no state dict, or names anything but tensors.
    """
    with Path(path).open("rb") as file:
        try:
            return _read_archive(file) if zipfile.is_zipfile(file) else _read_stream(file)
        except _FAULTS as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(
                f"{path} cannot be read as a PyTorch state dict ({reason}); "
                "fetch it again, or save it anew with torch.save(model.state_dict(), path)"
            ) from error


def _read_archive(file: BinaryIO) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        entries = {name.partition("/")[2]: name for name in archive.namelist()}

        def content(entry: str) -> bytes:
            information = archive.getinfo(entries[entry])
            if information.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{entry} is compressed, which torch.save never does")
            return archive.read(information)

        if "byteorder" in entries and content("byteorder") != b"little":
            raise ValueError("its numbers are big-endian")
        views = _state_dict(_unpickled(content("data.pkl")))
        storages = {storage: content(f"data/{storage.key}") for storage in _storages(views)}
    return {name: _array(view, storages[view.storage]) for name, view in views.items()}


def _read_stream(file: BinaryIO) -> dict[str, np.ndarray]:
    """Five pickles (magic number, protocol, system, state dict, storage keys), then the storages."""
    file.seek(0)
    if _unpickled(file) != LEGACY_MAGIC_NUMBER or _unpickled(file) != LEGACY_PROTOCOL:
        raise ValueError("it is neither of the two formats of torch.save")
    if not _unpickled(file)["little_endian"]:
        raise ValueError("its numbers are big-endian")
    announced: dict[str, Storage] = {}
    views = _state_dict(_unpickled(file, announced))
    storages: dict[Storage, bytes] = {}
    for key in _unpickled(file):
        storage = announced[key]
        (size,) = struct.unpack("<q", file.read(8))
        if size != storage.size:
            raise ValueError(f"storage {key} has {size} elements where {storage.size} are announced")
        storages[storage] = file.read(size * storage.dtype.itemsize)
    return {name: _array(view, storages[view.storage]) for name, view in views.items()}


def _unpickled(source: bytes | BinaryIO, announced: dict[str, Storage] | None = None) -> Any:
    """The value of one pickle, which is read from `source` up to its end.

    Args:
        source: what it is read from.
        announced: takes all storages that it refers to, by key.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def above_mark() -> list[Any]:
        start = marks.pop()
        values = stack[start:]
        del stack[start:]
        return values

    operand: Any
    for opcode, operand, _ in pickletools.genops(source):
        match opcode.name:
            case "PROTO":
                pass
            case "STOP":
                return stack.pop()
            case "MARK":
                marks.append(len(stack))
            case "BINPUT" | "LONG_BINPUT":
                memo[operand] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[operand])
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
            case (
                "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "BINSTRING" | "SHORT_BINSTRING"
            ):
                stack.append(operand)
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                stack.append(tuple(above_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                length = int(opcode.name[-1])
                stack[-length:] = [tuple(stack[-length:])]
            case "EMPTY_LIST":
                stack.append([])
            case "APPEND":
                value = stack.pop()
                stack[-1].append(value)
            case "APPENDS":
                values = above_mark()
                stack[-1].extend(values)
            case "EMPTY_DICT":
                stack.append({})
            case "SETITEM":
                key, value = stack.pop(-2), stack.pop()
                _set_items(stack[-1], [(key, value)])
            case "SETITEMS":
                values = above_mark()
                _set_items(stack[-1], zip(values[::2], values[1::2], strict=True))
            case "GLOBAL":
                stack.append(_named(operand))
            case "BINPERSID":
                stack.append(_storage(*stack.pop()))
                if announced is not None:
                    announced[stack[-1].key] = stack[-1]
            case "REDUCE":
                arguments = stack.pop()
                stack.append(_constructed(stack.pop(), arguments))
            case "NEWOBJ":
                stack.pop()
                if stack.pop() is not OPAQUE:
                    raise ValueError("it makes an object of something other than a setting")
                stack.append(OPAQUE)
            case "BUILD":
                stack.pop()  # attributes of an OrderedDict, such as the versions of its modules
            case other:
                raise ValueError(f"it uses the pickle operation {other}, which no state dict needs")
    raise ValueError("its pickle has no end")


def _set_items(target: Any, items: Iterable[tuple[Any, Any]]) -> None:
    if target is OPAQUE:
        return
    if not isinstance(target, dict):
        raise ValueError("it sets items of something other than a dict")
    for key, value in items:
        if not isinstance(key, str | int):
            raise ValueError("it has a dict with a key that is neither a string nor a number")
        target[key] = value


def _named(name: str) -> Any:
    """What a pickle may name, given as "module name"."""
    module, _, attribute = name.partition(" ")
    if module == "torch" and attribute in STORAGE_TYPES:
        return STORAGE_TYPES[attribute]
    if name in CONSTRUCTORS:
        return CONSTRUCTORS[name]
    if name in INERT:
        return OPAQUE
    raise ValueError(f"it asks for {module}.{attribute}, which no state dict needs")


def _constructed(constructor: Any, arguments: Any) -> Any:
    if constructor is OPAQUE:
        return OPAQUE
    if constructor not in CONSTRUCTORS.values() or not isinstance(arguments, tuple):
        raise ValueError("it calls something other than a constructor")
    return constructor(*arguments)


def _dictionary(items: Iterable[tuple[Any, Any]] = ()) -> dict[str, Any]:
    result: dict[str, Any] = {}
    _set_items(result, items)
    return result


def _storage(kind: Any, dtype: Any, key: Any, _location: Any, size: Any, window: Any = None) -> Storage:
    if kind != "storage" or not isinstance(dtype, np.dtype) or not isinstance(key, str) or window:
        raise ValueError("it refers to something other than a whole storage")
    return Storage(key, dtype, _count(size))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> View:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor in it has no storage")
    return View(storage, _count(offset), tuple(map(_count, shape)), tuple(map(_count, strides)))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


# The functions and classes that a state dict names, each with what stands in for it here.
CONSTRUCTORS: dict[str, Callable[..., Any]] = {
    "collections OrderedDict": _dictionary,
    "torch._utils _rebuild_tensor": _tensor,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
}


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("a size or offset in it is not a count")
    return value


def _state_dict(value: Any) -> Mapping[str, View]:
    if not isinstance(value, dict) or not value:
        raise ValueError("it holds no tensors by name")
    if not any(isinstance(view, View) for view in value.values()):
        value = next((value[key] for key in STATE_ENTRIES if isinstance(value.get(key), dict) and value[key]), value)
    for name, view in value.items():
        if not isinstance(view, View) or not isinstance(name, str):
            raise ValueError(
                f"its entry {name!r} is no tensor; the state dict has to be the whole file, or its entry "
                f"{STATE_ENTRIES[0]!r}"
            )
    return value


def _storages(views: Mapping[str, View]) -> set[Storage]:
    return {view.storage for view in views.values()}


def _array(view: View, data: bytes) -> np.ndarray:
    """The view's numbers. NumPy itself refuses strides that leave `data`."""
    dtype = view.storage.dtype
    if len(data) != view.storage.size * dtype.itemsize:
        raise ValueError(f"storage {view.storage.key} is cut short")
    if len(view.shape) != len(view.strides) or math.prod(view.shape) > view.storage.size:
        raise ValueError("a tensor in it is larger than its storage")
    strides = tuple(stride * dtype.itemsize for stride in view.strides)
    return np.ndarray(view.shape, dtype, data, view.offset * dtype.itemsize, strides)
