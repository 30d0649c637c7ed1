"""Which metric judges which output, and what it says of the model and of a file of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from export.data.samples import Images, Inputs, batches
from export.errors import InputError
from export.record import Record
from export.verification.measures import (
    AUTOMATIC,
    Accuracy,
    Measure,
    binary_accuracy,
    categorical_accuracy,
    given,
    mean_iou,
    r2_score,
    relative_rms_error,
    sparse_categorical_accuracy,
)

Run = Callable[[Inputs], list[np.ndarray]]
R2 = "r2_score"
OF_CLASSES = ("sparse_categorical_accuracy", "categorical_accuracy")
"""Measures of outputs of which the greatest on the last axis counts: scores of classes."""
POINTS = 100.0


@dataclass(frozen=True)
class ModelOutput:
    """One output of a model.

    Attributes:
        name: as the user knows it: the key in a dict of outputs, else the layer's name.
        shape: without the batch axis.
        probabilities: whether its values are, between 0 and 1, or else scores around 0.
    """

    name: str
    shape: tuple[int, ...]
    probabilities: bool = False


@dataclass(frozen=True)
class Judgement:
    """One measure of one output.

    Attributes:
        output: its position among the model's outputs.
        targets: (N, …).
        decides: whether a file may be refused for it. R² beside the relative RMS error may not: it says the same.
    """

    output: int
    name: str
    measure: Measure
    targets: np.ndarray
    decides: bool = True


Value = float


@dataclass(frozen=True, eq=False)
class MetricRecord(Record):
    """What a metric says of the model and of the file.

    Attributes:
        output: the name of the model's output.
        name: of the metric.
        float, file: its values of model and file, on `samples` samples.
        decides: whether a file may be refused for it.
        unit: "points" for shares, or else "", which is the metric's own.
        drop: by how much the file is worse, in that unit.
        low, high: the paired 95 % interval of that; None where the samples do not tell it.
        lost, won: on how many samples only the model and only the file was right; None where a sample is more than
            one answer.
    """

    output: str
    name: str
    higher_is_better: bool
    float: Value
    file: Value
    samples: int
    decides: bool
    unit: Literal["points", ""]
    drop: Value
    low: Value | None
    high: Value | None
    lost: int | None = None
    won: int | None = None

    @property
    def is_accuracy(self) -> bool:
        """Whether it counts right answers."""
        return self.name.endswith("accuracy")


@dataclass(frozen=True, eq=False)
class AccuracyDrop(Record):
    """By how many percentage points accuracy fell; the rest as in `MetricRecord`."""

    points: float
    low: float | None
    high: float | None
    lost: int | None
    won: int | None


Observed = list[np.ndarray]
"""What each measure keeps of every sample, (N, …)."""


@dataclass(frozen=True)
class Evaluation:
    """Labelled samples and how outputs for them are judged.

    Attributes:
        inputs: (N, …) for each input of the model.
        judgements: the first one is the export's metric.
    """

    inputs: Sequence[Images]
    judgements: list[Judgement]

    def observe(self, run: Run) -> Observed:
        """What the measures need of outputs on all samples; `run` gives those for a batch of inputs.

        Raises:
            InputError: a metric of the user's cannot take them.
        """
        found: list[list[np.ndarray]] = [[] for _ in self.judgements]
        start = 0
        for batch in batches(self.inputs):
            outputs, stop = run(batch), start + len(batch[0])
            for judgement, collected in zip(self.judgements, found, strict=True):
                targets = judgement.targets[start:stop]
                collected.append(judgement.measure.observe(targets, outputs[judgement.output]))
            start = stop
        return [np.concatenate(collected) for collected in found]

    def accuracy(self, observed: Observed) -> float | None:
        """The first output's accuracy, in [0, 1]; None where that is not its metric."""
        first = self.judgements[0]
        return first.measure.value(first.targets, observed[0]) if isinstance(first.measure, Accuracy) else None

    def compare(self, before: Observed, after: Observed) -> list[MetricRecord]:
        """What got worse from the model to the file: a record for each judgement, the export's metric first."""
        return [_compared(*each) for each in zip(self.judgements, before, after, strict=True)]


