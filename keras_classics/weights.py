"""Weights and models from files: `.keras` (safe mode only) and `.weights.h5`."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import keras

from keras_classics.errors import InputError


def load_model(path: str | os.PathLike[str]) -> keras.Model:
    """Read a `.keras` file written under any backend, in safe mode.

    Raises:
        ValueError: the file is missing, truncated, not a `.keras` file, or uses a layer that is
            not registered.
    """
    path = _existing(path)
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise InputError(f"{path} is not a whole .keras file; save the model again with model.save('….keras')")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read as a Keras model ({_first_line(error)}); save it again with Keras 3, "
            "and register custom layers with keras.saving.register_keras_serializable"
        ) from error


def load(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Load the weights of a `.keras` or `.weights.h5` file into `model`, in place.

    Raises:
        ValueError: the file is missing or damaged, or its weights do not fit the model.
    """
    path = _existing(path)
    if path.suffix == ".keras":
        _copy(load_model(path), model, path)
    elif path.name.endswith(".weights.h5"):
        try:
            model.load_weights(path)
        except (ValueError, OSError, KeyError) as error:
            raise InputError(f"{path} does not fit {model.name} ({_first_line(error)})") from error
    else:
        raise InputError(f"weights {str(path)!r}: expected a file that ends in .keras or .weights.h5")


def _copy(source: keras.Model, target: keras.Model, path: Path) -> None:
    given, wanted = ([tuple(variable.shape) for variable in model.weights] for model in (source, target))
    if given != wanted:
        odd = next((f"{a} where {b} is needed" for a, b in zip(given, wanted, strict=False) if a != b), None)
        detail = f"a weight of shape {odd}" if odd else f"{len(given)} weights, {len(wanted)} are needed"
        raise InputError(f"{path} does not fit {target.name}: {detail}; build it as the saved model was built")
    target.set_weights(source.get_weights())


def _existing(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file; check the path")
    return path


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
