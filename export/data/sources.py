"""Data as people hold it: arrays, datasets and loaders of other libraries, generators; read into arrays by input."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from export.data.samples import Images, PartImages, as_inputs
from export.errors import InputError

MOST_CALIBRATION_SAMPLES = 500  # ranges and tuning gain nothing from more
MOST_EVALUATION_SAMPLES = 10_000

Shapes = Sequence[tuple[int | None, ...]]


@dataclass(frozen=True)
class Samples:
    """The first samples of data that has more of them than are wanted, or no end.

    Attributes:
        source: what `export_tflite` takes as calibration or evaluation: a `tf.data.Dataset`, a grain dataset or loader,
            a torch `DataLoader`, a `keras.utils.PyDataset`, a generator or a function that returns one, or arrays.
        count: how many are taken at most.
    """

    source: Any
    count: int


def read(
    source: Any, names: Sequence[str], shapes: Shapes, what: str, most: int, pairs: bool = False
) -> tuple[list[Images], Any]:
    """Samples for each input of a model, and the targets that come with them.

    Elements of datasets, loaders and generators are a sample or a batch of them: an array, a tuple or list of arrays by
    input, a dict by the inputs' names, or a tuple of one of these and targets. No more than `most` samples of these are
    taken. Arrays in memory are taken whole.

    Args:
        names, shapes: of the model's inputs, shapes without the batch axis.
        what: how messages call the data.
        pairs: whether targets are needed. A tuple is then (inputs, targets), otherwise arrays by input.

    Returns:
        (N, …) for each input, and the targets, or None where there are none.

    Raises:
        InputError: nothing there can be read, or it does not fit the inputs.
    """
    if isinstance(source, Samples):
        inputs, targets = read(source.source, names, shapes, what, source.count, pairs)
        return [array[: source.count] for array in inputs], _first(targets, source.count)
    if pairs and isinstance(source, tuple | list) and len(source) == 2:
        inputs, own = read(source[0], names, shapes, what, most)
        return inputs, source[1] if own is None else own
    if not _streams(source):
        if pairs:
            raise InputError(f"{what} is {type(source).__name__}; give (samples, targets), or a dataset of such pairs")
        return as_inputs(_in_memory(source, what), names, shapes, what), None
    collected, targets = _collected(_elements(source, what), names, shapes, what, most)
    if pairs and targets is None:
        raise InputError(f"{what} gives samples without targets; let each element be a tuple (samples, targets)")
    return as_inputs(collected, names, shapes, what), targets


def _streams(source: Any) -> bool:
    """Whether samples come one after the other."""
    if isinstance(source, keras.utils.PyDataset):
        return True
    if isinstance(source, Mapping | PartImages | tuple | list | str | bytes) or hasattr(source, "__array__"):
        return False
    return callable(source) or isinstance(source, Iterable) or hasattr(source, "__getitem__")


def _elements(source: Any, what: str) -> Iterator[Any]:
    """The elements, one after the other, whoever makes them."""
    try:
        if isinstance(source, keras.utils.PyDataset):
            numbers = itertools.count() if source.num_batches is None else range(source.num_batches)
            yield from (source[number] for number in numbers)
        else:
            made = source if isinstance(source, Iterable) or hasattr(source, "__getitem__") else source()
            yield from made
    except InputError:
        raise
    except Exception as error:  # it is somebody else's code
        raise InputError(
            f"{what} fails while it is read: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        ) from error


def _collected(
    elements: Iterator[Any], names: Sequence[str], shapes: Shapes, what: str, most: int
) -> tuple[list[np.ndarray], Any]:
    """At most `most` samples by input, and their targets."""
    collected: list[list[np.ndarray]] = []
    targets: list[Any] = []
    count = 0
    for element in elements:
        arrays, target = _parted(element, names, what)
        batched = _are_batches(arrays, names, shapes, what)
        collected.append(arrays if batched else [array[None] for array in arrays])
        if target is not None:
            targets.append(_each(lambda leaf, whole=batched: leaf if whole else leaf[None], _in_arrays(target, what)))
        count += len(collected[-1][0])
        if count >= most:
            break
    if not count:
        raise InputError(f"{what} gives no samples; one that was read before must be made anew")
    inputs = [_joined(each, what)[:most] for each in zip(*collected, strict=True)]
    if not targets:
        return inputs, None
    return inputs, _first(_each(lambda *each: _joined(each, what), *targets), most)


def _are_batches(arrays: Sequence[np.ndarray], names: Sequence[str], shapes: Shapes, what: str) -> bool:
    """Whether the arrays hold several samples, along a first axis, or one."""
    more = {array.ndim - len(shape) for array, shape in zip(arrays, shapes, strict=True)}
    if len(more) == 1 and more <= {0, 1}:
        return more == {1}
    found = ", ".join(str(array.shape) for array in arrays)
    wanted = ", ".join(f"{name!r} {tuple(shape)}" for name, shape in zip(names, shapes, strict=True))
    raise InputError(
        f"{what} gives arrays of shape {found} and the model takes {wanted}; give such samples, or batches"
    )


def _joined(arrays: Sequence[np.ndarray], what: str) -> np.ndarray:
    try:
        return np.concatenate(arrays)
    except ValueError as error:
        raise InputError(f"{what} gives samples of different shapes; give all the same") from error


def _each(function: Callable[..., Any], *targets: Any) -> Any:
    """The function of arrays, or of each array of dicts or tuples of them."""
    first = targets[0]
    if isinstance(first, Mapping):
        return {name: _each(function, *[each[name] for each in targets]) for name in first}
    if isinstance(first, tuple):
        return tuple(_each(function, *each) for each in zip(*targets, strict=True))
    return function(*targets)


def _in_arrays(target: Any, what: str) -> Any:
    """Targets as an array; those of several outputs as a tuple or dict of them."""
    if isinstance(target, Mapping):
        return {name: _in_arrays(value, what) for name, value in target.items()}
    if isinstance(target, tuple) or (isinstance(target, list) and target and hasattr(target[0], "__array__")):
        return tuple(_in_arrays(value, what) for value in target)
    return _array(target, what)


def _parted(element: Any, names: Sequence[str], what: str) -> tuple[list[np.ndarray], Any]:
    """An element's arrays by input, and its targets."""
    if isinstance(element, tuple | list):
        inner = element[0] if element else None
        if isinstance(inner, Mapping | tuple) or (isinstance(inner, list) and len(names) > 1):
            return _parted(inner, names, what)[0], element[1] if len(element) > 1 else None
        if len(element) < len(names):
            raise InputError(
                f"{what} gives tuples of {len(element)} and the model has {len(names)} inputs: {', '.join(names)}"
            )
        beside = element[len(names) :]  # targets, and perhaps weights of the samples
        return [_array(each, what) for each in element[: len(names)]], beside[0] if beside else None
    if isinstance(element, Mapping):
        if missing := [name for name in names if name not in element]:
            raise InputError(
                f"{what} gives dicts of {', '.join(map(str, element))} and the model has the input {missing[0]!r}; "
                "name them alike, or give tuples (samples, targets)"
            )
        rest = {name: value for name, value in element.items() if name not in names}
        targets = next(iter(rest.values())) if len(rest) == 1 else rest
        return [_array(element[name], what) for name in names], targets if rest else None
    if len(names) > 1:
        raise InputError(f"{what} gives single arrays and the model has {len(names)} inputs: {', '.join(names)}")
    return [_array(element, what)], None


