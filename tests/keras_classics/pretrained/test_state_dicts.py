"""PyTorch's weights in safetensors, and without the names of what wraps a network."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from keras_classics.errors import InputError
from keras_classics.pretrained import safetensors_files, state_dicts

NUMBERS = np.arange(6, dtype="<f4")


def written(path: Path, header: Any, numbers: bytes = NUMBERS.tobytes(), length: int | None = None) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + numbers)
    return path


def entry(dtype: str = "F32", shape: tuple[int, ...] = (2, 3), place: tuple[int, int] = (0, 24)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": place}


def test_tensors_of_every_type_come_back(tmp_path: Path) -> None:
    values = {name: np.arange(4).astype(dtype) for name, dtype in safetensors_files.TYPES.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    numbers = b""
    for name, value in values.items():
        header[name] = entry(name, (4,), (len(numbers), len(numbers) + value.nbytes))
        numbers += value.tobytes()
    found = safetensors_files.read(written(tmp_path / "w.safetensors", header, numbers))
    assert found.keys() == values.keys()
    assert found["BF16"].dtype == ml_dtypes.bfloat16
    for name, value in values.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.backends
def test_what_the_library_of_the_format_writes_is_read(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    tensors = {"a": NUMBERS.reshape(2, 3), "b": np.float16([1, 2])}
    numpy.save_file(tensors, tmp_path / "w.safetensors")
    for name, value in safetensors_files.read(tmp_path / "w.safetensors").items():
        np.testing.assert_array_equal(value, tensors[name])


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        ({"w": entry()}, {"length": 10**12}, "its header is longer than the file"),
        ({"w": entry(place=(0, 28))}, {}, "w is cut short"),
        ({"w": entry(shape=(2, 4))}, {}, "w is cut short"),
        ({"w": entry(shape=(-2, -3))}, {}, "not made of counts"),
        ({"w": entry(place=(24, 0), shape=(0,))}, {}, "w is cut short"),
        ({"w": entry("C64")}, {}, "w has the type C64, which weights do not have"),
        ({"w": {"dtype": "F32"}}, {}, "cannot be read as safetensors"),
        ([1, 2], {}, "cannot be read as safetensors"),
        ({"__metadata__": {}}, {}, "holds no tensors"),
    ],
)
def test_damage_is_told_in_one_line(header: Any, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = written(tmp_path / "w.safetensors", header, **options)
    with pytest.raises(InputError) as caught:
        state_dicts.read(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_wraps_a_network_is_left_out_of_names_if_it_stands_in_all(tmp_path: Path) -> None:
    wrapped = {"_orig_mod.module.a.weight": entry(), "_orig_mod.module.b.weight": entry()}
    assert list(state_dicts.read(written(tmp_path / "w.safetensors", wrapped))) == ["a.weight", "b.weight"]
    mixed = {"module.a.weight": entry(), "b.weight": entry()}
    assert list(state_dicts.read(written(tmp_path / "w.safetensors", mixed))) == list(mixed)
