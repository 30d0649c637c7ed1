"""How good outputs are against targets: accuracies, overlap of regions, errors of regression, or a user's metric."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np

from export.errors import InputError
from export.verification import intervals
from export.verification.intervals import Interval

MOST_VALUES_RESAMPLED = 2e8  # by a metric of the user's, which takes each resample whole
FEWEST_RESAMPLES, MOST_RESAMPLES = 50, 400
AUTOMATIC = ("accuracy", "acc")
"""Names that leave it to the targets which accuracy is meant."""
HIGHER_IS_BETTER = "higher_is_better"
# Those of Keras's metrics that are errors; its others grow with the quality.
ERRORS = (
    "MeanSquaredError", "RootMeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError",
    "MeanSquaredLogarithmicError", "LogCoshError", "KLDivergence", "Poisson", "BinaryCrossentropy",
    "CategoricalCrossentropy", "SparseCategoricalCrossentropy", "Hinge", "SquaredHinge", "CategoricalHinge",
    "FalsePositives", "FalseNegatives",
)  # fmt: skip


class Measure(Protocol):
    """One way to judge outputs.

    What it observes of each sample is kept, so that model and file can be compared sample by sample.

    Attributes:
        name: as Keras calls it, where Keras has it.
        higher_is_better: whether a good model's value is high.
        in_points: whether values are shares, of which differences are told in percentage points.
    """

    @property
    def name(self) -> str: ...

    @property
    def higher_is_better(self) -> bool: ...

    @property
    def in_points(self) -> bool: ...

    def observe(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """What it needs to know of each of n samples, (n, …), from (n, …) targets and outputs."""

    def value(self, targets: np.ndarray, observed: np.ndarray) -> float:
        """The measure over N samples."""

    def interval(self, targets: np.ndarray, before: np.ndarray, after: np.ndarray) -> Interval | None:
        """The 95 % interval of by how much the value got worse; None where it cannot be told."""


@dataclass(frozen=True)
class Accuracy:
    """The share of right answers; where a sample has several (pixels, labels), the mean of each sample's share.

    Attributes:
        right: (n, …) targets and outputs → for each answer whether it is right.
    """

    name: str
    right: Callable[[np.ndarray, np.ndarray], np.ndarray]
    higher_is_better: bool = True
    in_points: bool = True

    def observe(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """(n,): the share that is right of each sample."""
        return np.asarray(self.right(targets, outputs), np.float64).reshape(len(targets), -1).mean(axis=1)

    def value(self, targets: np.ndarray, observed: np.ndarray) -> float:
        """The mean."""
        return float(observed.mean())

    def interval(self, targets: np.ndarray, before: np.ndarray, after: np.ndarray) -> Interval | None:
        """In closed form."""
        if all(np.isin(observed, (0, 1)).all() for observed in (before, after)):
            return intervals.of_proportions(before == 1, after == 1)
        return intervals.of_means(before - after)


@dataclass(frozen=True)
class OfSums:
    """A measure that sums over samples determine.

    Attributes:
        terms: (n, …) targets and outputs → what is summed, (n, …).
        of: sums (R, …) of R sets of samples → R values.
    """

    name: str
    terms: Callable[[np.ndarray, np.ndarray], np.ndarray]
    of: Callable[[np.ndarray], np.ndarray]
    higher_is_better: bool = True
    in_points: bool = True

    def observe(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """(n, …): each sample's terms."""
        return self.terms(targets, outputs)

    def value(self, targets: np.ndarray, observed: np.ndarray) -> float:
        """Of all samples."""
        return float(self.of(observed.sum(axis=0)[None])[0])

    def interval(self, targets: np.ndarray, before: np.ndarray, after: np.ndarray) -> Interval | None:
        """By bootstrap; where both are alike on all samples, by the rule of three."""
        sign = 1 if self.higher_is_better else -1

        def drops(counts: np.ndarray) -> np.ndarray:
            values = [self.of(np.tensordot(counts, observed, axes=1)) for observed in (before, after)]
            return sign * (values[0] - values[1])

        found = intervals.by_bootstrap(len(before), drops)
        same = np.array_equal(before, after) and len(before) > 1
        return intervals.of_means(np.zeros(len(before))) if found is None and same else found


