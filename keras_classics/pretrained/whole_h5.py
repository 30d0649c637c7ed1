"""Whole models in `.h5`, the format of Keras before `.keras`, read without running anything that is in the file.

Keras's own reader of these files takes functions from them. Here the architecture is data: a file that names any class
but those of `keras` and what the reader's user has registered is refused, and so is code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras

from keras_classics.errors import InputError

MODELS = {"Functional": keras.Model, "Model": keras.Model, "Sequential": keras.Sequential}
DATA = {
    "__keras_tensor__",
    "__tensor__",
    "__numpy__",
    "__ellipsis__",
    "DTypePolicy",
    "Policy",
    "TensorShape",
    "__tuple__",
}
"""Classes in a configuration that stand for values."""
CODE = {"Lambda", "__lambda__"}
PLACES = (
    keras.layers, keras.initializers, keras.regularizers, keras.constraints, keras.dtype_policies, keras.random,
)  # fmt: skip


def read(path: Path) -> keras.Model:
    """The model in a file that `model.save("….h5")` of Keras 2 or 3 wrote, and that `weight_files` has checked.

    Raises:
        InputError: the file holds weights alone, or names code or classes that Keras does not have.
        Exception: whatever Keras's layers raise on settings that do not fit.
    """
    with h5py.File(path) as file:
        text = file.attrs.get("model_config")
    if text is None:
        raise InputError(
            f"{path} holds weights without a model; build the model and load them with model.load_weights, or give "
            "them as weights= to the constructor of a classic"
        )
    model = _model(path, text if isinstance(text, str) else text.decode())
    model.load_weights(path)
    return model


def _model(path: Path, text: str) -> keras.Model:
    whole = json.loads(text)
    kind = whole.get("class_name") if isinstance(whole, dict) else None
    if kind not in MODELS:
        raise InputError(f"{path} holds a model of class {kind!r}; save a functional or Sequential model")
    for value in _objects(whole):
        name, module = value["class_name"], value.get("module")
        if name in CODE:
            raise InputError(f"{path} has a Lambda layer, which is code; save the model again with layers in its place")
        of_keras = name in MODELS or name in DATA or _is_of_keras(name, module)
        if not of_keras and keras.saving.get_registered_object(value.get("registered_name") or name) is None:
            raise InputError(
                f"{path} has a layer or object {name!r}{f' of {module}' if module else ''}, which Keras does not have; "
                "register it with keras.saving.register_keras_serializable, or import the module that does"
            )
    return MODELS[kind].from_config(_as_keras_3(whole["config"]))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """All descriptions in a configuration that name a class."""
    if isinstance(value, dict):
        if isinstance(value.get("class_name"), str):
            yield value
        for each in value.values():
            yield from _objects(each)
    elif isinstance(value, list):
        for each in value:
            yield from _objects(each)


def _is_of_keras(name: str, module: str | None) -> bool:
    """Whether Keras has a class of that name; a file could name another module, to have that one imported."""
    if module is not None and module.partition(".")[0] != "keras":
        return False
    return any(isinstance(getattr(place, name, None), type) for place in PLACES)


def _as_keras_3(value: Any) -> Any:
    """A configuration without what Keras 3 has dropped or renamed."""
    if isinstance(value, list):
        return [_as_keras_3(each) for each in value]
    if not isinstance(value, dict):
        return value
    value = {key: _as_keras_3(each) for key, each in value.items()}
    for ends in ("input_layers", "output_layers"):  # a list of one is a list of one tensor to Keras 3
        if isinstance(value.get(ends), list) and len(value[ends]) == 1 and isinstance(value[ends][0], list):
            (value[ends],) = value[ends]
    if value.get("class_name") in ("Policy", "DTypePolicy") and "config" in value:
        return value["config"]["name"]
    if isinstance(config := value.get("config"), dict) and (name := value.get("class_name")):
        if name == "BatchNormalization" and isinstance(config.get("axis"), list):
            (config["axis"],) = config["axis"]
        for dropped in DROPPED.get(name, ()):
            config.pop(dropped, None)
    return value


DROPPED = {
    "BatchNormalization": ("renorm", "renorm_clipping", "renorm_momentum", "fused", "virtual_batch_size", "adjustment"),
    "DepthwiseConv2D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint", "filters"),
    "SeparableConv2D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "Conv2DTranspose": ("groups",),
    "GRU": ("time_major", "implementation"),
    "LSTM": ("time_major", "implementation"),
    "SimpleRNN": ("time_major",),
}
"""Arguments by layer that tf.keras wrote and Keras 3 does not take."""
