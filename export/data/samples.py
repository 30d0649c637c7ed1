"""Inputs of a model, in memory or read as they are needed, and what makes them fit for calibration."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from export.errors import InputError
from keras_classics.datasets.parts import Part, Shape

Inputs = list[np.ndarray]
BATCH = 64


class Images(Protocol):
    """N samples that can be sliced: a NumPy array, or `PartImages`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> np.ndarray: ...


class PartImages:
    """The images of a dataset's part, decoded as they are sliced, in the model's own input range."""

    def __init__(self, part: Part, scale: Callable[[np.ndarray], np.ndarray], chosen: np.ndarray | None = None) -> None:
        """`chosen` are the positions in the part of those that are taken; all by default."""
        self._part, self._scale = part, scale
        self._chosen = np.arange(len(part)) if chosen is None else chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: slice, /) -> np.ndarray:
        return self._scale(self._part.images(self._chosen[index]))


class JoinedImages(PartImages):
    """The images of several parts, one after the other."""

    def __init__(self, *sources: PartImages) -> None:
        self._sources = sources

    def __len__(self) -> int:
        return sum(map(len, self._sources))

    def __getitem__(self, index: slice, /) -> np.ndarray:
        start, stop, _ = index.indices(len(self))
        found, before = [], 0
        for source in self._sources:
            found.append(source[max(start - before, 0) : max(stop - before, 0)])
            before += len(source)
        return np.concatenate(found)[:: index.step]


def as_inputs(value: Any, names: Sequence[str], shapes: Sequence[tuple[int | None, ...]], what: str) -> list[Images]:
    """`value` as one sequence of samples for each input of the model.

    Args:
        value: an array of samples (N, …) or `PartImages`, or a tuple, list or dict of them by input.
        names, shapes: of the model's inputs; shapes are without the batch axis.
        what: how messages call the value.

    Raises:
        InputError: the number of inputs, their shapes or their lengths disagree, or there is none.
    """
    if isinstance(value, Mapping):
        if missing := [name for name in names if name not in value]:
            raise InputError(f"{what} lacks the input {missing[0]!r}; the model's inputs are {', '.join(names)}")
        given = [value[name] for name in names]
    else:
        given = list(value) if isinstance(value, tuple | list) else [value]
    if len(given) != len(names):
        raise InputError(f"{what} has {len(given)} arrays and the model {len(names)} inputs: {', '.join(names)}")
    if any(isinstance(array, np.ndarray) and array.ndim == 0 for array in given):
        raise InputError(f"{what} holds single numbers; give arrays with the samples as their first axis")
    if len({len(array) for array in given}) != 1 or not len(given[0]):
        raise InputError(f"{what} needs the same number of samples, at least one, for every input")
    for array, name, shape in zip(given, names, shapes, strict=True):
        found = array[:1].shape[1:]
        fits = len(found) == len(shape) and all(b in (None, a) for a, b in zip(found, shape, strict=True))
        if not fits:
            order = "; move the channels to the last axis" if (*found[1:], *found[:1]) == tuple(shape) else ""
            raise InputError(f"{what} has samples of shape {found} and the input {name!r} takes {tuple(shape)}{order}")
    return given


def first(inputs: Sequence[Images], count: int) -> Inputs:
    """At most `count` samples, in memory."""
    return [np.asarray(images[:count], np.float32) for images in inputs]


def batches(inputs: Sequence[Images], size: int = BATCH) -> Iterator[Inputs]:
    """All samples, `size` at a time."""
    for start in range(0, len(inputs[0]), size):
        yield [np.asarray(images[start : start + size], np.float32) for images in inputs]


def balanced(classes: Sequence[Any], count: int) -> np.ndarray:
    """Positions of at most `count` samples, as many of each class as there are; always the same choice."""
    order = np.random.default_rng(0).permutation(len(classes))
    seen: Counter[Any] = Counter()
    ranks = np.zeros(len(classes), int)
    for position in order:
        ranks[position] = seen[classes[position]]
        seen[classes[position]] += 1
    return np.sort(order[np.argsort(ranks[order], kind="stable")][:count])


def digest(inputs: Inputs) -> str:
    """SHA-256 of the samples' values and shapes."""
    found = hashlib.sha256()
    for array in inputs:
        found.update(repr(array.shape).encode())
        found.update(np.ascontiguousarray(array, np.float32).tobytes())
    return found.hexdigest()