@dataclass(frozen=True)
class Given:
    """A metric of the user's, which takes all targets and outputs at once.

    Attributes:
        function: (N, …) targets and outputs → a number.
    """

    name: str
    function: Callable[[np.ndarray, np.ndarray], Any]
    higher_is_better: bool
    in_points: bool = False

    def observe(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """The outputs themselves."""
        return outputs

    def value(self, targets: np.ndarray, observed: np.ndarray) -> float:
        """What the function gives.

        Raises:
            InputError: it fails on these shapes, or gives something else than one number.
        """
        found = _called(self.name, self.function, targets, observed)
        if found.size != 1:
            raise InputError(
                f"metric {self.name!r} gives an array of shape {found.shape} where one number is needed; average it "
                '(of keras.metrics, average="macro")'
            )
        return float(found.reshape(()))

    def interval(self, targets: np.ndarray, before: np.ndarray, after: np.ndarray) -> Interval | None:
        """By bootstrap, with fewer resamples of many values."""
        sign = 1 if self.higher_is_better else -1
        resamples = int(np.clip(MOST_VALUES_RESAMPLED / before.size, FEWEST_RESAMPLES, MOST_RESAMPLES))

        def drop(counts: np.ndarray) -> float:
            chosen = np.repeat(np.arange(len(counts)), counts)
            try:
                values = [self.value(targets[chosen], observed[chosen]) for observed in (before, after)]
            except InputError:  # such as a resample of one class only
                return math.nan
            return sign * (values[0] - values[1])

        return intervals.by_bootstrap(len(before), lambda counts: np.array([drop(each) for each in counts]), resamples)


def sparse_categorical_accuracy(axes: tuple[int, ...], name: str = "sparse_categorical_accuracy") -> Accuracy:
    """Class numbers, of any shape with `axes` besides axes of size one, against scores (n, *axes, classes)."""

    def right(targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        return classes_of(outputs, axes) == _positions(targets, axes)

    return Accuracy(name, right)


def categorical_accuracy(axes: tuple[int, ...], name: str = "categorical_accuracy") -> Accuracy:
    """One-hot classes, or their probabilities, against scores; both (n, *axes, classes)."""

    def right(targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        return classes_of(outputs, axes) == classes_of(targets.reshape(outputs.shape), axes)

    return Accuracy(name, right)


def binary_accuracy(threshold: float) -> Accuracy:
    """Zeros and ones against scores above `threshold` or not, each for itself."""
    return Accuracy("binary_accuracy", lambda targets, outputs: _matched(targets, outputs) == (outputs > threshold))


def mean_iou(classes: int, axes: tuple[int, ...], threshold: float | None = None, one_hot: bool = False) -> OfSums:
    """Intersection over union of each class's positions, over all samples; the mean of those classes that occur.

    Args:
        classes: how many there are.
        axes: of the positions.
        threshold: of scores of one class against the rest; else outputs are scores of each class.
        one_hot: targets are, and not class numbers.
    """

    def terms(targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        found = classes_of(outputs, axes) if threshold is None else _positions(outputs > threshold, axes)
        wanted = classes_of(targets.reshape(outputs.shape), axes) if one_hot else _positions(targets, axes)
        found, wanted = (each.reshape(len(targets), -1).astype(np.int64) for each in (found, wanted))
        both = np.where(found == wanted, wanted, classes)
        return np.stack([_counts(both, classes), _counts(found, classes), _counts(wanted, classes)], axis=1)

    def of(sums: np.ndarray) -> np.ndarray:
        both, found, wanted = (sums[:, index].astype(np.float64) for index in range(3))
        union = found + wanted - both
        occurs = union > 0
        return np.where(occurs, both / np.maximum(union, 1), 0).sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)

    return OfSums("mean_iou", terms, of)


def relative_rms_error() -> OfSums:
    """RMS of the error over the standard deviation of the targets, the root of the mean square over columns.

    A column is one place on the last axis. R² is one minus its square.
    """
    return OfSums("relative_rms_error", _error_terms, lambda sums: np.sqrt(_unexplained(sums)), higher_is_better=False)


def r2_score() -> OfSums:
    """The share of the targets' variance that outputs explain: the mean over columns, as in `keras.metrics.R2Score`.

    Columns that do not vary are left out.
    """
    return OfSums("r2_score", _error_terms, lambda sums: 1 - _unexplained(sums))


def _error_terms(targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """(n, 4, columns): number, sum and sum of squares of the targets, and sum of squared errors."""
    columns = outputs.shape[-1] if outputs.ndim > 1 else 1
    found = outputs.reshape(len(outputs), -1, columns).astype(np.float64)
    wanted = targets.reshape(found.shape).astype(np.float64)
    count = np.full((len(found), columns), found.shape[1], np.float64)
    return np.stack([count, wanted.sum(1), np.square(wanted).sum(1), np.square(found - wanted).sum(1)], axis=1)


def _unexplained(sums: np.ndarray) -> np.ndarray:
    count, total, squares, error = (sums[:, index] for index in range(4))
    spread = squares - total**2 / np.maximum(count, 1)
    varies = spread > 1e-12 * np.maximum(squares, 1e-30)
    shares = np.where(varies, error / np.where(varies, spread, 1), 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return shares.sum(axis=1) / varies.sum(axis=1)


def classes_of(scores: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The class with the greatest score, (n, *axes)."""
    return _positions(scores.argmax(axis=-1), axes)


def _positions(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return values.reshape(len(values), *axes)


def _matched(targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    return targets.reshape(outputs.shape).astype(bool)


def _counts(classes: np.ndarray, number: int) -> np.ndarray:
    """(n, number): how often each of `number` classes occurs in each row of (n, positions)."""
    offsets = np.arange(len(classes))[:, None] * (number + 1)
    counted = np.bincount((classes + offsets).ravel(), minlength=len(classes) * (number + 1))
    return counted.reshape(len(classes), number + 1)[:, :number]


def given(metric: Any) -> Measure:
    """A measure of a `keras.metrics.Metric`, a loss, a name that `keras.metrics.get` knows, or a callable.

    Args:
        metric: a callable takes (targets, outputs), (N, …) each, and gives a number. One that is not Keras's, and a
            metric class of the user's, has an attribute `higher_is_better`.

    Raises:
        InputError: the name is not known, or nothing tells the direction.
    """
    if isinstance(metric, str):
        metric = OWN[metric]() if metric in OWN else _named(metric)
    if isinstance(metric, OfSums):
        return metric
    if isinstance(metric, type):
        raise InputError(f"metric {metric.__name__} is a class; give an instance of it: {metric.__name__}()")
    if not callable(metric):
        raise InputError(
            f"metric is {metric!r}; it takes a keras.metrics.Metric, its name, a callable (targets, outputs) -> float, "
            "or a dict of them by output"
        )
    name = str(getattr(metric, "name", None) or getattr(metric, "__name__", None) or type(metric).__name__)
    if type(metric) in _ANSWERS:
        answers = _ANSWERS[type(metric)](metric.get_config())
        return Accuracy(name, functools.partial(_called, name, answers))
    function = metric
    if isinstance(metric, keras.metrics.Metric):

        def function(targets: np.ndarray, outputs: np.ndarray) -> Any:
            metric.reset_state()
            metric.update_state(targets, outputs)
            return metric.result()

    return Given(name, function, _direction(metric, name))


def check_name(metric: str) -> None:
    """Raise InputError where a metric's name is not known."""
    if metric not in AUTOMATIC:
        given(metric)


def _called(name: str, function: Callable[..., Any], targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """What somebody else's metric gives; raises InputError where it fails."""
    try:
        return np.asarray(keras.ops.convert_to_numpy(function(targets, outputs)))
    except Exception as error:
        raise InputError(
            f"metric {name!r} fails on targets of shape {targets.shape} and outputs of shape {outputs.shape}: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error


def _named(name: str) -> Any:
    try:
        found = keras.metrics.get(name)
    except ValueError as error:
        raise InputError(
            f"metric {name!r} is not known; it takes accuracy, {', '.join(OWN)}, or a name of keras.metrics"
        ) from error
    if isinstance(found, keras.metrics.Metric):
        return found
    try:  # a function that gives a value for each sample; its class gives their mean
        return getattr(keras.metrics, "".join(word.capitalize() for word in name.split("_")))()
    except (AttributeError, TypeError):
        raise InputError(f"metric {name!r} of keras.metrics needs arguments; give one from Python") from None


def _direction(metric: Any, name: str) -> bool:
    told = getattr(metric, HIGHER_IS_BETTER, None)
    if told is not None:
        return bool(told)
    if isinstance(metric, keras.losses.Loss):
        return False
    if isinstance(metric, keras.metrics.Metric) and hasattr(keras.metrics, type(metric).__name__):
        return type(metric).__name__ not in ERRORS
    raise InputError(
        f"nothing tells whether a high {name!r} is good; set its attribute higher_is_better to True or False"
    )


def _top(function: Callable[..., Any]) -> Callable[[dict[str, Any]], Callable[..., Any]]:
    return lambda settings: lambda targets, outputs: function(targets, outputs, k=settings["k"])


# Keras's accuracies as functions that give a value for each answer, by what the metric's configuration says.
_ANSWERS: dict[type, Callable[[dict[str, Any]], Callable[..., Any]]] = {
    keras.metrics.SparseCategoricalAccuracy: lambda settings: keras.metrics.sparse_categorical_accuracy,
    keras.metrics.CategoricalAccuracy: lambda settings: keras.metrics.categorical_accuracy,
    keras.metrics.TopKCategoricalAccuracy: _top(keras.metrics.top_k_categorical_accuracy),
    keras.metrics.SparseTopKCategoricalAccuracy: _top(keras.metrics.sparse_top_k_categorical_accuracy),
    keras.metrics.BinaryAccuracy: lambda settings: (
        lambda targets, outputs: keras.metrics.binary_accuracy(targets, outputs, settings["threshold"])
    ),
}
OWN: dict[str, Callable[[], OfSums]] = {"relative_rms_error": relative_rms_error, "r2_score": r2_score}
