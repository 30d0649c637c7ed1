"""Which numbers a model takes, where nobody recorded it: what its first layers say, and what photos make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.client import Worker
from export.data.input_range import InputRange
from export.data.samples import is_image
from export.data.scale_check import SAMPLES, first_normalization, up_to
from export.errors import InputError
from export.ir.graph import Graph
from keras_classics.pretrained import catalog

GRAY_RANGES = ("0,1", "-1,1", "0,255")
COLOUR_RANGES = (*GRAY_RANGES, "imagenet", "caffe")
NORMALIZED_MEAN, NORMALIZED_DEVIATION = 1.0, 2.0
"""A Normalization layer gives the data that it was adapted to a mean of 0 and a deviation of 1, other photos nearly."""
LEAST_RESPONSE, GREATEST_RESPONSE = 0.02, 50.0
"""Between these lies the deviation of what the first kernel gives for photos: others starve or flood what follows."""
NARROW = 0.02
"""Data that spans less than this share of a range is scaled otherwise: a black photo aside, pixels vary more."""
SLACK = 0.1


@dataclass(frozen=True)
class Preprocessing:
    """What a graph does to its input first: x · factor + offset, by channel or alike for all."""

    factor: np.ndarray
    offset: np.ndarray

    @property
    def is_identity(self) -> bool:
        """Whether it does nothing."""
        return bool((self.factor == 1).all() and (self.offset == 0).all())

    def means(self, candidate: InputRange) -> bool:
        """Whether it takes images in this range to [0, 1] or [-1, 1], or to what published weights were trained on."""
        low, high = (
            (np.asarray(candidate.offset) + end * np.asarray(candidate.factor)) * self.factor + self.offset
            for end in (0, 1)
        )
        ends = [(0, 1), (-1, 1)]
        ends += [(-mean / std, (1 - mean) / std) for mean, std in _published() if len(self.factor) == len(mean)]
        return any(np.allclose(low, least, atol=0.01) and np.allclose(high, most, atol=0.01) for least, most in ends)


def _published() -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and deviation of each channel that published weights were trained with, for pixels in [0, 1]."""
    known = {(each.preprocessing.mean, each.preprocessing.std) for each in catalog.CHECKPOINTS}
    return [(np.asarray(mean), np.asarray(std)) for mean, std in known]


def preprocessing(graph: Graph, name: str) -> Preprocessing:
    """What the graph does to one of its inputs before anything else; layers that only move values are passed over.

    Args:
        graph: as it was read, in which constants are not yet folded.
    """
    readers = graph.consumers()
    factor, offset = np.ones(1), np.zeros(1)
    while len(readers[name]) == 1:
        (reader,) = readers[name]
        if len(reader.inputs) > 1:
            break
        if reader.kind == "multiply" and "factor" in reader.weights:
            constant = _by_channel(reader.weights["factor"])
            factor, offset = factor * constant, offset * constant
        elif reader.kind == "add" and "term" in reader.weights:
            offset = offset + _by_channel(reader.weights["term"])
        elif reader.kind not in ("pad", "transpose"):
            break
        name = reader.name
    return Preprocessing(factor, offset)


def _by_channel(constant: np.ndarray) -> np.ndarray:
    return constant.reshape(-1).astype(np.float64)


def derived_range(graph: Graph, name: str, dtype: str = "float32") -> InputRange | None:
    """The range that an input of bytes has, or a Rescaling at it is made for; None where that fits none or several."""
    if dtype == "uint8":
        return InputRange.between(0, 255)
    first = preprocessing(graph, name)
    candidates = [InputRange.between(*limits) for limits in ((0, 1), (-1, 1), (0, 255))]
    fitting = [each for each in candidates if first.means(each)]
    return fitting[0] if len(fitting) == 1 and not first.is_identity else None


