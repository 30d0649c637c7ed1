"""Hostile files: whole ones that were changed, and ones that were made to do harm."""

from __future__ import annotations

import functools
import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from attack import models
from attack.trial import EDGES, Fell, Kind, Trial, mutated, refused_by


@functools.cache
def _whole_keras() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return models.keras_file(Path(folder))


@functools.cache
def _whole_weights() -> bytes:
    import tempfile

    from keras_classics import LeNet5, save_weights

    with tempfile.TemporaryDirectory() as folder:
        save_weights(LeNet5(), Path(folder) / "a.weights.h5")
        return (Path(folder) / "a.weights.h5").read_bytes()


def _load(path: Path) -> None:
    from keras_classics.errors import InputError
    from keras_classics.weights import load_model

    with refused_by(InputError):
        models.same_weights(load_model(path), models.network())


def keras_changed(generator: np.random.Generator, folder: Path) -> int:
    """Bytes of a `.keras` file changed."""
    path = folder / "a.keras"
    path.write_bytes(mutated(_whole_keras(), generator))
    _load(path)
    return 1


def keras_made(generator: np.random.Generator, folder: Path) -> int:
    """A `.keras` file whose layers, members or names are its author's."""
    from keras_classics.errors import InputError
    from keras_classics.weights import load_model

    with zipfile.ZipFile(io.BytesIO(_whole_keras())) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    layers = config["config"]["layers"]
    layer = layers[int(generator.integers(0, len(layers)))]
    compression = zipfile.ZIP_STORED
    marker = folder / "executed"
    match int(generator.integers(0, 9)):
        case 0:
            keys = list(layer["config"])
            layer["config"][keys[int(generator.integers(0, len(keys)))]] = _value(generator)
        case 1:
            layer["config"] |= {"filters": int(generator.integers(10**6, 10**12)), "units": 10**9}
        case 2:
            layer |= {"module": "os", "class_name": "system", "config": {"command": f"touch {marker}"}}
        case 3:
            function = {"class_name": "function", "config": "system", "module": "os", "registered_name": "system"}
            layer |= {"module": "keras.layers", "class_name": "Lambda", "registered_name": None}
            layer["config"] = {"name": layer["config"]["name"], "function": function}
        case 4:
            members |= {f"../{number}": b"x" for number in range(int(generator.integers(1, 3000)))}
        case 5:
            compression = zipfile.ZIP_DEFLATED
            members["model.weights.h5"] = bytes(int(generator.integers(1 << 20, 1 << 29)))
        case 6:
            config["config"]["layers"] = layers * int(generator.integers(2, 5000))
        case 7:
            members.pop(list(members)[int(generator.integers(0, len(members)))], None)
        case _:
            layer["inbound_nodes"] = _value(generator)
    if "config.json" in members:
        members["config.json"] = json.dumps(config).encode()
    path = folder / "a.keras"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with refused_by(InputError):
        load_model(path)
    if marker.exists():
        raise Fell("a .keras file started a program")
    return 1


def _value(generator: np.random.Generator) -> Any:
    values: list[Any] = [None, -1, 0, 2**63, "", "a" * 10_000, [], {}, [[[]]], True, 1e308, "\x00", {"class_name": "X"}]
    return values[int(generator.integers(0, len(values)))]


def weights_changed(generator: np.random.Generator, folder: Path) -> int:
    """Bytes of a `.weights.h5` that `kc.save_weights` wrote changed."""
    import keras_classics as kc
    from keras_classics.errors import InputError

    path = folder / "a.weights.h5"
    path.write_bytes(_whole_weights())
    expected = kc.LeNet5(weights=path)
    for _ in range(10):
        path.write_bytes(mutated(_whole_weights(), generator))
        with refused_by(InputError):
            models.same_weights(kc.LeNet5(weights=path), expected)
    return 10


