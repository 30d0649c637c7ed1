"""Weights for our models: published ones by name, and files of ours, torchvision's or Keras's."""

from __future__ import annotations

import contextlib
import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import keras

from keras_classics.errors import InputError
from keras_classics.pretrained import applications, catalog, conversion, downloads, selection, torch_files
from keras_classics.pretrained.conversion import LayerNames, Names

# What ends in one of these is the path of a file, and the name of published weights otherwise.
SUFFIXES = (".keras", ".weights.h5", ".pth", ".h5")


class FreshClassifierWarning(UserWarning):
    """Weights were loaded into all of a model but its classifier, which tells other classes apart than theirs."""


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
        with _without_false_alarm():
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read as a Keras model ({_first_line(error)}); save it again with Keras 3, "
            "and register custom layers with keras.saving.register_keras_serializable"
        ) from error


def resolve(
    architecture: str, weights: str | os.PathLike[str], passed: catalog.Arguments, defaults: catalog.Arguments
) -> tuple[Path, catalog.Arguments]:
    """What `weights` stands for: a file, and the arguments of a constructor to build for it.

    Published weights, fetched where they are not yet in Keras's cache, come with arguments that the
    caller may not contradict. Other files of torchvision and keras.applications come with what all
    that these publish of the architecture has in common, where the caller says nothing else.

    Args:
        architecture: the registry's name.
        weights: the name of published weights, or a file: `.keras`, `.weights.h5`, torchvision's
            `.pth` or keras.applications' `.h5`.
        passed: the arguments that the caller passed, by name.
        defaults: those of the constructor.

    Raises:
        ValueError: there are no such weights, they need other arguments, or cannot be fetched.
    """
    if not os.fspath(weights).endswith(SUFFIXES):
        checkpoint = selection.select(architecture, os.fspath(weights), passed, defaults)
        return downloads.fetch(checkpoint), {**checkpoint.arguments, **passed}
    path = _existing(weights)
    publisher = _publisher(path)
    conventions = catalog.conventions(architecture, publisher) if publisher else {}
    return path, {**conventions, **passed}


def load(
    model: keras.Model,
    path: str | os.PathLike[str],
    architecture: str,
    layer_names: LayerNames,
    alpha: float = 1.0,
    fresh_classifier: bool = False,
) -> None:
    """Load the weights in a file into `model`, in place.

    Args:
        model: one that was built as the weights need it.
        path: of a file that `resolve` names.
        architecture: the model's name in the registry.
        layer_names: what publishers call its layers.
        alpha: its width multiplier, if it has one.
        fresh_classifier: whether a `.keras`, `.pth` or `.h5` file of other classes may leave the classifier as
            it is; then `FreshClassifierWarning` is given.

    Raises:
        ValueError: the file is missing or damaged, or its weights do not fit the model.
    """
    path = _existing(path)
    publisher = _publisher(path)
    fresh = False
    if publisher == "torchvision":
        names = _names(layer_names, model, architecture, publisher)
        fresh = conversion.from_torchvision(model, names, torch_files.read(path), fresh_classifier)
    elif publisher == "keras.applications":
        names = _names(layer_names, model, architecture, publisher)
        with _without_false_alarm():
            tensors = applications.read(path, architecture, model, alpha)
        fresh = conversion.from_keras_applications(model, names, tensors, fresh_classifier)
    elif path.suffix == ".keras":
        fresh = _copy(load_model(path), model, path, fresh_classifier)
    else:
        try:
            with _without_false_alarm():
                model.load_weights(path)
        except (ValueError, OSError, KeyError) as error:
            raise InputError(f"{path} does not fit {model.name} ({_first_line(error)})") from error
    if fresh:
        warnings.warn(
            f"{path.name} tells other classes apart than {model.name} has: the classifier is random and has to be "
            "trained",
            FreshClassifierWarning,
            stacklevel=3,
        )


def _names(layer_names: LayerNames, model: keras.Model, architecture: str, publisher: catalog.Publisher) -> Names:
    """What `publisher` calls the layers of `model`. Raises ValueError where it has no such network."""
    normalized = any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    if publisher == "keras.applications":
        names = layer_names.keras_applications
    elif normalized and layer_names.torchvision_batch_norm:
        names = layer_names.torchvision_batch_norm
    else:
        names = layer_names.torchvision
    if names is None:
        raise InputError(f"{publisher} has no {architecture}; weights takes a .keras or .weights.h5 file for it")
    return names()


def _publisher(path: Path) -> catalog.Publisher | None:
    """Whose file this is; None for one of ours."""
    if path.suffix == ".pth":
        return "torchvision"
    if path.name.endswith(".weights.h5"):
        return "keras.applications" if applications.wrote(path) else None
    return "keras.applications" if path.suffix == ".h5" else None


def _copy(source: keras.Model, target: keras.Model, path: Path, fresh_classifier: bool) -> bool:
    """Copy every weight, or all but the classifier's where only that is of another shape and may stay fresh."""
    shapes, wanted = ([tuple(variable.shape) for variable in model.weights] for model in (source, target))
    if fresh_classifier and shapes != wanted:
        kept, given = (_without_classifier(model) for model in (target, source))
        if [tuple(variable.shape) for variable in kept] == [tuple(variable.shape) for variable in given]:
            for variable, value in zip(kept, given, strict=True):
                variable.assign(value)
            return True
    if shapes != wanted:
        odd = next((f"{a} where {b} is needed" for a, b in zip(shapes, wanted, strict=False) if a != b), None)
        detail = f"a weight of shape {odd}" if odd else f"{len(shapes)} weights, {len(wanted)} are needed"
        raise InputError(f"{path} does not fit {target.name}: {detail}; build it as the saved model was built")
    target.set_weights(source.get_weights())
    return False


def _without_classifier(model: keras.Model) -> list[keras.Variable]:
    classifiers = [layer for layer in model.layers if layer.name == conversion.CLASSIFIER]
    left_out = {id(variable) for layer in classifiers for variable in layer.weights}
    return [variable for variable in model.weights if id(variable) not in left_out]


@contextlib.contextmanager
def _without_false_alarm() -> Iterator[None]:
    """Keras 3.15 warns, once for each depth of a model's graph, that weights are skipped which it has read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipping nested container", UserWarning)
        yield


def _existing(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file; check the path")
    return path


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
