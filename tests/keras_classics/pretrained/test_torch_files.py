"""Reading PyTorch's files without PyTorch, and what hostile or damaged ones come to."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_classics.errors import InputError
from keras_classics.pretrained import torch_files

STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ"


def archive(
    path: Path, data: bytes, storages: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", data)
        for key, content in (storages or {}).items():
            file.writestr(f"archive/data/{key}", content)
    return path


def state_of_one(
    offset: bytes = b"K\x00", shape: bytes = b"K\x02K\x03\x86", strides: bytes = b"K\x03K\x01\x86"
) -> bytes:
    """The pickle of {"w": a float tensor that views six numbers}."""
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + offset + shape + strides + b"\x89NtR"
    return b"\x80\x02}X\x01\x00\x00\x00w" + tensor + b"s."


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        torch_files.read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="`make test-backends` has PyTorch")


@pytest.fixture
def state(torch: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    state = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).state_dict()
    state["half"] = torch.randn(3, 4).half()
    state["bfloat16"] = torch.randn(3, 4).bfloat16()
    state["double"] = torch.randn(2).double()
    state["flags"] = torch.tensor([True, False])
    state["strided view"] = torch.randn(5, 6).T[1:, ::2]
    state["shared"] = state["0.weight"][1:]
    state["parameter"] = torch.nn.Parameter(torch.randn(2))
    state["scalar"] = torch.tensor(3)
    state["empty"] = torch.zeros(0, 3)
    return state


@pytest.mark.backends
@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_give_every_tensor_without_importing_torch(
    torch: Any, state: dict[str, Any], zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(state, tmp_path / "state.pth", _use_new_zipfile_serialization=zipped)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)
        tensors = torch_files.read(tmp_path / "state.pth")
    assert list(tensors) == list(state)
    for name, tensor in state.items():
        assert tensors[name].dtype.itemsize == tensor.element_size()
        np.testing.assert_array_equal(tensors[name].astype(np.float64), tensor.detach().double().numpy())


def test_hand_written_archive_is_read(tmp_path: Path) -> None:
    path = archive(tmp_path / "w.pth", state_of_one(), {"0": np.arange(6, dtype="<f4").tobytes()})
    np.testing.assert_array_equal(torch_files.read(path)["w"], [[0, 1, 2], [3, 4, 5]])


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("attacked",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps({"w": Attack()}, protocol=2)
    path = tmp_path / "attack.pth"
    if zipped:
        archive(path, data)
    else:
        header = [torch_files.LEGACY_MAGIC_NUMBER, torch_files.LEGACY_PROTOCOL, {"little_endian": True}]
        path.write_bytes(b"".join(pickle.dumps(value, protocol=2) for value in header) + data)
    assert "posix.mkdir" in refusal(path) or "nt.mkdir" in refusal(path)
    assert not (tmp_path / "attacked").exists()


@pytest.mark.backends
@pytest.mark.parametrize("zipped", [True, False])
def test_whole_models_are_refused_and_training_checkpoints_read(torch: Any, zipped: bool, tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pth", _use_new_zipfile_serialization=zipped)
    assert "torch.nn.modules.linear.Linear" in refusal(tmp_path / "model.pth")
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 3, "args": argparse.Namespace(lr=0.1), "best": np.float64(0.5), "scores": {1: [0.5, None, True]},
        "optimizer": optimizer.state_dict(), "state_dict": network.state_dict(),
    }  # fmt: skip
    torch.save(checkpoint, tmp_path / "run.pth", _use_new_zipfile_serialization=zipped)
    assert list(torch_files.read(tmp_path / "run.pth")) == ["weight", "bias"]
    torch.save({"mine": {"w": torch.zeros(2)}}, tmp_path / "run.pth", _use_new_zipfile_serialization=zipped)
    assert "'mine' is no tensor" in refusal(tmp_path / "run.pth")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (state_of_one(offset=b"K\x01"), "buffer"),
        (state_of_one(strides=b"J\xff\xff\xff\xffK\x01\x86"), "not a count"),
        (state_of_one(shape=b"J\x00\x00\x00\x7fK\x03\x86", strides=b"K\x00K\x01\x86"), "larger than its storage"),
        (state_of_one(shape=b"K\x06\x85"), "larger than its storage"),
        (b"\x80\x02}.", "no tensors by name"),
        (b"\x80\x02]r\xff\xff\xff\x7f.", "no tensors by name"),
        (b"\x80\x02" + b"}" + b")" + b"\x85" * 100_000 + b"K\x00s.", "a key that is neither a string nor a number"),
        (b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.", "builtins.eval"),
        (b"\x80\x02X\x01\x00\x00\x001\x85R.", "pop from empty"),
        (b"\x80\x02K\x01K\x02R.", "something other than a constructor"),
        (b"\x80\x02Nb.", "pop from empty"),
        (b"\x80\x04\x95" + bytes(8) + b"N.", "FRAME"),
        (b"\x80\x02I1\n.", "INT"),
        (b"\x80\x02}", "exhausted before seeing STOP"),
    ],
    ids=range(14),
)
def test_hostile_pickles_are_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "hostile.pth", data, {"0": np.arange(6, dtype="<f4").tobytes()})
    assert reason in refusal(path)


def test_compressed_or_short_storages_are_refused(tmp_path: Path) -> None:
    numbers = np.zeros(6, "<f4").tobytes()
    bomb = archive(tmp_path / "bomb.pth", state_of_one(), {"0": numbers}, zipfile.ZIP_DEFLATED)
    assert "compressed" in refusal(bomb)
    assert "cut short" in refusal(archive(tmp_path / "short.pth", state_of_one(), {"0": numbers[:-1]}))
    assert "data/0" in refusal(archive(tmp_path / "none.pth", state_of_one()))


@pytest.mark.backends
@pytest.mark.parametrize("zipped", [True, False])
def test_every_truncation_is_one_line(torch: Any, zipped: bool, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(3, 4), "n": torch.tensor(1)}, buffer, _use_new_zipfile_serialization=zipped)
    whole = buffer.getvalue()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.pth").write_bytes(whole[:length])
        refusal(tmp_path / "cut.pth")


@pytest.mark.backends
@pytest.mark.parametrize("zipped", [True, False])
def test_altered_bytes_give_tensors_or_one_line(torch: Any, zipped: bool, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(3, 4), "n": torch.tensor(1)}, buffer, _use_new_zipfile_serialization=zipped)
    whole = np.frombuffer(buffer.getvalue(), np.uint8)
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        altered = whole.copy()
        places = generator.integers(len(whole), size=generator.integers(1, 4))
        altered[places] = generator.integers(256, size=len(places))
        (tmp_path / "altered.pth").write_bytes(altered.tobytes())
        try:
            tensors = torch_files.read(tmp_path / "altered.pth")
        except InputError:
            refusal(tmp_path / "altered.pth")
            refused += 1
        else:
            assert all(isinstance(tensor, np.ndarray) for tensor in tensors.values())
    assert refused > 50
