"""What people pass as a model: a Keras 3 model or the path of one; of everything else, what to do with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras

from export.errors import InputError
from keras_classics import registry
from keras_classics.weights import load_model

# By the end of a file's name, what it is and what to do.
OTHER_FILES = {
    ".weights.h5": "holds weights and no layers; build the model, load them with its load_weights, and pass it",
    ".hdf5": "is a Keras file under an older name; rename it to end in .h5",
    ".tflite": "is a TFLite file already; pass the Keras 3 model that it was made from, or its .keras file",
    ".onnx": "is an ONNX file; build the network of Keras layers, and set their weights",
    ".pb": "holds a TensorFlow graph and no Keras layers; pass the Keras 3 model that it was exported from",
    **dict.fromkeys(
        (".pt", ".pth", ".pt2"), "is a PyTorch file; build the network of Keras layers, and set their weights"
    ),
}


def given_model(model: Any) -> keras.Model:
    """The Keras 3 model that was given, or that a `.keras` or `.h5` file holds.

    Raises:
        InputError: it is none; the message says the one thing to do.
    """
    if isinstance(model, keras.Model):
        return model
    if isinstance(model, str | os.PathLike):
        return _loaded(Path(model))
    name = type(model).__name__
    if isinstance(model, type):
        raise InputError(f"{model.__name__} is a class; pass a model that was made of it: {model.__name__}(…)")
    if isinstance(model, keras.Layer):
        raise InputError(
            f"{name} is a layer; pass a model of it, such as keras.Sequential([keras.Input((224, 224, 3)), layer])"
        )
    kinds = [base.__module__.partition(".")[0] for base in type(model).__mro__]
    if "tf_keras" in kinds:
        raise InputError(
            f"{name} is a tf_keras (Keras 2) model; save it with model.save('….h5') and pass the path of that file"
        )
    if "torch" in kinds:
        raise InputError(
            f"{name} is a PyTorch module; build it of Keras layers (KERAS_BACKEND=torch runs them) and set their "
            "weights, or convert it with litert-torch"
        )
    if "tensorflow" in kinds:
        raise InputError(
            f"{name} is of TensorFlow and has no Keras layers; pass the Keras 3 model that it was made from, or its "
            ".keras file"
        )
    raise InputError(f"{name} is no model; pass a Keras 3 model or the path of a .keras or .h5 file")


def _loaded(path: Path) -> keras.Model:
    if (path / "saved_model.pb").is_file() or (path.name == "saved_model.pb" and path.is_file()):
        raise InputError(
            f"{path} is a SavedModel, which holds a graph and no Keras layers; pass the Keras 3 model that it was "
            "exported from, or its .keras file"
        )
    if str(path) in registry.MODELS and not path.exists():
        raise InputError(f"{path} is a name and no file; pass keras_classics.create_model({str(path)!r})")
    for ending, what in OTHER_FILES.items():
        if path.name.endswith(ending) and path.is_file():
            raise InputError(f"{path} {what}")
    try:
        return load_model(path)
    except ValueError as error:
        raise InputError(str(error)) from error