def _compared(judgement: Judgement, before: np.ndarray, after: np.ndarray) -> MetricRecord:
    measure, targets = judgement.measure, judgement.targets
    of_model, of_file = (measure.value(targets, observed) for observed in (before, after))
    unit = POINTS if measure.in_points else 1.0
    interval = measure.interval(targets, before, after)
    low, high = (None, None) if interval is None else (unit * end for end in interval)
    one_answer = before.ndim == 1 and all(np.isin(observed, (0, 1)).all() for observed in (before, after))
    return MetricRecord(
        output=judgement.name,
        name=measure.name,
        higher_is_better=measure.higher_is_better,
        float=of_model,
        file=of_file,
        samples=len(targets),
        decides=judgement.decides,
        unit="points" if measure.in_points else "",
        drop=unit * (of_model - of_file) * (1 if measure.higher_is_better else -1),
        low=low,
        high=high,
        lost=int((before > after).sum()) if one_answer else None,
        won=int((after > before).sum()) if one_answer else None,
    )


def output_names(model: keras.Model) -> list[str]:
    """The outputs' names as the user knows them, in the order in which `keras.tree.flatten` has them."""
    if isinstance(model, keras.Sequential):
        return [model.layers[-1].name]
    structure = model.output
    if not isinstance(structure, Mapping):
        return list(model.output_names)
    return ["/".join(str(part) for part in path) for path, _ in keras.tree.flatten_with_path(structure)]


def model_outputs(model: keras.Model, outputs: Sequence[np.ndarray]) -> list[ModelOutput]:
    """The outputs of a Keras model.

    Args:
        outputs: the model's, (n, …) each, for some samples: they tell probabilities from scores.
    """
    return [
        ModelOutput(name, tuple(array.shape[1:]), bool(array.min() >= 0 and array.max() <= 1))
        for name, array in zip(output_names(model), outputs, strict=True)
    ]


def evaluation(inputs: Sequence[Images], targets: Any, metric: Any, outputs: Sequence[ModelOutput]) -> Evaluation:
    """How outputs are judged.

    Args:
        inputs: (N, …) for each input of the model.
        targets: (N, …) of the only output; of several a list or tuple of them, None where an output has none, or a
            dict by the outputs' names.
        metric: None or "accuracy" for what the shapes of outputs and targets say, else what `measures.given` takes,
            or a dict of either by the outputs' names.

    Raises:
        InputError: targets or metrics do not fit the outputs.
    """
    by_output = _by_output(targets, outputs)
    count = len(inputs[0])
    metrics = _metrics(metric, outputs)
    judgements = []
    for position, output in enumerate(outputs):
        if by_output[position] is None:
            continue
        array = _numbers(by_output[position], output.name)
        if len(array) != count:
            raise InputError(
                f"evaluation has {count} samples and {len(array)} labels{_of(output, outputs)}; give as many targets "
                "as samples"
            )
        wanted = metrics[position]
        measures = choose(output, array) if wanted is None or wanted in AUTOMATIC else [given(wanted)]
        for place, measure in enumerate(measures):
            decides = place == 0 or measure.name != R2
            judgements.append(Judgement(position, output.name, measure, array, decides))
    if not judgements:
        raise InputError(f"evaluation has no targets; give those of {' or '.join(output.name for output in outputs)}")
    return Evaluation(inputs, judgements)


def choose(output: ModelOutput, targets: np.ndarray) -> list[Measure]:
    """What Keras's "accuracy" stands for, or the errors of a regression; for images of classes mean IoU beside it.

    Unlike Keras's, several labels of a sample count each for itself, and numbers that are no classes are a regression.

    Args:
        targets: (N, …): class numbers, one-hot classes, zeros and ones for each output, or numbers to be near to. Axes
            of size one do not matter.

    Raises:
        InputError: their shape or their values fit no such thing.
    """
    axes, classes = output.shape[:-1], output.shape[-1] if output.shape else 1
    segmentation = len(_long(axes)) >= 2
    threshold = 0.5 if output.probabilities else 0.0
    given_axes = _long(targets.shape[1:])
    whole, integral = given_axes == _long(output.shape), bool((targets == np.round(targets)).all())
    if classes > 1 and not whole and given_axes == _long(axes):
        _check_classes(targets, integral, classes, output.name)
        found: list[Measure] = [sparse_categorical_accuracy(axes)]
        return [*found, mean_iou(classes, axes)] if segmentation else found
    if not whole:
        raise InputError(_misfit(output, targets))
    binary = bool(np.isin(targets, (0, 1)).all())
    if classes == 1 and binary:
        return [binary_accuracy(threshold), *([mean_iou(2, output.shape, threshold)] if segmentation else [])]
    if classes > 1 and _are_distributions(targets.reshape(len(targets), *output.shape), binary, output):
        found = [categorical_accuracy(axes)]
        return [*found, mean_iou(classes, axes, one_hot=True)] if segmentation else found
    if binary:
        return [binary_accuracy(threshold)]
    if np.all(targets == targets[:1]):
        raise InputError(
            f"the targets of {output.name!r} are the same for all samples, which tells nothing of a regression; give "
            "others, or a metric="
        )
    return [relative_rms_error(), r2_score()]