def sample_digests(inputs: Sequence[Images]) -> set[bytes]:
    """One digest for each sample, to find samples that occur in two sets."""
    return {
        hashlib.sha256(b"".join(np.ascontiguousarray(array[position]).tobytes() for array in batch)).digest()
        for batch in batches(inputs)
        for position in range(len(batch[0]))
    }


Limits = tuple[float, float]
InputRanges = Limits | Mapping[str, Limits] | None
"""(low, high) of the model's inputs, or by input of those where it is known; None where it is not."""


def limits_of(input_range: InputRanges, name: str) -> Limits | None:
    """(low, high) of one input; None where that is not known."""
    return input_range.get(name) if isinstance(input_range, Mapping) else input_range


def check_names(input_range: InputRanges, names: Sequence[str]) -> None:
    """Raise InputError where a range is given for an input that is not there."""
    for name in input_range if isinstance(input_range, Mapping) else ():
        if name not in names:
            raise InputError(f"input_range has {name!r}, and the model's inputs are {', '.join(names)}")


def check_calibration(inputs: Inputs, names: Sequence[str], input_range: InputRanges) -> None:
    """Refuse samples from which no useful ranges can come.

    Args:
        names: of the inputs.

    Raises:
        InputError: values are not finite, leave `input_range`, do not vary, or are noise where
            the input is an image (neighbouring pixels of photographs and drawings correlate).
    """
    for array, name in zip(inputs, names, strict=True):
        if not np.isfinite(array).all():
            raise InputError("the calibration data has values that are not finite; remove those samples")
        check_range(array, limits_of(input_range, name), "calibration")
        if array.size > 1 and np.ptp(array) == 0:
            raise InputError("the calibration data is constant; give representative samples of the model's input")
        if is_image(array) and _neighbour_correlation(array) < 0.1:
            raise InputError("the calibration images look like noise; give images such as the model will see")


def check_range(array: np.ndarray, input_range: Limits | None, what: str) -> None:
    """Raise InputError where values leave the model's input range by more than a thousandth of it."""
    if input_range is None:
        return
    low, high = input_range
    slack = 1e-3 * (high - low)
    if array.min() < low - slack or array.max() > high + slack:
        raise InputError(
            f"the {what} data reaches from {array.min():.4g} to {array.max():.4g} and the model's input range is "
            f"{low:g} to {high:g}; scale the data, or give the right --input-range"
        )


def is_image(array: np.ndarray) -> bool:
    """Whether samples, (N, …), have the shape of images."""
    return array.ndim == 4 and min(array.shape[1:3]) >= 8 and array.shape[3] in (1, 3, 4)


def _neighbour_correlation(images: np.ndarray) -> float:
    """Correlation between each pixel and the next one in its row and in its column."""
    centered = images - images.mean(axis=(1, 2), keepdims=True)
    variance = float((centered**2).mean()) or 1.0
    across = float((centered[:, :, :-1] * centered[:, :, 1:]).mean())
    down = float((centered[:, :-1] * centered[:, 1:]).mean())
    return (across + down) / 2 / variance


def smooth_images(shape: Shape, count: int = 32) -> np.ndarray:
    """Random clouds in [0, 1], (count, *shape), for weights that have seen no images: coarse noise, enlarged."""
    random = np.random.default_rng(0)
    height, width, channels = shape
    coarse = random.random((count, 5, 5, channels), np.float32)
    rows, columns = (np.linspace(0, 4, size) for size in (height, width))
    top, left = np.minimum(rows.astype(int), 3), np.minimum(columns.astype(int), 3)
    down, right = (rows - top)[:, None, None], (columns - left)[:, None]
    upper = coarse[:, top][:, :, left] * (1 - right) + coarse[:, top][:, :, left + 1] * right
    lower = coarse[:, top + 1][:, :, left] * (1 - right) + coarse[:, top + 1][:, :, left + 1] * right
    return (upper * (1 - down) + lower * down).astype(np.float32)


def blended(arrays: Sequence[np.ndarray], random: np.random.Generator) -> list[np.ndarray]:
    """Every other batch with each sample blended with another of it, where a float model says what to learn.

    (Zhang et al. 2018, "mixup": here a little data goes further so.)

    Args:
        arrays: a batch, (n, …) for each input of the model.
    """
    if random.random() < 0.5:
        return list(arrays)
    count = len(arrays[0])
    shares = random.uniform(0.5, 1, count).astype(np.float32)
    others = random.permutation(count)
    shaped = [shares.reshape(-1, *[1] * (array.ndim - 1)) for array in arrays]
    return [share * array + (1 - share) * array[others] for share, array in zip(shaped, arrays, strict=True)]
