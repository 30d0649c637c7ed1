"""The arguments that constructors share: their types, their checks, and what docstrings say of them."""

from __future__ import annotations

import inspect
import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import Any, Literal

import keras

from keras_classics.errors import InputError

Shape = tuple[int | None, int | None, int]
Pooling = Literal["avg", "max"] | None
Padding = Literal["symmetric", "same"]
Rectifier = Literal["relu", "relu6"]

SHARED_TEXT = {
    "input_shape": "(height, width, channels) in pixels, or (channels, height, width) under Keras's "
    "`channels_first`. Without a top height and width may be None.",
    "classes": "length of the output.",
    "include_top": "whether the classifier is part of the model.",
    "pooling": 'without a top: None for the feature maps, "avg" or "max" for their average or maximum over height '
    "and width.",
    "classifier_activation": "of the output layer; None for logits.",
    "name": "of the model.",
    "stem_stride": "stride of the first convolution; 1 keeps resolution on small images.",
    "epsilon": "what every batch normalization adds to the variance.",
    "batch_norm_momentum": "of the moving averages of every batch normalization, in Keras's sense: 0.9 is "
    "PyTorch's 0.1.",
    "padding": 'of strided convolutions: "symmetric" pads all sides alike (torchvision), "same" only right and bottom '
    "where one pixel is odd (TensorFlow).",
    "returns": "A functional model, (batch, height, width, channels) → (batch, classes).",
    "raises": "ValueError: an argument cannot be used; the message says what can.",
}
"""What a docstring's `$NAME` stands for in every constructor: arguments, result and error."""

DOCSTRING_WIDTH = 100
"""Columns to which lines are wrapped that shared text has made longer."""


def documented(docstring: str, more: Mapping[str, str]) -> str:
    """A constructor's docstring with the shared text, and that in `more`, in place of each `$NAME`.

    Raises:
        KeyError: the docstring asks for a text that there is not.
    """
    lines = []
    for line in inspect.cleandoc(docstring).splitlines():
        filled = Template(line).substitute(SHARED_TEXT | dict(more))
        if filled != line:
            indent = re.match(" *", line)[0]  # type: ignore[index]  # it matches every line
            hanging = indent + "    " if re.match(r" +\w+: ", line) else indent
            filled = textwrap.fill(filled, DOCSTRING_WIDTH, subsequent_indent=hanging, break_on_hyphens=False)
        lines.append(filled)
    return "\n".join(lines)


def channel_axis() -> int:
    """Index of the channels in a batch of images: 3, or 1 under `channels_first`."""
    return 3 if keras.config.image_data_format() == "channels_last" else 1


def sides(input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
    """Height and width of a shape without batch axis, in the data format of `keras.config`."""
    return tuple(input_shape[:2] if channel_axis() == 3 else input_shape[1:])


def image_shape(input_shape: Any, minimum: int, include_top: bool = True) -> Shape:
    """`input_shape`, refused unless it is that of images on which the network can work.

    Args:
        input_shape: (height, width, channels), or (channels, height, width) under
            `channels_first`. Height and width may be None without a top.
        minimum: the smallest height and width, in pixels, that the network's strides leave.
        include_top: whether the network has a classifier.

    Raises:
        ValueError: the shape is not three positive integers or is too small.
    """
    order = "height, width, channels" if channel_axis() == 3 else "channels, height, width"
    shape = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    if len(shape) != 3 or not all(size is None or (isinstance(size, int) and size > 0) for size in shape):
        raise InputError(f"input_shape is {input_shape!r}; it takes ({order}), three positive integers")
    height_width, channels = sides(shape), shape[channel_axis() - 1]
    if channels is None or (include_top and None in height_width):
        raise InputError(f"input_shape is {input_shape!r}; only include_top=False leaves height and width open")
    if any(side is not None and side < minimum for side in height_width):
        pixels = "×".join(map(str, height_width))
        raise InputError(f"input of {pixels} pixels is too small; this network takes at least {minimum}×{minimum}")
    return shape


def positive(name: str, value: float) -> float:
    """`value`, refused unless it is a finite number above zero."""
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise InputError(f"{name} is {value!r}; it takes a number above 0")
    return value


def one_of(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Refuse a `value` that is not among `choices`."""
    choices = tuple(choices)
    if value not in choices:
        raise InputError(f"{name} is {value!r}; it takes {' or '.join(map(repr, choices))}")
