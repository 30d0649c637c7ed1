"""The state of an unfinished training, in one file that is never half-written."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_classics import files
from keras_classics.errors import InputError

History = dict[str, list[float]]


@dataclass(frozen=True)
class Checkpoint:
    """A file with every variable of a model and its optimizer, and the history so far.

    `settings`, as JSON knows it, is all that decides the result: a checkpoint only resumes a
    training with the same settings.
    """

    path: Path
    settings: Mapping[str, Any]

    def save(self, model: keras.Model, history: History) -> None:
        """Write the state of a compiled model after the epochs in `history`."""
        values = {f"variable_{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(_variables(model))}
        with files.replacing(self.path) as temporary:
            np.savez(temporary, history=json.dumps(history), settings=json.dumps(self.settings), **values)

    def restore(self, model: keras.Model) -> History:
        """Set the variables of a compiled model; return the history of the epochs they have seen.

        Raises:
            ValueError: the file is damaged, or was written under other settings.
        """
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                history: History = json.loads(str(archive["history"]))
                settings = json.loads(str(archive["settings"]))
                values = [archive[f"variable_{i}"] for i in range(len(archive.files) - 2)]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.path} is not a whole checkpoint ({error}); remove it and train anew") from error
        require_same(self.path, settings, self.settings)
        model.optimizer.build(model.trainable_variables)
        for variable, value in zip(_variables(model), values, strict=True):
            variable.assign(value)
        return history


def require_same(path: Path, saved: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the first difference, unless `path` was written under `settings`."""
    for key, value in json.loads(json.dumps(settings)).items():
        if saved.get(key) != value:
            raise InputError(
                f"{path} was written with {key.replace('_', ' ')} {saved.get(key)!r} and not {value!r}; "
                "resume with its settings, or train anew without --resume"
            )


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]
