"""What people pass as a model: paths are read, and of everything else one line says what to do."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from export import InputError, Worker, export_tflite
from export.frontend.given_model import given_model


def dense() -> keras.Model:
    vector = layers.Input((4,))
    return keras.Model(vector, layers.Dense(2)(vector))


def test_the_path_of_a_keras_file_is_read(tmp_path: Path, worker: Worker) -> None:
    model = dense()
    model.save(tmp_path / "model.keras")
    report = export_tflite(str(tmp_path / "model.keras"), tmp_path / "model.tflite", worker=worker)
    assert report.parity["relative_rms"] <= 1e-6
    np.testing.assert_array_equal(given_model(tmp_path / "model.keras").get_weights()[0], model.get_weights()[0])


def of(module: str) -> Any:
    return type("Net", (type("Base", (), {"__module__": module}),), {"__module__": "user"})()


def file(path: Path) -> Path:
    path.write_bytes(b"something")
    return path


GIVEN = {
    "SavedModel": (lambda folder: folder, "is a SavedModel, .*; pass the Keras 3 model that it was exported from"),
    "missing": (lambda folder: folder / "nothing.keras", "nothing.keras"),
    "tf_keras": (
        lambda folder: of("tf_keras.src.engine.training"),
        "Net is a tf_keras .* model; save it with model.save",
    ),
    "torch": (lambda folder: of("torch.nn.modules.module"), "Net is a PyTorch module; build it of Keras layers"),
    "file of a SavedModel": (lambda folder: folder / "saved_model.pb", "is a SavedModel"),
    "weights": (lambda folder: file(folder / "a.weights.h5"), "holds weights and no layers; build the model, load"),
    "older name": (lambda folder: file(folder / "a.hdf5"), "a Keras file under an older name; rename it to end in .h5"),
    "no HDF5": (lambda folder: file(folder / "a.h5"), "cannot be read as a Keras model"),
    "TFLite file": (lambda folder: file(folder / "a.tflite"), "is a TFLite file already; pass the Keras 3 model"),
    "PyTorch file": (lambda folder: file(folder / "a.pth"), "is a PyTorch file; build the network of Keras layers"),
    "name": (lambda folder: "mobilenet_v2", r"is a name and no file; pass keras_classics.create_model\('mobilenet_v2'"),
    "class": (lambda folder: keras.Sequential, r"Sequential is a class; pass a model .* of it: Sequential\(…\)"),
    "layer": (lambda folder: layers.Dense(2), r"Dense is a layer; pass a model of it, such as keras.Sequential"),
    "function": (lambda folder: of("tensorflow.python.eager"), "is of TensorFlow and has no Keras layers; pass the"),
    "other": (lambda folder: {"model": 1}, "dict is no model; pass a Keras 3 model or the path of a .keras or"),
}


@pytest.mark.parametrize("case", GIVEN)
def test_what_is_no_keras_model_is_refused_with_what_to_do(case: str, tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    given, message = GIVEN[case]
    with pytest.raises(InputError, match=message) as caught:
        export_tflite(given(tmp_path), tmp_path / "model.tflite")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.tflite").exists()
