"""What `.keras` and `.weights.h5` files ask for and do not hold, links in them, and bytes that have changed."""

from __future__ import annotations

import json
import resource
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import keras_classics as kc
from keras_classics.errors import InputError
from keras_classics.weights import load_model

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    return keras.Model(image, layers.Dense(3, name="dense")(layers.Flatten(name="flat")(x)), name="small")


@pytest.fixture
def members(model: keras.Model, tmp_path: Path) -> Members:
    """Of the model's `.keras` file, by name."""
    model.save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def little_memory() -> Iterator[None]:
    """This process may take 1 GB more than it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def archive_of(members: Members, path: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_setting(members: Members, layer: str, **settings: Any) -> Members:
    config = json.loads(members["config.json"])
    for each in config["config"]["layers"]:
        if each["config"]["name"] == layer:
            each["config"] |= settings
    return members | {"config.json": json.dumps(config).encode()}


def test_a_file_that_was_packed_anew_loads(model: keras.Model, members: Members, tmp_path: Path) -> None:
    loaded = load_model(archive_of(members, tmp_path / "packed.keras", zipfile.ZIP_DEFLATED))
    for ours, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_zeros_that_unpack_to_gigabytes_are_refused_unread(
    members: Members, tmp_path: Path, little_memory: None
) -> None:
    path = tmp_path / "bomb.keras"
    archive_of({name: content for name, content in members.items() if name != "model.weights.h5"}, path)
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("model.weights.h5", "w", force_zip64=True) as member,
    ):
        for _ in range(3 * 64):
            member.write(bytes(1 << 24))
    assert "'model.weights.h5' announces 3,221,225,472 bytes" in refusal(path)


@pytest.mark.parametrize(
    ("layer", "settings"),
    [
        ("conv", {"filters": 10**8}),
        ("conv", {"kernel_size": [10**5, 10**5]}),
        ("dense", {"units": 10**9}),
    ],
)
def test_layers_larger_than_the_file_are_refused_before_they_are_built(
    layer: str, settings: dict[str, Any], members: Members, tmp_path: Path, little_memory: None
) -> None:
    path = archive_of(with_setting(members, layer, **settings), tmp_path / "large.keras")
    assert f"with layer '{layer}' it asks for " in refusal(path)


def test_archives_of_very_many_members_are_refused(members: Members, tmp_path: Path) -> None:
    many = {f"assets/{number}": b"" for number in range(100_000)}
    assert "it has 100,003 members" in refusal(archive_of(members | many, tmp_path / "many.keras"))


def test_layers_without_end_and_nesting_without_end_are_refused(members: Members, tmp_path: Path) -> None:
    layer = {"class_name": "ReLU", "config": {"name": "relu"}}
    many = members | {"config.json": json.dumps({"layers": [layer] * 20_000}).encode()}
    assert "it has 20,000 layers" in refusal(archive_of(many, tmp_path / "many.keras"))
    deep = members | {"config.json": b"[" * 100_000 + b"]" * 100_000}
    refusal(archive_of(deep, tmp_path / "deep.keras"))


def test_a_changed_byte_in_a_keras_file_is_found_by_the_members_name(members: Members, tmp_path: Path) -> None:
    path = archive_of(members, tmp_path / "changed.keras")
    content, weights = bytearray(path.read_bytes()), members["model.weights.h5"]
    start = content.index(weights)
    for position in np.random.default_rng(0).integers(0, len(weights), 20):
        changed = bytearray(content)
        changed[start + position] ^= 1 << (position % 8)
        path.write_bytes(changed)
        assert "'model.weights.h5' is damaged (CRC-32)" in refusal(path)


def test_a_changed_byte_in_weights_of_ours_never_loads_as_other_weights(model: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    lenet = kc.LeNet5()
    kc.save_weights(lenet, path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    whole = path.read_bytes()
    refused = 0
    for position in np.random.default_rng(0).integers(0, len(whole), 60):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        try:
            loaded = kc.LeNet5(weights=path)
        except InputError:
            refused += 1
        else:  # the byte is one that HDF5 does not use, or a name that Keras does not read
            for ours, theirs in zip(loaded.get_weights(), lenet.get_weights(), strict=True):
                np.testing.assert_array_equal(ours, theirs)
    assert refused >= 50
    path.write_bytes(whole)
    kc.LeNet5().load_weights(path)  # Keras takes the file as its own


def test_weights_are_saved_under_a_name_that_keras_knows_and_only_of_models_that_have_some(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"end it in \.weights\.h5"):
        kc.save_weights(kc.LeNet5(), tmp_path / "model.h5")
    with pytest.raises(InputError, match="has no weights"):
        kc.save_weights(keras.Sequential(name="empty"), tmp_path / "empty.weights.h5")
    assert not any(tmp_path.iterdir())


def external_link(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["data"] = np.zeros(3)
    file["layers/link"] = h5py.ExternalLink(str(folder / "other.h5"), "/data")


def soft_link(file: h5py.File, folder: Path) -> None:
    file["layers/link"] = h5py.SoftLink("/layers/conv2d")


def external_storage(file: h5py.File, folder: Path) -> None:
    (folder / "secret").write_bytes(bytes(400))
    file.create_dataset("layers/outside", (100,), "<f4", external=[(str(folder / "secret"), 0, 400)])


def vast(file: h5py.File, folder: Path) -> None:
    file.create_dataset("layers/vast", (10**12,), "<f4", chunks=(1024,))


def ring(file: h5py.File, folder: Path) -> None:
    file["layers/again"] = file["layers"]


def objects(file: h5py.File, folder: Path) -> None:
    file.create_dataset("layers/words", data=["a"], dtype=h5py.string_dtype())


@pytest.mark.parametrize("fault", [external_link, soft_link, external_storage, vast, ring, objects])
def test_hdf5_that_reaches_outside_or_announces_what_is_not_there(
    fault: Callable[[h5py.File, Path], None], tmp_path: Path, little_memory: None
) -> None:
    path = tmp_path / "model.weights.h5"
    kc.LeNet5().save_weights(path)
    with h5py.File(path, "r+") as file:
        fault(file, tmp_path)
    with pytest.raises(InputError, match="save or fetch it again"):
        kc.LeNet5(weights=path)