def _are_distributions(targets: np.ndarray, binary: bool, output: ModelOutput) -> bool:
    """Whether each row on the last axis is one class, or says how probable each one is, for outputs that say it too."""
    sums_to_one = bool(np.allclose(targets.sum(axis=-1), 1, atol=1e-3) and targets.min() >= 0)
    return sums_to_one and (binary or output.probabilities)


def _check_classes(targets: np.ndarray, integral: bool, classes: int, name: str) -> None:
    if not integral or targets.min() < 0 or targets.max() >= classes:
        kind = f"reach from {targets.min():g} to {targets.max():g}" if integral else "are no whole numbers"
        raise InputError(
            f"the targets of {name!r} {kind} and it has {classes} classes; give class numbers from 0 to {classes - 1}, "
            "or a metric= that knows what the others mean"
        )


def _long(shape: Sequence[int]) -> tuple[int, ...]:
    """The axes that are longer than one."""
    return tuple(size for size in shape if size != 1)


def _misfit(output: ModelOutput, targets: np.ndarray) -> str:
    shape = ("N", *output.shape)
    fitting = [_text(shape)]
    if output.shape and output.shape[-1] > 1:
        fitting.insert(0, f"{_text(shape[:-1])} class numbers")
    return (
        f"the targets have the shape {_text(('N', *targets.shape[1:]))} and the output {output.name!r} {_text(shape)}; "
        f"give {' or '.join(fitting)}, or a metric= that takes both"
    )


def _text(shape: Sequence[Any]) -> str:
    return f"({', '.join(str(size) for size in shape)}{',' if len(shape) == 1 else ''})"


def _of(output: ModelOutput, outputs: Sequence[ModelOutput]) -> str:
    return f" of {output.name!r}" if len(outputs) > 1 else ""


def _by_output(targets: Any, outputs: Sequence[ModelOutput]) -> list[Any]:
    names = [output.name for output in outputs]
    if isinstance(targets, Mapping):
        _check_names(targets, names, "targets")
        return [targets.get(name) for name in names]
    if len(outputs) == 1:
        one = isinstance(targets, tuple | list) and len(targets) == 1 and np.ndim(targets[0]) > 0
        return [targets[0] if one else targets]
    if isinstance(targets, tuple | list) and len(targets) == len(outputs):
        return list(targets)
    raise InputError(
        f"the model has {len(outputs)} outputs and evaluation targets of "
        f"{len(targets) if isinstance(targets, tuple | list) else 'one'}; give a dict of them by the outputs' names "
        f"({', '.join(names)}), or a list with None for those without"
    )


def _metrics(metric: Any, outputs: Sequence[ModelOutput]) -> list[Any]:
    if not isinstance(metric, Mapping):
        return [metric] * len(outputs)
    names = [output.name for output in outputs]
    _check_names(metric, names, "metric")
    return [metric.get(name) for name in names]


def _check_names(given_names: Mapping[str, Any], names: Sequence[str], what: str) -> None:
    if unknown := [name for name in given_names if name not in names]:
        raise InputError(f"{what} has {unknown[0]!r}, and the model's outputs are {', '.join(names)}; use their names")


def _numbers(targets: Any, name: str) -> np.ndarray:
    """Targets as an array of finite numbers with the samples as its first axis."""
    try:
        array = np.asarray(targets)
    except ValueError as error:  # rows of different lengths
        raise InputError(f"the targets of {name!r} are no array: {' '.join(str(error).split())[:120]}") from error
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise InputError(f"the targets of {name!r} are {array.dtype} of shape {array.shape}; give an array of numbers")
    if not np.isfinite(array).all():
        raise InputError(f"the targets of {name!r} have values that are not finite; remove those samples")
    return array