def range_of_photos(
    graph: Graph, pixels: np.ndarray, model: str, default: InputRange | None = None, dtype: str = "float32"
) -> InputRange:
    """The range of a model's input, from all that its graph and photos tell.

    A Rescaling at the input is made for one range. A Normalization gives photos of its range a mean of about 0 and a
    deviation of about 1; the first batch normalization recorded what the training data gave before it; and the first
    kernel gives neither next to nothing nor thousands. What is left after that is not guessed.

    Args:
        graph: of the model as it was read, with one image as its input.
        pixels: photos in [0, 1], (N, height, width, channels).
        model: what messages call it.
        default: what to take where several ranges are left and it is one of them.
        dtype: of the input.

    Raises:
        InputError: several ranges, or none, are left.
    """
    (name,) = graph.inputs
    if (told := derived_range(graph, name, dtype)) is not None:
        return told
    photos = pixels[:: -(-len(pixels) // SAMPLES)]
    texts = COLOUR_RANGES if pixels.shape[-1] == 3 else GRAY_RANGES
    candidates = {text: InputRange.parse(text) for text in texts}
    first = preprocessing(graph, name)
    if not first.is_identity:
        candidates = {text: each for text, each in candidates.items() if _normalizes(first, each.scale(photos))}
    if len(candidates) > 1:
        candidates = _by_response(graph, candidates, photos)
    if len(candidates) == 1:
        return next(iter(candidates.values()))
    if default is not None and (not candidates or default in candidates.values()):
        return default
    ranges = " or ".join(_spelled(text) for text in candidates) or "any range that is known"
    flags = " or ".join(f"--input-range={text}" for text in candidates or ("LOW,HIGH",))
    said = "nothing in the model tells whether it takes images in" if candidates else "its first layers do not fit"
    raise InputError(f"{model} has no recorded input range, and {said} {ranges}; give {flags}")


def _spelled(text: str) -> str:
    return text if text.isalpha() else f"[{text.replace(',', ', ')}]"


def _normalizes(first: Preprocessing, images: np.ndarray) -> bool:
    values = images * first.factor + first.offset
    axes = tuple(range(values.ndim - 1))
    mean, deviation = values.mean(axes), values.std(axes)
    return bool(
        (np.abs(mean) < NORMALIZED_MEAN).all()
        and (deviation < NORMALIZED_DEVIATION).all()
        and (deviation > 1 / NORMALIZED_DEVIATION).all()
    )


def _by_response(graph: Graph, candidates: Mapping[str, InputRange], photos: np.ndarray) -> dict[str, InputRange]:
    """Those for which the first batch normalization, or else the first kernel, sees what it should."""
    normalization = first_normalization(graph)
    kernel = next((each for each in graph.operations.values() if "kernel" in each.weights), None)
    if normalization is None and kernel is None:
        return dict(candidates)
    with Worker() as worker:
        if normalization is not None:
            fitting = {
                text: candidate
                for text, candidate in candidates.items()
                if normalization.fits(worker, [candidate.scale(photos)])
            }
        else:
            assert kernel is not None
            before = up_to(graph, kernel.name)
            fitting = {
                text: candidate
                for text, candidate in candidates.items()
                if LEAST_RESPONSE < _deviation(before, worker, candidate.scale(photos)) < GREATEST_RESPONSE
            }
    return fitting or dict(candidates)


def _deviation(graph: Graph, worker: Worker, images: np.ndarray) -> float:
    return float(worker.evaluate(graph, graph.outputs, [images])[0].std())


def check_scale(told: Mapping[str, InputRange | None], inputs: Sequence[np.ndarray], what: str) -> None:
    """Refuse images that are not in the range that a Rescaling at the model's input is made for.

    Args:
        told: what `derived_range` gives for each input, in their order.
        inputs: samples (N, …) for each input.
        what: how messages call them.

    Raises:
        InputError: they span next to nothing of it, or leave it.
    """
    for given, array in zip(told.values(), inputs, strict=True):
        if given is None or not is_image(array):
            continue
        low, high = given.limits
        least, greatest = float(array.min()), float(array.max())
        slack = SLACK * (high - low)
        if greatest - least < NARROW * (high - low) or least < low - slack or greatest > high + slack:
            raise InputError(
                f"the first layer of the model takes images in {low:g} to {high:g} and the {what} data reaches from "
                f"{least:.4g} to {greatest:.4g}; scale the data, or say with input_range= that this is right"
            )
