"""The state of an unfinished training, in one file that is never half-written."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_classics import files
from keras_classics.errors import InputError

History = dict[str, list[float]]


def save(path: Path, model: keras.Model, history: History, settings: Mapping[str, Any]) -> None:
    """Write every variable of a compiled model and its optimizer, the history and the settings."""
    values = {f"variable_{i}": np.asarray(keras.ops.convert_to_numpy(v)) for i, v in enumerate(_variables(model))}
    with files.replacing(path) as temporary:
        np.savez(temporary, history=json.dumps(history), settings=json.dumps(settings), **values)


def restore(path: str | os.PathLike[str], model: keras.Model, settings: Mapping[str, Any]) -> History:
    """Set the variables of a compiled model and its optimizer from `path`; return its history.

    Raises:
        ValueError: the file is damaged, or was written under other settings.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            history, saved = json.loads(str(archive["history"])), json.loads(str(archive["settings"]))
            values = [archive[f"variable_{i}"] for i in range(len(archive.files) - 2)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a whole checkpoint ({error}); remove it and train anew") from error
    check_settings(path, saved, settings)
    for variable, value in zip(_variables(model), values, strict=True):
        variable.assign(value)
    return history


def check_settings(path: str | os.PathLike[str], saved: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the first difference, unless `path` was written under `settings`."""
    settings = json.loads(json.dumps(settings))
    for key in settings:
        if saved.get(key) != settings[key]:
            raise InputError(
                f"{path} was written with {key.replace('_', ' ')} {saved.get(key)!r}, this run has {settings[key]!r}; "
                "resume with the same settings or train anew without --resume"
            )


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]
