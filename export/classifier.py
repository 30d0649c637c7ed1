"""A `.keras` or `.tflite` file as something that names what is on images: preprocessing and class names applied."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from export.data.input_range import InputRange, recorded_class_names, recorded_range
from export.errors import InputError
from keras_classics.datasets import image_folder
from keras_classics.datasets.parts import Shape

SURE_OF_SUM = 0.02
"""Scores whose sum is so near to 1, and none of which is negative, are probabilities already."""
BATCH = 32


@dataclass(frozen=True)
class Prediction:
    """One class of an image: its name (its number, where no names are known), number and probability."""

    name: str
    index: int
    probability: float


Scores = Callable[[np.ndarray], np.ndarray]
"""A model: float32 (n, height, width, channels), in its own range, to (n, classes)."""


@dataclass(frozen=True)
class Classifier:
    """A model with what belongs around it.

    Attributes:
        path: of its file.
        class_names: in the order of its outputs; None where nothing tells them.
        image_shape: (height, width, channels) that it takes.
        scale: from pixels in [0, 1] to its input.
        probabilities_out: whether it ends in probabilities; None where only the numbers can tell.
    """

    path: Path
    class_names: tuple[str, ...] | None
    image_shape: Shape
    scale: InputRange
    scores: Scores
    probabilities_out: bool | None

    def probabilities(self, images: Any) -> np.ndarray:
        """The probability of each class: float32 (n, classes).

        Args:
            images: as `predict` takes them.
        """
        pixels = [_pixels(image, self.image_shape) for image in _listed(images)]
        parts = [
            self.scores(self.scale.scale(np.stack(pixels[start : start + BATCH])).astype(np.float32))
            for start in range(0, len(pixels), BATCH)
        ]
        return _as_probabilities(np.concatenate(parts), self.probabilities_out)

    def predict(self, images: Any, top: int = 5) -> list[list[Prediction]]:
        """The `top` most probable classes of each image, the most probable first.

        Args:
            images: a path, a Pillow image or an array, or a list of these, or an array of images. Arrays are
                (height, width), (height, width, 1) or (height, width, 3): bytes, or floats in [0, 1]. All are made
                upright, resized by their shorter side and cut from the middle.

        Raises:
            InputError: an image cannot be read.
        """
        rows = self.probabilities(images)
        best = np.argsort(-rows, axis=1, kind="stable")[:, :top]
        names = self.class_names or tuple(map(str, range(rows.shape[1])))
        return [
            [Prediction(names[index], int(index), float(row[index])) for index in chosen]
            for row, chosen in zip(rows, best, strict=True)
        ]


def load_classifier(path: str | os.PathLike[str], *, input_range: str | None = None) -> Classifier:
    """Read a model that names what is on images.

    Args:
        path: a `.keras` file, or a `.tflite` file of any of our modes, or another with TFLite's metadata.
        input_range: what the model takes, where neither the file nor what lies beside it says so: "0,1", "-1,1",
            "0,255", "imagenet" or "caffe".

    Raises:
        InputError: the file cannot be used, does not take one image, or nothing tells its input range.
    """
    given = Path(path)
    if not given.is_file():
        raise InputError(f"{given} is not a file; check the path")
    scale = InputRange.parse(input_range) if input_range else None
    if given.suffix == ".tflite":
        return _from_tflite(given, scale)
    if given.suffix == ".keras":
        return _from_keras(given, scale)
    raise InputError(f"{given} is neither a .keras nor a .tflite file")


def _from_keras(path: Path, scale: InputRange | None) -> Classifier:
    import keras

    from export.data.range_evidence import derived_range
    from export.frontend.read import read_graph
    from keras_classics.weights import load_model

    model = load_model(path)
    if len(model.inputs) != 1:
        raise InputError(f"{path} takes {len(model.inputs)} inputs; a classifier takes one image")
    names = recorded_class_names(path)
    shapes = [tuple(each.shape) for each in model.outputs]
    output = _scores_of(path, shapes, len(names) if names else None)
    shape = _image_shape(path, tuple(model.inputs[0].shape[1:]))
    scale = scale or recorded_range(path)
    if scale is None:
        graph = read_graph(model)
        scale = derived_range(graph, graph.inputs[0], str(model.inputs[0].dtype))
    if scale is None:
        raise _no_range(path, f"{path.stem}.preprocess.json beside it")

    def scores(inputs: np.ndarray) -> np.ndarray:
        found = model(inputs, training=False)
        chosen = keras.tree.flatten(found)[output]
        return np.asarray(keras.ops.convert_to_numpy(chosen), np.float32)

    return Classifier(path, _fitting(path, names, shapes[output][-1]), shape, scale, scores, None)


def _from_tflite(path: Path, scale: InputRange | None) -> Classifier:
    from export.tflite_file import apart, metadata
    from export.tflite_file.interpreter import Interpreter
    from export.tflite_file.logits import softmax_inputs

    apart.describe(path)  # a file that crashes LiteRT, or fills the memory, does so there
    interpreter = Interpreter(path)
    if len(interpreter.inputs) != 1:
        raise InputError(f"{path} takes {len(interpreter.inputs)} inputs; a classifier takes one image")
    names = metadata.class_names(path)
    shapes = [port.shape for port in interpreter.outputs]
    output = _scores_of(path, shapes, len(names) if names else None)
    shape = _image_shape(path, interpreter.inputs[0].shape[1:])
    known = metadata.normalization(path)
    if scale is None and known is not None:
        mean, std = (tuple(each / 255 for each in values) for values in (known.mean, known.std))
        scale = InputRange.normalized(mean, std)
    scale = scale or _range_of_report(path)
    if scale is None:
        raise _no_range(path, "a normalization in its metadata")
    softmax = interpreter.outputs[output].index in softmax_inputs(path.read_bytes())
    return Classifier(
        path,
        _fitting(path, names, shapes[output][-1]),
        shape,
        scale,
        lambda inputs: interpreter.run([inputs])[output],
        True if softmax else None,
    )


def _no_range(path: Path, missing: str) -> InputError:
    return InputError(
        f"nothing says which numbers {path} takes: it lacks {missing}; give --input-range (input_range=) 0,1 or -1,1 "
        "or 0,255 or imagenet or caffe"
    )


def _range_of_report(path: Path) -> InputRange | None:
    """What the report beside a file says, of files from before they said it themselves."""
    try:
        limits = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["input_range"]
        low, high = limits
        return InputRange.between(low, high)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _scores_of(path: Path, shapes: Sequence[tuple[int | None, ...]], classes: int | None) -> int:
    """Which output tells the classes: the first with one number for each."""
    for index, shape in enumerate(shapes):
        if len(shape) == 2 and (classes is None or shape[1] in (classes, 1)):
            return index
    raise InputError(f"{path} gives {', '.join(map(str, shapes))}; a classifier gives one number for each class")


def _image_shape(path: Path, shape: tuple[int | None, ...]) -> Shape:
    if len(shape) != 3 or None in shape or shape[2] not in (1, 3):
        raise InputError(f"{path} takes {shape}; a classifier takes (height, width, 1) or (height, width, 3)")
    height, width, channels = (int(each or 0) for each in shape)
    return height, width, channels


def _fitting(path: Path, names: tuple[str, ...] | None, columns: int | None) -> tuple[str, ...] | None:
    if names is not None and columns not in (len(names), 1):
        raise InputError(f"{path} gives {columns} numbers and {len(names)} class names are recorded; mend the record")
    return names


def _listed(images: Any) -> Iterable[Any]:
    """One image, a list of them or an array of them, as an iterable of images."""
    if isinstance(images, str | os.PathLike | Image.Image):
        return [images]
    if hasattr(images, "shape") and len(images.shape) < 4 and not (len(images.shape) == 3 and images.shape[2] > 4):
        return [images]
    listed = list(images)
    if not listed:
        raise InputError("there is no image to name; give at least one")
    return listed


def _pixels(image: Any, shape: Shape) -> np.ndarray:
    """One image as float32 (height, width, channels) in [0, 1]."""
    if isinstance(image, str | os.PathLike):
        return _unit(image_folder.decode(Path(image), shape))
    if isinstance(image, Image.Image):
        return _unit(image_folder.fitted(image, shape))
    array = np.asarray(image)
    if array.dtype == np.uint8:
        return _unit(image_folder.fitted(Image.fromarray(array.squeeze()), shape))
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
        raise InputError(f"an image reaches from {array.min():g} to {array.max():g}; give bytes, or floats in [0, 1]")
    if array.shape != shape:
        return _pixels((array * 255).round().astype(np.uint8), shape)
    return array.astype(np.float32)


def _unit(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(255)


def _as_probabilities(scores: np.ndarray, known: bool | None) -> np.ndarray:
    """Rows that sum to 1: scores through a softmax, one column as the second of two classes."""
    inside = bool(((scores >= 0) & (scores <= 1)).all())
    if scores.shape[1] == 1:
        second = scores if inside else 1 / (1 + np.exp(-scores))
        return np.concatenate([1 - second, second], axis=1)
    if known or (inside and bool((np.abs(scores.sum(axis=1) - 1) < SURE_OF_SUM).all())):
        return scores
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
