"""The whole files that attacks begin with, made once in a process."""

from __future__ import annotations

import functools
import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from attack.trial import Fell

KEPT = Path(__file__).parents[1] / "attack-output"


@functools.cache
def network() -> Any:
    """A small Keras model."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(image))
    x = layers.Flatten(name="flat")(layers.ReLU(name="relu")(x))
    return keras.Model(image, layers.Dense(3, activation="softmax", name="scores")(x), name="small")


def keras_file(folder: Path) -> bytes:
    """Its `.keras` file."""
    network().save(folder / "whole.keras")
    return (folder / "whole.keras").read_bytes()


def same_weights(model: Any, expected: Any) -> None:
    """Raise `Fell` where a model that loaded has other weights than were saved."""
    pairs = zip(model.get_weights(), expected.get_weights(), strict=False)
    if len(model.weights) != len(expected.weights) or any(not np.array_equal(a, b) for a, b in pairs):
        raise Fell("a damaged file loaded with other weights")


def state_dict(extra: bytes = b"") -> bytes:
    """A `.pth` file as torch.save writes it, without PyTorch; `extra` is pickle code before the tensors."""

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
    )
    tensor += b"K\x04tQK\x00K\x02K\x02\x86K\x02K\x01\x86\x89ccollections\nOrderedDict\n)RtR"
    content = b"\x80\x02" + extra + b"}" + text("weight") + tensor + b"s."
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("model/data.pkl", content)
        file.writestr("model/data/0", np.arange(4, dtype="<f4").tobytes())
    return archive.getvalue()


def calling(module: str, name: str, argument: str) -> bytes:
    """Pickle code that calls a function with a text."""
    return f"c{module}\n{name}\n".encode() + b"(" + pickle.dumps(argument, 2)[2:-1] + b"tR0"


@functools.cache
def tflite_file() -> bytes:
    """A float `.tflite` of the network, which is kept for the next process."""
    path = KEPT / "small.tflite"
    if not path.exists():
        from export import export_tflite

        export_tflite(network(), path)
    return path.read_bytes()


@functools.cache
def picture(suffix: str) -> bytes:
    """A whole image file."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, {"jpg": "JPEG", "ppm": "PPM"}.get(suffix, suffix.upper()))
    return content.getvalue()


@functools.cache
def row() -> bytes:
    """A line of a results file."""
    import json

    two = {"before": None, "after": 1.5}
    value = {
        "schema": "android_bench.row/2", "run": "r", "time": "2026-01-01T00:00:00+00:00", "target": "local",
        "device": {"model": "m", "cpu": "c", "architecture": "a", "cores": 2, "os": "L", "kernel": "6",
                   "governor": None},
        "emulated": False, "model": "m", "model_path": "m.tflite", "model_sha256": "0" * 64, "model_bytes": 10,
        "runtime": "litert", "runtime_version": "2.3.0", "delegate": "xnnpack", "threads": 1, "cpus": [0],
        "repeat": 0, "order": 0, "nodes": 3, "delegated_nodes": 3, "partitions": 1, "integer_nodes": 0,
        "undelegated_operators": None, "init_us": 5.0, "first_us": 7.0, "warmup_runs": 3, "samples_us": [5.0, 6.0],
        "statistics": None, "cpu_us": [5.0, 6.0], "baseline_rss_bytes": 1, "peak_rss_bytes": 2, "temperature": two,
        "frequency": two, "energy": None, "involuntary_switches": 0, "cpu_pressure": 0.1, "operators": None,
        "output_check": None, "noisy": [], "mode": "int8", "accuracy": 0.5, "yardstick": None,
    }  # fmt: skip
    return json.dumps(value).encode() + b"\n"
