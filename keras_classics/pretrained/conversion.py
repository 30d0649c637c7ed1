"""Published weights in our models, matched by name and never by order."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_classics.arguments import sides
from keras_classics.errors import InputError

Names = dict[str, str]
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class LayerNames:
    """What publishers call the layers of an architecture, {our layer: theirs}; None where they have no such network.

    The dicts hold every layer that some form of the architecture has; a model may lack some of them.
    `torchvision_batch_norm` is for networks that torchvision numbers otherwise with batch
    normalization than without. `pytorch` has the names that other code, or older code of torchvision's,
    gives them; `pytorch_arguments` are those of our constructor that the names of the tensors in a file tell.
    """

    torchvision: Callable[[], Names] | None = None
    torchvision_batch_norm: Callable[[], Names] | None = None
    pytorch: tuple[Callable[[], Names], ...] = ()
    pytorch_arguments: Callable[[Iterable[str]], dict[str, Any]] | None = None
    keras_applications: Callable[[], Names] | None = None

    @property
    def of_pytorch(self) -> bool:
        """Whether a PyTorch network of it is known."""
        return bool(self.torchvision or self.pytorch)

    def of_state_dict(self, tensors: Iterable[str], normalized: bool) -> Names | None:
        """Those of the candidates that most of the tensors go by; None where there are none.

        Args:
            tensors: their names.
            normalized: whether the model has batch normalization.
        """
        numbered = self.torchvision_batch_norm if normalized else None
        candidates = [names() for names in (numbered or self.torchvision, *self.pytorch) if names]
        layers_of_file = {name.rpartition(".")[0] for name in tensors}
        return max(candidates, key=lambda names: len(layers_of_file & set(names.values())), default=None)


def normalized_pair(ours: str, convolution: str, norm: str) -> Names:
    """The names of a convolution and its batch normalization, which here are `OURS_conv` and `OURS_norm`."""
    return {f"{ours}_conv": convolution, f"{ours}_norm": norm}


CLASSIFIER = "predictions"
"""The layer whose outputs are the classes, in every network of ours."""

# A model without a top does not have these layers.
TOP = ("fc1", "fc2", "fc6", "fc7", CLASSIFIER)
# Inference has no use for the counter, and torchvision published GoogLeNet's side heads untrained.
TORCHVISION_UNUSED = re.compile(r".*\.num_batches_tracked|aux[12]\..*")
# PyTorch's name of each of Keras's variables.
TORCHVISION_WEIGHTS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# Keras's networks that begin with one of these layers take B, G, R as Caffe did.
KERAS_BLUE_FIRST = ("block1_conv1", "conv1_conv")


def from_torchvision(model: keras.Model, names: Names, tensors: Tensors, fresh_classifier: bool = False) -> bool:
    """Give a model all its weights from a torchvision state dict, or none.

    Args:
        model: takes the weights, in place.
        names: what torchvision calls its layers.
        tensors: by name, as torchvision's network of that architecture has them.
        fresh_classifier: whether the classifier may keep its weights where theirs tells other classes apart.

    Returns:
        Whether the classifier kept its weights.

    Raises:
        ValueError: weights are missing, left over or of another shape; the message names them.
    """

    def weight(layer: layers.Layer, variable: str) -> str:
        return f"{names[layer.name]}.{TORCHVISION_WEIGHTS[variable]}"

    def oriented(layer: layers.Layer, variable: keras.Variable, value: np.ndarray) -> np.ndarray:
        if variable.name != "kernel":
            return value
        if isinstance(layer, layers.DepthwiseConv2D):
            return value.transpose(2, 3, 0, 1)
        if isinstance(layer, layers.Conv2D):
            return value.transpose(2, 3, 1, 0)
        return _dense_kernel(model, layer, value)

    tensors = {name: value for name, value in tensors.items() if not TORCHVISION_UNUSED.fullmatch(name)}
    return _assign(model, names, tensors, weight, oriented, ".", fresh_classifier)


def from_keras_applications(model: keras.Model, names: Names, tensors: Tensors, fresh_classifier: bool = False) -> bool:
    """Give a model all its weights from a keras.applications model, or none.

    Where Keras's network takes B, G, R, the first kernel is turned round, so that ours takes R, G, B.

    Args:
        model: takes the weights, in place.
        names: what keras.applications calls its layers.
        tensors: by LAYER/VARIABLE, as keras.applications names them.
        fresh_classifier: as `from_torchvision`.

    Returns:
        As `from_torchvision`.

    Raises:
        ValueError: as `from_torchvision`.
    """

    def weight(layer: layers.Layer, variable: str) -> str:
        return f"{names[layer.name]}/{variable}"

    def oriented(layer: layers.Layer, variable: keras.Variable, value: np.ndarray) -> np.ndarray:
        if variable.name == "kernel" and names[layer.name] in KERAS_BLUE_FIRST and value.shape[2] == 3:
            return value[:, :, ::-1, :]
        if isinstance(layer, layers.Dense) and value.ndim == 4:
            return value.reshape(value.shape[2:])
        return value

    return _assign(model, names, tensors, weight, oriented, "/", fresh_classifier)


def _assign(
    model: keras.Model,
    names: Names,
    tensors: Tensors,
    weight: Callable[[layers.Layer, str], str],
    oriented: Callable[[layers.Layer, keras.Variable, np.ndarray], np.ndarray],
    separator: str,
    fresh_classifier: bool,
) -> bool:
    """Set every variable from the tensor that `weight` names, as `oriented` turns it."""
    weighted = [layer for layer in model.layers if layer.weights]
    fresh = [
        layer
        for layer in weighted
        if fresh_classifier and layer.name == CLASSIFIER and _tells_others_apart(layer, names, tensors, weight)
    ]
    weighted = [layer for layer in weighted if layer not in fresh]
    strangers = [layer.name for layer in weighted if layer.name not in names]
    if strangers:
        raise InputError(f"{model.name} has layers that the weights' publisher has not: {_some(strangers)}")
    sources = {weight(layer, variable.name): (layer, variable) for layer in weighted for variable in layer.weights}
    missing = [source for source in sources if source not in tensors]
    if missing:
        raise InputError(
            f"the weights lack {_some(missing)}, which {model.name} needs; "
            "build the model as theirs was built, or without a top"
        )
    lacked = {names[layer] for layer in TOP if layer in names} - {names[layer.name] for layer in weighted}
    left_over = [name for name in tensors if name not in sources and name.rpartition(separator)[0] not in lacked]
    if left_over:
        raise InputError(
            f"the weights also hold {_some(left_over)}, for which {model.name} has no place; "
            "build the model as theirs was built"
        )
    values = {}
    for source, (layer, variable) in sources.items():
        tensor = np.asarray(tensors[source])
        # NumPy refuses to turn round what has too few axes, or too few numbers for a flattened image.
        with contextlib.suppress(ValueError, IndexError):
            values[source] = oriented(layer, variable, tensor)
        if source not in values or values[source].shape != tuple(variable.shape):
            raise InputError(
                f"the weights' {source} is {tensor.shape}, which does not fit {tuple(variable.shape)} of {layer.name} "
                f"in {model.name}; build the model as theirs was built, or without a top"
            )
    for source, (_, variable) in sources.items():
        variable.assign(values[source].astype(np.float32))
    return bool(fresh)


def _tells_others_apart(
    classifier: layers.Dense, names: Names, tensors: Tensors, weight: Callable[[layers.Layer, str], str]
) -> bool:
    """Whether the tensors have no such classifier, or one of another number of classes."""
    bias = tensors.get(weight(classifier, "bias")) if classifier.name in names else None
    return bias is None or np.shape(bias) != (classifier.units,)


def _dense_kernel(model: keras.Model, layer: layers.Layer, value: np.ndarray) -> np.ndarray:
    """(out, in) → (in, out); PyTorch flattens channels first, Keras channels last."""
    flatten = next((other for other in model.layers if isinstance(other, layers.Flatten)), None)
    if flatten is None or layer.input is not flatten.output:
        return value.T
    height_width: Any = sides(flatten.input.shape[1:])
    return value.reshape(len(value), -1, *height_width).transpose(2, 3, 1, 0).reshape(-1, len(value))


def _some(names: Iterable[str]) -> str:
    first, *rest = names
    return f"{first} and {len(rest)} more" if rest else first