def _in_memory(source: Any, what: str) -> Any:
    """Arrays, and what can be made one, in the structure that they came in."""
    if isinstance(source, Mapping):
        return {name: _images(value, what) for name, value in source.items()}
    if isinstance(source, tuple | list) and source and np.ndim(source[0]) > 0 and not _is_rows(source):
        return [_images(value, what) for value in source]
    return _images(source, what)


def _is_rows(source: Sequence[Any]) -> bool:
    """Whether a list holds the samples of one input rather than an array for each input."""
    return isinstance(source, list) and not hasattr(source[0], "__array__") and not isinstance(source[0], PartImages)


def _images(value: Any, what: str) -> Images:
    return value if isinstance(value, PartImages) else _array(value, what)


def _array(value: Any, what: str) -> np.ndarray:
    """A NumPy array of numbers of one of any library, or of nested lists of numbers."""
    given: Callable[[], Any] | None = getattr(value, "detach", None)  # a torch tensor that gradients may hang on
    try:
        array = np.asarray(value if given is None else given().cpu())
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{what} has {type(value).__name__} that is no array: {' '.join(str(error).split())[:120]}; give arrays of "
            "one shape"
        ) from error
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise InputError(f"{what} has values of type {array.dtype}; give arrays of numbers")
    return array


def _first(targets: Any, count: int) -> Any:
    return None if targets is None else _each(lambda leaf: leaf[:count], targets)
