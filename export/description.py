"""What a file is to say of itself: names of classes, and what a photo goes through before it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from export.data.input_range import InputRange
from export.data.samples import limits_of
from export.errors import InputError
from export.options import Options
from export.source import Source
from export.tflite_file.metadata import Metadata, Normalization

WHITE = 255.0
"""The greatest value of a pixel, as the metadata of a file counts them."""


def described(source: Source, options: Options) -> Metadata:
    """The metadata of a file that is made of `source`.

    Raises:
        InputError: no output has a column for each class name, or several have.
    """
    graph = source.graph
    shapes = [graph.operations[name].shape for name in graph.inputs]
    images = [index for index, shape in enumerate(shapes) if _is_photo(shape)]
    image = images[0] if len(images) == 1 else None
    name = options.name or source.model.name
    return Metadata(
        name=name,
        description=f"{name}, {options.mode}, by keras-classics {version('keras-classics')}",
        inputs=[(called, (1, *shape)) for called, shape in zip(graph.input_names, shapes, strict=True)],
        outputs=graph.output_names,
        image=image,
        normalization=None if image is None else _normalization(source, options, graph.inputs[image]),
        labelled=_labelled(source, options.class_names),
        class_names=options.class_names or (),
    )


def given_normalization(value: Any) -> InputRange | None:
    """What was given as `normalization`, for pixels in [0, 1].

    Args:
        value: (mean, std), each a number or one for each channel, or what has these (`kc.preprocessing_for(…)`).

    Raises:
        InputError: it is neither.
    """
    if value is None or isinstance(value, InputRange):
        return value
    try:
        mean, std = (value.mean, value.std) if hasattr(value, "mean") else value
        mean, std = ((each,) if isinstance(each, int | float) else tuple(map(float, each)) for each in (mean, std))
        if len(mean) != len(std) or not all(std):
            raise ValueError
        return InputRange.normalized(mean, std)
    except (TypeError, ValueError):
        raise InputError(f"normalization= is {value!r}; it takes (mean, std) of pixels in [0, 1]") from None


def in_pixels(scale: InputRange) -> Normalization | None:
    """The same for pixels in 0…255; None for models that take blue, green and red, which metadata cannot say."""
    if scale.reversed_channels:
        return None
    mean = tuple(-WHITE * offset / factor for factor, offset in zip(scale.factor, scale.offset, strict=True))
    return Normalization(tuple(each + 0.0 for each in mean), tuple(WHITE / factor for factor in scale.factor))


def _is_photo(shape: Sequence[int]) -> bool:
    """Whether a sample has the form of a gray or colour picture, channels last."""
    return len(shape) == 3 and shape[2] in (1, 3) and min(shape[:2]) > 3


def _normalization(source: Source, options: Options, name: str) -> Normalization | None:
    """What was given, or else what the range of the input tells; None where nothing does."""
    limits = limits_of(options.input_range, name)
    scale = options.normalization or (InputRange.between(*limits) if limits else source.told_ranges[name])
    return in_pixels(scale) if scale else None


def _labelled(source: Source, names: Sequence[str] | None) -> int | None:
    """Which output the class names belong to."""
    if names is None:
        return None
    shapes = [source.graph.operations[name].shape for name in source.graph.outputs]
    fitting = [index for index, shape in enumerate(shapes) if shape == (len(names),)]
    if not fitting:
        sizes = ", ".join("×".join(map(str, shape)) for shape in shapes)
        raise InputError(f"there are {len(names)} class names and the outputs have {sizes} values; give one for each")
    return fitting[0]
