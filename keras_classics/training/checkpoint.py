"""The state of an unfinished training, in one file that is never half-written."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_classics import files
from keras_classics.errors import InputError

History = dict[str, list[float]]


@dataclass
class State:
    """Where a training stands, apart from the variables of its model and optimizer.

    Attributes:
        history: of the epochs that are over, those of earlier phases included.
        position: steps made in this phase.
        metrics: running means over the epoch at hand, as Keras's metrics keep them.
        best: the weights with the best validation accuracy so far, where they are to be kept, else empty.
        random: PyTorch's generators, of which dropout's masks are drawn; other backends keep theirs in the model.
    """

    history: History
    position: int = 0
    metrics: list[np.ndarray] = field(default_factory=list)
    best: list[np.ndarray] = field(default_factory=list)
    random: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpoint:
    """A file with every variable of a model and its optimizer, and all else that a training goes on from.

    `settings`, as JSON knows it, is all that decides the result: a checkpoint only resumes a
    training with the same settings. `phase` tells trainings apart that follow each other in one file.
    """

    path: Path
    settings: Mapping[str, Any]
    phase: str = "training"

    def save(self, model: keras.Model, state: State) -> None:
        """Write the state of a compiled model."""
        arrays = {"variable": _variables(model), "metric": state.metrics, "best": state.best, "random": state.random}
        values = {
            f"{kind}_{i}": keras.ops.convert_to_numpy(value) if kind == "variable" else value
            for kind, several in arrays.items()
            for i, value in enumerate(several)
        }
        told = {"history": state.history, "position": state.position, "phase": self.phase, "settings": self.settings}
        with files.replacing(self.path) as temporary:
            np.savez(temporary, told=json.dumps(told), **values)

    def is_of_this_phase(self) -> bool:
        """Whether the file is there and was written in this phase.

        Raises:
            ValueError: it is damaged, or was written under other settings.
        """
        return self.path.exists() and self._read(all_arrays=False)[0]["phase"] == self.phase

    def restore(self, model: keras.Model) -> State:
        """Set the variables of a compiled model, and tell all else.

        Raises:
            ValueError: the file is damaged, or was written under other settings.
        """
        told, arrays = self._read()
        model.optimizer.build(model.trainable_variables)
        for variable, value in zip(_variables(model), _numbered(arrays, "variable"), strict=True):
            variable.assign(value)
        metrics, best, random = (_numbered(arrays, kind) for kind in ("metric", "best", "random"))
        return State(told["history"], told["position"], metrics, best, random)

    def _read(self, all_arrays: bool = True) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                told: dict[str, Any] = json.loads(str(archive["told"]))
                names = [name for name in archive.files if all_arrays and name != "told"]
                arrays = {name: archive[name] for name in names}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.path} is not a whole checkpoint ({error}); remove it and train anew") from error
        require_same(self.path, told["settings"], self.settings)
        return told, arrays


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


def _numbered(arrays: Mapping[str, np.ndarray], kind: str) -> list[np.ndarray]:
    """The arrays called KIND_0, KIND_1 and so on."""
    return [arrays[f"{kind}_{i}"] for i in range(sum(name.startswith(f"{kind}_") for name in arrays))]