def state_dicts(generator: np.random.Generator, folder: Path) -> int:
    """`.pth` files changed, and ones whose pickle calls functions."""
    from keras_classics.errors import InputError
    from keras_classics.pretrained import torch_files

    marker = folder / "executed"
    calls = (("os", "system"), ("builtins", "eval"), ("subprocess", "call"), ("builtins", "exec"), ("nt", "system"))
    path = folder / "a.pth"
    for number in range(500):
        module, name = calls[int(generator.integers(0, len(calls)))]
        extra = models.calling(module, name, f"touch {marker}") if number % 5 == 0 else b""
        content = models.state_dict(extra)
        path.write_bytes(content if extra else mutated(content, generator))
        with refused_by(InputError):
            torch_files.read(path)
            if extra:
                raise Fell(f"a pickle that calls {module}.{name} was read")
    if marker.exists():
        raise Fell("a .pth file started a program")
    return 500


def safetensors(generator: np.random.Generator, folder: Path) -> int:
    """`.safetensors` files changed."""
    from keras_classics.errors import InputError
    from keras_classics.pretrained import state_dicts

    header = {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {"format": "pt"}}
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + bytes(24)
    path = folder / "a.safetensors"
    for _ in range(500):
        path.write_bytes(mutated(content, generator))
        with refused_by(InputError):
            state_dicts.read(path)
    return 500


def arrays(generator: np.random.Generator, folder: Path) -> int:
    """`.npy` and `.npz` files changed, and headers of vast arrays."""
    from export.data.array_files import read_arrays
    from export.errors import InputError

    content = io.BytesIO()
    many = bool(generator.integers(0, 2))
    values = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    np.savez(content, a=values, b=values) if many else np.save(content, values)
    path = folder / ("a.npz" if many else "a.npy")
    for _ in range(200):
        data = mutated(content.getvalue(), generator)
        if generator.random() < 0.2:
            size = str(EDGES[int(generator.integers(0, len(EDGES)))]).encode()
            data = content.getvalue().replace(b"(3, 4, 5)", b"(" + size + b", 4, 5)")
        path.write_bytes(data)
        with refused_by(InputError):
            read_arrays(path)
    return 200


def given_inputs(generator: np.random.Generator, folder: Path) -> int:
    """The bench's `--input`, changed."""
    from android_bench import given_input
    from android_bench.errors import InputError

    content = io.BytesIO()
    np.save(content, np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    path = folder / "a.npy"
    for _ in range(200):
        path.write_bytes(mutated(content.getvalue(), generator))
        with refused_by(InputError):
            given_input.read(path)
    return 200


def images(generator: np.random.Generator, folder: Path) -> int:
    """Image files changed, and what is no image under their names."""
    from keras_classics.datasets import image_folder
    from keras_classics.errors import InputError

    suffixes = ("png", "jpg", "gif", "bmp", "tiff", "webp", "ppm")
    others = (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"%PDF-1.4\n", b"<svg/>", b"P6 99999 99999 255\n")
    for _ in range(100):
        suffix = suffixes[int(generator.integers(0, len(suffixes)))]
        content = models.picture(suffix)
        if generator.random() < 0.1:
            content = others[int(generator.integers(0, len(others)))]
        path = folder / f"a.{suffix}"
        path.write_bytes(mutated(content, generator))
        with refused_by(InputError):
            pixels = image_folder.decode(path, (16, 16, 3))
            if pixels.shape != (16, 16, 3) or pixels.dtype != np.uint8:
                raise Fell(f"a damaged image gave {pixels.shape} of {pixels.dtype}")
    return 100


def idx_files(generator: np.random.Generator, folder: Path) -> int:
    """Gzipped IDX files changed, inside and outside of their compression."""
    from keras_classics.datasets.data import _read_idx
    from keras_classics.errors import InputError

    plain = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (5, 6, 7)) + bytes(210)
    path = folder / "a.gz"
    for _ in range(500):
        inside = gzip.compress(mutated(plain, generator), 1)
        path.write_bytes(inside if generator.random() < 0.5 else mutated(inside, generator))
        with refused_by(InputError):
            _read_idx(path)
    return 500


def tflite_files(generator: np.random.Generator, folder: Path) -> int:
    """`.tflite` files changed, described and run apart."""
    from export.errors import InputError
    from export.tflite_file import apart

    path = folder / "a.tflite"
    path.write_bytes(mutated(models.tflite_file(), generator))
    with refused_by(InputError):
        description = apart.describe(path, seconds=20)
        shape = description.inputs[0].shape
        if len(description.inputs) == 1 and shape[:1] == [1] and np.prod(shape) < 10**6:
            apart.run(path, [np.zeros(shape, np.float32)], seconds=20)
    return 1


