"""What people pass as a model: a Keras 3 model or the path of one; of everything else, what to do with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras

from export.errors import InputError
from keras_classics.weights import load_model


def given_model(model: Any) -> keras.Model:
    """The Keras 3 model that was given, or that a `.keras` or `.h5` file holds.

    Raises:
        InputError: it is none; the message says the one thing to do.
    """
    if isinstance(model, keras.Model):
        return model
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        if (path / "saved_model.pb").is_file():
            raise InputError(
                f"{path} is a SavedModel, which holds a graph and no Keras layers; pass the Keras 3 model that it was "
                "exported from, or its .keras file"
            )
        try:
            return load_model(path)
        except ValueError as error:
            raise InputError(str(error)) from error
    kinds = [base.__module__.partition(".")[0] for base in type(model).__mro__]
    name = type(model).__name__
    if "tf_keras" in kinds:
        raise InputError(
            f"{name} is a tf_keras (Keras 2) model; save it with model.save('….h5') and pass the path of that file"
        )
    if "torch" in kinds:
        raise InputError(
            f"{name} is a PyTorch module; build it of Keras layers (KERAS_BACKEND=torch runs them) and set their "
            "weights, or convert it with litert-torch"
        )
    raise InputError(f"{name} is no model; pass a Keras 3 model or the path of a .keras or .h5 file")
