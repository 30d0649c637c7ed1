"""Weights for our models: published ones by name, and files of ours, torchvision's or Keras's."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import keras

from keras_classics import files, weight_files
from keras_classics.errors import InputError
from keras_classics.pretrained import applications, catalog, conversion, downloads, selection, state_dicts, whole_h5
from keras_classics.pretrained.conversion import LayerNames

# What ends in one of these is the path of a file, and the name of published weights otherwise.
SUFFIXES = (".keras", ".weights.h5", ".h5", *state_dicts.SUFFIXES)
MODEL_SUFFIXES = (".keras", ".h5")
"""Of files that hold a whole model."""


class FreshClassifierWarning(UserWarning):
    """Weights were loaded into all of a model but its classifier, which tells other classes apart than theirs."""


def load_model(path: str | os.PathLike[str]) -> keras.Model:
    """Read a `.keras` file written under any backend, in safe mode, or a whole model in `.h5`, without its code.

    What it announces is compared with what it holds first (`keras_classics.weight_files`), so that a
    small file cannot ask for much memory.

    Raises:
        ValueError: the file is missing, truncated, damaged, no such file, asks for more weights than it holds, or uses
            a layer that is not registered.
    """
    path = _existing(path)
    check: Callable[[Path], None] = weight_files.check_archive
    read: Callable[[Path], keras.Model] = functools.partial(keras.saving.load_model, compile=False, safe_mode=True)
    if path.suffix == ".h5":
        check, read = weight_files.check_whole_model, whole_h5.read
    elif path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise InputError(f"{path} is not a whole .keras file; save the model again with model.save('….keras')")
    try:
        check(path)
    except ValueError as error:
        raise InputError(f"{path} cannot be read as a Keras model ({error}); save it again with Keras 3") from error
    try:
        with _without_false_alarm():
            return read(path)
    except InputError:
        raise
    except Exception as error:  # layers raise what they please on settings that do not fit
        raise InputError(
            f"{path} cannot be read as a Keras model ({_first_line(error)}); save it again with Keras 3, "
            "and register custom layers with keras.saving.register_keras_serializable"
        ) from error


def save_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Write the weights of a model to a `.weights.h5` file, whole or not at all, with a SHA-256 in it.

    Keras reads the file as its own. `weights=` checks the SHA-256 and refuses a file in which a
    single bit has changed, which nothing tells of one that `model.save_weights` wrote.

    Raises:
        ValueError: the path does not end in `.weights.h5`, or the model has no weights yet.
        OSError: the file cannot be written.
    """
    if not os.fspath(path).endswith(".weights.h5"):
        raise InputError(f"{os.fspath(path)} is no name for weights; end it in .weights.h5")
    if not model.weights:
        raise InputError(f"{model.name} has no weights; build it before they are saved")
    with files.replacing(path, ".weights.h5") as temporary:
        model.save_weights(temporary)
        weight_files.save_digest(temporary)


def resolve(
    architecture: str,
    weights: str | os.PathLike[str],
    passed: catalog.Arguments,
    defaults: catalog.Arguments,
    layer_names: LayerNames,
) -> tuple[Path, catalog.Arguments]:
    """What `weights` stands for: a file, and the arguments of a constructor to build for it.

    Published weights, fetched where they are not yet in Keras's cache, come with arguments that the
    caller may not contradict. Other files of PyTorch and keras.applications come with what all that is published of
    the architecture has in common, or the file itself tells, where the caller says nothing else.

    Args:
        architecture: the registry's name.
        weights: the name of published weights, or a file: `.keras`, `.weights.h5`, a PyTorch state dict or
            checkpoint (`state_dicts.SUFFIXES`), or keras.applications' `.h5`.
        passed: the arguments that the caller passed, by name.
        defaults: those of the constructor.
        layer_names: what publishers call the architecture's layers.

    Raises:
        ValueError: there are no such weights, they need other arguments, or cannot be fetched.
    """
    if not os.fspath(weights).endswith(SUFFIXES):
        checkpoint = selection.select(architecture, os.fspath(weights), passed, defaults)
        return downloads.fetch(checkpoint), {**checkpoint.arguments, **passed}
    path = _existing(weights)
    publisher = _publisher(path)
    conventions = catalog.conventions(architecture, publisher) if publisher else {}
    if publisher == "torchvision" and layer_names.pytorch_arguments:
        conventions = layer_names.pytorch_arguments(state_dicts.read(path))
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
        state = state_dicts.read(path)
        normalized = any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
        names = layer_names.of_state_dict(state, normalized)
        if names is None:
            raise _unpublished("PyTorch", architecture)
        fresh = conversion.from_torchvision(model, names, state, fresh_classifier)
    elif publisher == "keras.applications":
        if layer_names.keras_applications is None:
            raise _unpublished(publisher, architecture)
        names = layer_names.keras_applications()
        _check_weights(path, model)
        with _without_false_alarm():
            tensors = applications.read(path, architecture, model, alpha)
        fresh = conversion.from_keras_applications(model, names, tensors, fresh_classifier)
    elif path.suffix == ".keras":
        fresh = _copy(load_model(path), model, path, fresh_classifier)
    else:
        _check_weights(path, model)
        try:
            with _without_false_alarm():
                model.load_weights(path)
        except (ValueError, TypeError, OSError, LookupError, AttributeError, RuntimeError) as error:
            raise InputError(f"{path} does not fit {model.name} ({_first_line(error)})") from error
    if fresh:
        warnings.warn(
            f"{path.name} tells other classes apart than {model.name} has: the classifier is random and has to be "
            "trained",
            FreshClassifierWarning,
            stacklevel=3,
        )


def _unpublished(publisher: str, architecture: str) -> InputError:
    return InputError(f"{publisher} has no {architecture}; weights takes a .keras or .weights.h5 file for it")


def _check_weights(path: Path, model: keras.Model) -> None:
    try:
        weight_files.check_weights(path)
    except ValueError as error:
        raise InputError(f"{path} does not fit {model.name} ({error}); save or fetch it again") from error


def publisher_of(architecture: str, weights: str) -> catalog.Publisher | None:
    """Who published weights of these, a name or a file, or gave the file its form; None for our own files.

    Raises:
        ValueError: there are no such weights.
    """
    if not weights.endswith(SUFFIXES):
        return catalog.named(architecture, weights)[0].publisher
    publisher = _publisher(_existing(weights))
    theirs = {checkpoint.publisher for checkpoint in catalog.published_weights(architecture)}
    return publisher if publisher in theirs else None


def _publisher(path: Path) -> catalog.Publisher | None:
    """Whose file this is; None for one of ours."""
    if path.name.endswith(state_dicts.SUFFIXES):
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
