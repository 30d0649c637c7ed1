"""Files of arrays that are not what they seem."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from export import InputError
from export.data.array_files import read_arrays

ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_one_array_or_several_by_name(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ARRAY)
    np.savez_compressed(tmp_path / "one.npz", image=ARRAY)
    np.savez(tmp_path / "two.npz", image=ARRAY, vector=ARRAY[0])
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npy"), ARRAY)
    np.testing.assert_array_equal(read_arrays(tmp_path / "one.npz"), ARRAY)
    assert sorted(read_arrays(tmp_path / "two.npz")) == ["image", "vector"]


def header(path: Path, shape: tuple[int, ...], payload: bytes) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        file.write(payload)


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def zipped(path: Path, member: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(member, "a.npy")


def damaged(path: Path) -> None:
    np.savez_compressed(path, a=np.random.default_rng(0).random(1000))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def huge_in_archive(path: Path) -> None:
    header(path.with_suffix(".npy"), (10**12,), bytes(16))
    zipped(path, path.with_suffix(".npy"))


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("a.npy", lambda path: None, "is not a file; check the path"),
    "huge": ("a.npy", lambda path: header(path, (10**6, 10**6), bytes(8)), r"\(4,000,000,000,000 bytes\) and holds 8"),
    "short": ("a.npy", lambda path: (np.save(path, ARRAY), cut(path, 0.9)), "announces an array of shape .* save it"),
    "huge in archive": ("a.npz", huge_in_archive, r"a.npz \(a.npy\) announces an array of shape \(1000000000000,\)"),
    "cut archive": ("a.npz", lambda path: (np.savez(path, a=ARRAY), cut(path, 0.7)), "not a whole NumPy file"),
    "damaged archive": ("a.npz", damaged, "not a whole NumPy file|announces an array"),
    "objects": ("a.npy", lambda path: np.save(path, np.array([{}, None]), allow_pickle=True), "object values, not num"),
    "text": ("a.npy", lambda path: np.save(path, np.array(["a"])), "<U1 values, not numbers"),
    "empty archive": ("a.npz", lambda path: np.savez(path), "holds no arrays"),
    "another file": ("a.npz", lambda path: path.write_text("no zip"), "not a whole NumPy file"),
    "nothing": ("a.npy", lambda path: path.write_bytes(b""), "not a whole NumPy file"),
    "broken header": (
        "a.npy",
        lambda path: (np.save(path, ARRAY), path.write_bytes(path.read_bytes().replace(b"), }", b" (}}"))),
        "not a whole NumPy file",
    ),
    "offset before the file": (
        "a.npz",
        lambda path: (np.savez(path, a=ARRAY), path.write_bytes(path.read_bytes()[64:])),
        "not a whole NumPy file",
    ),
    "structured": ("a.npy", lambda path: np.save(path, np.zeros(2, [("é", "f4")])), "structured|not numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_damage_is_told_in_one_line(case: str, tmp_path: Path) -> None:
    name, make, message = BAD[case]
    make(tmp_path / name)
    with pytest.raises(InputError, match=message) as caught:
        read_arrays(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
