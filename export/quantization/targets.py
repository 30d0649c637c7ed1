"""What a training is to reach at each output: losses as Keras users write them, and targets that fit them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from export.errors import InputError
from export.ir.graph import Graph
from export.worker.protocol import Loss
from keras_classics.errors import unknown

CLASS_NUMBERS = "SparseCategoricalCrossentropy"
CROSS_ENTROPIES = (
    CLASS_NUMBERS,
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
)
OF_WHOLE_BATCHES = ("Dice", "Tversky")
CLASSES = {
    "sparse_categorical_crossentropy": CLASS_NUMBERS,
    "categorical_crossentropy": "CategoricalCrossentropy",
    "categorical_focal_crossentropy": "CategoricalFocalCrossentropy",
    "binary_crossentropy": "BinaryCrossentropy",
    "binary_focal_crossentropy": "BinaryFocalCrossentropy",
    "mean_squared_error": "MeanSquaredError",
    "mean_absolute_error": "MeanAbsoluteError",
    "mean_absolute_percentage_error": "MeanAbsolutePercentageError",
    "mean_squared_logarithmic_error": "MeanSquaredLogarithmicError",
    "huber": "Huber",
    "log_cosh": "LogCosh",
    "kl_divergence": "KLDivergence",
    "poisson": "Poisson",
    "cosine_similarity": "CosineSimilarity",
    "hinge": "Hinge",
    "squared_hinge": "SquaredHinge",
    "categorical_hinge": "CategoricalHinge",
    "dice": "Dice",
    "tversky": "Tversky",
}
"""The class of `keras.losses` behind the name of each of its functions."""
SHORT = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
    "logcosh": "log_cosh",
}
"""Keras's short names of the same."""
MOVES = ("reshape", "transpose")
"""Kinds of operations behind which an activation is still what the output holds."""
ENDS = ("activation", "multiply", "divide", "subtract", "minimum", "maximum")
"""Kinds in which activations such as a hard sigmoid end; what has been through them is taken as it is."""


@dataclass(frozen=True)
class Output:
    """One output of a model.

    Attributes:
        name: what the model's user calls it.
        shape: without the batch axis.
        activation: the function that its values come from, "softmax" or "sigmoid"; empty for others.
        logits: the values may be logits, of which a cross entropy takes the probabilities itself.
    """

    name: str
    shape: tuple[int, ...]
    activation: str
    logits: bool

    @classmethod
    def all_of(cls, graph: Graph) -> list[Output]:
        """Those of a graph, in order."""
        return [cls._of(graph, *pair) for pair in zip(graph.output_names, graph.outputs, strict=True)]

    @classmethod
    def _of(cls, graph: Graph, name: str, output: str) -> Output:
        operation = graph.operations[output]
        while operation.kind in MOVES:
            operation = graph.operations[operation.inputs[0]]
        activation = operation.function if operation.function in ("softmax", "sigmoid") else ""
        logits = not activation and operation.kind not in ENDS
        return cls(name, graph.operations[output].shape, activation, logits)


@dataclass(frozen=True)
class Objective:
    """What a training makes small, and how targets become what that takes."""

    outputs: list[Output]
    losses: list[Loss]

    @classmethod
    def chosen(cls, graph: Graph, targets: Any, given: Any) -> Objective:
        """The losses for targets such as these.

        Args:
            graph: what is trained.
            targets: of one batch, an array (n, …), or a tuple, list or dict of them by output. A dict, and None in a
                tuple or list, may leave outputs out.
            given: the loss, or a tuple, list or dict of them by output; None, also for single outputs, for the loss
                that goes with the output and its targets: see `FineTuning`.

        Raises:
            InputError: a loss is not known, or does not go with the output.
        """
        outputs = Output.all_of(graph)
        arrays = by_output(targets, outputs, "the targets")
        one = given is None or isinstance(given, str) or not isinstance(given, tuple | list | Mapping)
        wanted = [given] * len(outputs) if one else by_output(given, outputs, "the losses")
        losses = []
        for index, (output, array, loss) in enumerate(zip(outputs, arrays, wanted, strict=True)):
            if array is not None:
                chosen = _default(output, np.asarray(array)) if loss is None else _loss(loss, output)
                losses.append(replace(chosen, output=index))
        if not losses:
            raise InputError("training has no targets for any output; give some, or distill=True")
        return cls(outputs, losses)

    def fitted(self, targets: Any, count: int) -> list[np.ndarray]:
        """The targets of a batch of `count` samples as the losses take them; raises InputError where they do not."""
        arrays = by_output(targets, self.outputs, "the targets")
        return [self._fitted(loss, arrays[loss.output], count) for loss in self.losses]

    def weights(self, given: Any, count: int) -> list[np.ndarray]:
        """The sample weights of a batch, for each loss."""
        if given is None:
            return []
        one = not isinstance(given, tuple | list | Mapping)
        arrays = [given] * len(self.outputs) if one else by_output(given, self.outputs, "the sample weights")
        return [self._weight(self.outputs[loss.output], loss, arrays[loss.output], count) for loss in self.losses]

    def _fitted(self, loss: Loss, target: Any, count: int) -> np.ndarray:
        output = self.outputs[loss.output]
        if target is None:
            raise InputError(f"a batch has no targets for output {output.name!r}, and the first one has; give them all")
        array, numbers = np.asarray(target), loss.name == CLASS_NUMBERS
        wanted = (count, *(output.shape[:-1] if numbers else output.shape))
        if array.shape == (*wanted, 1):
            array = array[..., 0]
        elif (*array.shape, 1) == wanted:
            array = array[..., None]
        if array.shape != wanted:
            raise InputError(
                f"the targets of output {output.name!r} have the shape {np.shape(target)} and its loss {loss.name} "
                f"takes {wanted}; give them so, or another loss"
            )
        return _class_numbers(array, output, loss) if numbers else array.astype(np.float32)

    def _weight(self, output: Output, loss: Loss, given: Any, count: int) -> np.ndarray:
        if loss.name in OF_WHOLE_BATCHES:
            raise InputError(f"the loss {loss.name} is of a whole batch and takes no sample weights; leave them out")
        array = np.ones(count, np.float32) if given is None else np.asarray(given, np.float32)
        allowed = {(count,), (count, *output.shape[:-1])}
        if array.shape not in allowed:
            shapes = " or ".join(str(shape) for shape in sorted(allowed, key=len))
            raise InputError(f"the weights of output {output.name!r} have the shape {array.shape}; give {shapes}")
        return array


