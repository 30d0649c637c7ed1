"""Weight files of keras.applications, read by keras.applications.

Keras's published `.h5` files go by the order of layers, and some name them otherwise than Keras's
own source does (MobileNetV2's): only Keras's network of that architecture can tell what is what. It
is built, given the file, and asked for its weights by name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np

from keras_classics.arguments import Shape, channel_axis, sides
from keras_classics.errors import InputError

# Keras's constructor of each architecture.
NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "mobilenet_v1": keras.applications.MobileNet,
    "mobilenet_v2": keras.applications.MobileNetV2,
    "resnet50": keras.applications.ResNet50,
    "resnet101": keras.applications.ResNet101,
    "resnet152": keras.applications.ResNet152,
    "vgg16": keras.applications.VGG16,
    "vgg19": keras.applications.VGG19,
}
# The first convolutions of these networks have these names, and those of ours do not.
FIRST_LAYERS = frozenset(("conv1", "Conv1", "conv1_conv", "block1_conv1"))
# Keras builds all of these networks for images of 224×224 pixels, and none for less than 32×32.
SIZE, SMALLEST_SIZE = 224, 32
# What they tell apart where a file is not of as many classes as the model has.
CLASSES = 1000


def read(path: Path, architecture: str, model: keras.Model, alpha: float = 1.0) -> dict[str, np.ndarray]:
    """The weights in an `.h5` or `.weights.h5` file of Keras's network, by LAYER/VARIABLE.

    Args:
        path: of the file.
        architecture: its name in our registry.
        model: ours, which the weights are for; without a top, the file may have one or not. With one, the
            file's may tell as many classes apart or ImageNet's.
        alpha: the width multiplier of a MobileNet.

    Raises:
        ValueError: Keras has no such network, or the file does not fit it.
    """
    if architecture not in NETWORKS:
        raise InputError(f"keras.applications has no {architecture}, as {path.name} would need")
    top = next((layer for layer in model.layers if layer.name == "predictions"), None)
    options = {"alpha": alpha} if architecture.startswith("mobilenet") else {}
    shape = _with_sides(model.input_shape[1:], keep=top is not None)
    failure: Exception | None = None
    with_top = [(True, classes) for classes in dict.fromkeys((top.units if top else CLASSES, CLASSES))]
    for include_top, classes in with_top if top else [*with_top, (False, CLASSES)]:
        network = NETWORKS[architecture](
            weights=None, input_shape=shape, include_top=include_top, classes=classes, **options
        )
        try:
            network.load_weights(path)
        except (ValueError, OSError, KeyError, TypeError, RuntimeError) as error:
            failure = failure or error
            continue
        return {
            f"{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
            for layer in network.layers
            for variable in layer.weights
        }
    reason = " ".join(str(failure).split())[:200]
    raise InputError(f"{path} does not fit the {architecture} of keras.applications ({reason})") from failure


def wrote(path: Path) -> bool:
    """Whether a `.weights.h5` file was saved from a network of keras.applications rather than from ours."""
    try:
        with h5py.File(path) as file:
            layers = file.get("layers", {})
            return any(layer["vars"].attrs.get("name") in FIRST_LAYERS for layer in layers.values())
    except (OSError, KeyError, AttributeError, TypeError, ValueError, RuntimeError):
        return False


def _with_sides(shape: Shape, keep: bool) -> Shape:
    """`shape` with sides that Keras's networks accept: on them depends only what follows a flatten."""
    height, width = (side if keep and side and side >= SMALLEST_SIZE else SIZE for side in sides(shape))
    return (height, width, shape[2]) if channel_axis() == 3 else (shape[0], height, width)