def result_rows(generator: np.random.Generator, folder: Path) -> int:
    """Results files changed."""
    from android_bench import results
    from android_bench.errors import InputError

    path = folder / "a.jsonl"
    path.write_bytes(models.row())
    results.read(path)
    for _ in range(300):
        path.write_bytes(mutated(models.row() * int(generator.integers(1, 3)), generator))
        with refused_by(InputError):
            results.read(path)
    return 300


def tool_results(generator: np.random.Generator, folder: Path) -> int:
    """Result files and texts of benchmark_model changed."""
    from android_bench.errors import InputError
    from android_bench.jobs import Graph
    from android_bench.runners import benchmark_model_output

    latencies = b"".join(bytes([number << 3 | 5]) + np.float32(number).tobytes() for number in range(1, 10))
    result = b"\x12" + bytes([len(latencies)]) + latencies + b"\x22\x04\x10\x32\x18\x01"
    text = (
        b"INFO: count=50 first=5 curr=6 min=4 max=9 avg=5.5 std=1 p5=4 median=5 p95=8\n"
        b"INFO: Inference timings in us: Init: 100, First inference: 50, Warmup (avg): 6, Inference (avg): 5.5\n"
        b"INFO: XNNPACK delegate, and the model graph will be partially executed by it w/ 1 delegate kernels\n"
        b"Unconsumed cmdline flags: --x --y\n"
    )
    for _ in range(2000):
        with refused_by(InputError):
            benchmark_model_output.from_result(mutated(result, generator))
        changed = mutated(text, generator).decode("utf-8", "replace")
        with refused_by(InputError):
            benchmark_model_output.from_text(changed)
            benchmark_model_output.ignored_flags(changed, "xnnpack")
            benchmark_model_output.delegation(changed, "gpu", Graph([], 3, 0))
    return 4000


def documents(generator: np.random.Generator, folder: Path) -> int:
    """What a runner prints, changed."""
    from android_bench import document, records

    row = json.loads(models.row())
    names = set(document.Document.__dataclass_fields__)
    text = json.dumps({"steady": True} | {name: value for name, value in row.items() if name in names}).encode()
    document.parse(text.decode())
    for _ in range(1000):
        changed = mutated(text, generator)
        with refused_by(ValueError):
            document.parse(changed.decode("utf-8", "replace"))
        with refused_by(ValueError):
            records.loads(changed)
    return 2000


def adb_packets(generator: np.random.Generator, folder: Path) -> int:
    """Packets of adb's wire changed, read as the test phone reads them."""
    import socket

    from android_bench.testing import protocol

    header = protocol.HEADER.pack(protocol.WRTE, 1, 2, 4, 10, protocol.WRTE ^ 0xFFFFFFFF)
    for _ in range(200):
        ours, theirs = socket.socketpair()
        with ours, theirs, refused_by(ValueError):
            theirs.sendall(mutated(header + b"abcd", generator))
            theirs.shutdown(socket.SHUT_WR)
            while protocol.receive(ours) is not None:
                pass
    return 200


def _kind(name: str, trial: Trial, share: float = 1.0) -> Kind:
    return Kind(name, "files", trial, share)


KINDS = (
    _kind(".keras, bytes changed", keras_changed, 2),
    _kind(".keras, made", keras_made, 2),
    _kind(".weights.h5 of ours, bytes changed", weights_changed, 2),
    _kind(".pth, bytes changed and pickles", state_dicts),
    _kind(".safetensors", safetensors),
    _kind(".npy and .npz", arrays),
    _kind("the bench's --input", given_inputs),
    _kind("images", images),
    _kind("IDX", idx_files),
    _kind(".tflite, apart", tflite_files, 2),
    _kind("results .jsonl", result_rows),
    _kind("benchmark_model's results and texts", tool_results),
    _kind("runners' documents", documents),
    _kind("adb's packets", adb_packets),
)