def _class_numbers(array: np.ndarray, output: Output, loss: Loss) -> np.ndarray:
    classes, ignored = output.shape[-1], loss.config.get("ignore_class")
    numbers = array.astype(np.int64)
    if not np.array_equal(numbers, array):
        raise InputError(f"the targets of output {output.name!r} are not whole numbers, as those of classes are")
    counted = numbers if ignored is None else numbers[numbers != ignored]
    if counted.size and (counted.min() < 0 or counted.max() >= classes):
        raise InputError(
            f"the targets of output {output.name!r} reach from {counted.min()} to {counted.max()} and it has {classes} "
            f"classes; give numbers from 0 to {classes - 1}"
        )
    return numbers


def by_output(given: Any, outputs: Sequence[Output], what: str) -> list[Any]:
    """What a user gave, for each output: an array or a loss for the only one, or a tuple, list or dict of them.

    Raises:
        InputError: there are more or fewer than outputs, or a name that none has.
    """
    names = [output.name for output in outputs]
    if isinstance(given, Mapping):
        for name in given:
            if name not in names:
                raise unknown("output", str(name), names)
        return [given.get(name) for name in names]
    several = list(given) if isinstance(given, tuple | list) else [given]
    if len(several) != len(names):
        raise InputError(
            f"{what} are for {len(several)} and the model has {len(names)} outputs: {', '.join(names)}; "
            "give a tuple or list with one for each, or a dict by their names"
        )
    return several


def _default(output: Output, target: np.ndarray) -> Loss:
    """The loss that goes with an output and its targets."""
    shape = target.shape[1:]
    if output.activation == "sigmoid":
        return _of_keras("BinaryCrossentropy", {}, output)
    if output.activation == "softmax":
        return _of_keras("CategoricalCrossentropy" if shape == output.shape else CLASS_NUMBERS, {}, output)
    if output.shape and output.shape[-1] > 1:
        of_classes = shape in (output.shape[:-1], (*output.shape[:-1], 1))
        if of_classes and np.issubdtype(target.dtype, np.integer):
            return _of_keras(CLASS_NUMBERS, {"from_logits": True}, output)
        if shape == output.shape and _is_one_hot(target):
            return _of_keras("CategoricalCrossentropy", {"from_logits": True}, output)
    return _of_keras("MeanSquaredError", {}, output)


def _is_one_hot(target: np.ndarray) -> bool:
    return bool(np.isin(target, (0, 1)).all() and (target.sum(axis=-1) == 1).all())


def _loss(given: Any, output: Output) -> Loss:
    """The loss that a user named, for one output."""
    if isinstance(given, str) and ":" in given:
        return Loss(0, given, search_path=[folder for folder in sys.path if folder])
    if isinstance(given, keras.losses.Loss) and _is_keras(type(given)):
        # The config of Huber lacks its delta (Keras 3.15).
        return _of_keras(type(given).__name__, given.get_config() | getattr(given, "_fn_kwargs", {}), output)
    name = given.__name__ if callable(given) and _is_keras(given) else given
    if not isinstance(name, str):
        raise InputError(
            f"the loss {given!r} cannot be handed to the process that trains; give a name such as 'mse', a loss of "
            "keras.losses, or 'module:function' of a function of (targets, outputs) that is written in TensorFlow"
        )
    if name in CLASSES.values():
        return _of_keras(name, {}, output)
    name = SHORT.get(name.lower(), name)
    if name not in CLASSES:
        raise unknown("loss", name, [*CLASSES, *SHORT])
    return _of_keras(CLASSES[name], {}, output)


def _is_keras(thing: Any) -> bool:
    """Whether a class or function is Keras's own."""
    return (getattr(thing, "__module__", None) or "").partition(".")[0] == "keras"


def _of_keras(name: str, config: Mapping[str, Any], output: Output) -> Loss:
    if name not in CLASSES.values():
        raise unknown("loss", name, CLASSES.values())
    kept = {key: value for key, value in config.items() if key not in ("name", "dtype", "fn", "from_logits")}
    if kept.get("axis") == -1 or kept.get("axis") is None:
        kept.pop("axis", None)
    elif name in CROSS_ENTROPIES:
        raise InputError(f"the loss {name} is taken along the last axis here; leave axis={kept['axis']} out")
    allowed = ("sum_over_batch_size", "mean") if name in OF_WHOLE_BATCHES else ("sum_over_batch_size", "mean", "sum")
    reduction = kept.setdefault("reduction", "mean")
    if reduction not in allowed:
        raise InputError(f"the loss {name} takes no reduction={reduction!r} here, but {', '.join(map(repr, allowed))}")
    if name in CROSS_ENTROPIES:
        kept["from_logits"] = not output.activation and (output.logits or bool(config.get("from_logits")))
    return Loss(0, name, kept)
