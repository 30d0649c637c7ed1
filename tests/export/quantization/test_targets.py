"""Which loss goes with an output and its targets, and what is refused before anything is trained."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from export import FineTuning, InputError
from export.frontend.read import read_graph
from export.ir.graph import Graph
from export.quantization.targets import Objective

COUNT = 8
NUMBERS = np.arange(COUNT) % 3
ONE_HOT = np.eye(3)[NUMBERS]


def graph_of(*heads: Any, shape: tuple[int, ...] = (4,)) -> Graph:
    """A graph with these layers, each on the input, as outputs."""
    inputs = layers.Input(shape, name="values")
    return read_graph(keras.Model(inputs, [head(inputs) for head in heads]))


def dense(units: int, activation: str = "linear", name: str = "head") -> Any:
    return layers.Dense(units, activation=activation, name=name)


def conv(channels: int, activation: str) -> Any:
    return layers.Conv2D(channels, 1, activation=activation, name="head")


MASKS = (np.random.default_rng(0).random((COUNT, 6, 6, 1)) > 0.5).astype(np.float32)
CLASS_MAPS = np.random.default_rng(0).integers(0, 3, (COUNT, 6, 6))
MOVED = keras.Sequential([layers.Dense(3, activation="softmax"), layers.Reshape((3,))], name="head")


@pytest.mark.parametrize(
    ("head", "shape", "targets", "expected", "from_logits", "dtype"),
    [
        (dense(3, "softmax"), (4,), NUMBERS, "SparseCategoricalCrossentropy", False, np.int64),
        (dense(3, "softmax"), (4,), NUMBERS[:, None], "SparseCategoricalCrossentropy", False, np.int64),
        (dense(3, "softmax"), (4,), NUMBERS.astype(np.float32), "SparseCategoricalCrossentropy", False, np.int64),
        (dense(3, "softmax"), (4,), ONE_HOT, "CategoricalCrossentropy", False, np.float32),
        (dense(3), (4,), NUMBERS, "SparseCategoricalCrossentropy", True, np.int64),
        (dense(3), (4,), ONE_HOT.astype(int), "CategoricalCrossentropy", True, np.float32),
        (dense(3), (4,), ONE_HOT * 0.7, "MeanSquaredError", None, np.float32),
        (dense(1), (4,), NUMBERS, "MeanSquaredError", None, np.float32),
        (dense(1), (4,), NUMBERS / 2, "MeanSquaredError", None, np.float32),
        (dense(1, "sigmoid"), (4,), NUMBERS > 1, "BinaryCrossentropy", False, np.float32),
        (dense(3, "sigmoid"), (4,), ONE_HOT.astype(int), "BinaryCrossentropy", False, np.float32),
        (dense(3, "tanh"), (4,), ONE_HOT - 0.5, "MeanSquaredError", None, np.float32),
        (conv(1, "sigmoid"), (6, 6, 2), MASKS, "BinaryCrossentropy", False, np.float32),
        (conv(1, "sigmoid"), (6, 6, 2), MASKS[..., 0], "BinaryCrossentropy", False, np.float32),
        (conv(3, "softmax"), (6, 6, 2), CLASS_MAPS, "SparseCategoricalCrossentropy", False, np.int64),
        (conv(3, "linear"), (6, 6, 2), CLASS_MAPS[..., None], "SparseCategoricalCrossentropy", True, np.int64),
    ],
)
def test_the_loss_is_what_keras_users_take(
    head: Any, shape: tuple[int, ...], targets: np.ndarray, expected: str, from_logits: bool | None, dtype: type
) -> None:
    graph = graph_of(head, shape=shape)
    objective = Objective.chosen(graph, targets, None)
    (loss,) = objective.losses
    assert (loss.name, loss.config.get("from_logits")) == (expected, from_logits)
    (fitted,) = objective.fitted(targets, COUNT)
    output = graph.operations[graph.outputs[0]].shape
    assert fitted.dtype == dtype
    assert fitted.shape == (COUNT, *(output[:-1] if dtype is np.int64 else output))
    np.testing.assert_array_equal(fitted.ravel(), targets.ravel().astype(dtype))


def test_probabilities_that_were_moved_are_not_taken_for_logits() -> None:
    (loss,) = Objective.chosen(graph_of(MOVED), NUMBERS, "sparse_categorical_crossentropy").losses
    assert loss.config["from_logits"] is False
    (loss,) = Objective.chosen(graph_of(dense(3, "hard_sigmoid")), ONE_HOT, "binary_crossentropy").losses
    assert loss.config["from_logits"] is False
    (loss,) = Objective.chosen(graph_of(dense(3)), ONE_HOT, "binary_crossentropy").losses
    assert loss.config["from_logits"] is True


def two() -> Graph:
    return graph_of(dense(3, "softmax", "kind"), dense(1, name="size"))


@pytest.mark.parametrize(
    ("targets", "loss", "expected"),
    [
        ([NUMBERS, NUMBERS / 2], None, [(0, "SparseCategoricalCrossentropy"), (1, "MeanSquaredError")]),
        ({"size": NUMBERS / 2, "kind": ONE_HOT}, None, [(0, "CategoricalCrossentropy"), (1, "MeanSquaredError")]),
        ({"size": NUMBERS / 2}, "mae", [(1, "MeanAbsoluteError")]),
        ((None, NUMBERS / 2), None, [(1, "MeanSquaredError")]),
        ((ONE_HOT, NUMBERS), {"size": "huber"}, [(0, "CategoricalCrossentropy"), (1, "Huber")]),
        ((NUMBERS, NUMBERS), [None, "LogCosh"], [(0, "SparseCategoricalCrossentropy"), (1, "LogCosh")]),
    ],
)
def test_outputs_have_losses_of_their_own(targets: Any, loss: Any, expected: list[tuple[int, str]]) -> None:
    found = Objective.chosen(two(), targets, loss)
    assert [(each.output, each.name) for each in found.losses] == expected
    assert len(found.fitted(targets, COUNT)) == len(expected)


class Mine(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_true - y_pred


@pytest.mark.parametrize(
    ("head", "targets", "loss", "message"),
    [
        (dense(3, "softmax"), np.array([0, 1, 3]), None, "reach from 0 to 3 and it has 3 classes; give numbers from 0"),
        (dense(3, "softmax"), np.array([0, 1, -1]), None, "reach from -1 to 1"),
        (dense(3, "softmax"), np.array([0, 1, 0.5]), None, "not whole numbers"),
        (dense(3, "softmax"), np.zeros((3, 5)), None, r"have the shape \(3, 5\) and its loss .* takes \(3,\)"),
        (dense(1, "sigmoid"), np.zeros((3, 2)), None, r"have the shape \(3, 2\) and its loss .* takes \(3, 1\)"),
        (dense(2), np.zeros((3, 1)), "mse", r"takes \(3, 2\)"),
        (dense(2), np.zeros((3, 2)), "msee", "unknown loss 'msee'; did you mean mse"),
        (dense(2), np.zeros((3, 2)), keras.losses.CTC(), "unknown loss 'CTC'"),
        (dense(2), np.zeros((3, 2)), Mine(), "cannot be handed to the process that trains; give a name such as 'mse'"),
        (dense(2), np.zeros((3, 2)), lambda t, y: t - y, "'module:function' of a function of"),
        (dense(2), np.zeros((3, 2)), {"heads": "mse"}, "unknown output 'heads'; did you mean head"),
        (dense(2), [np.zeros((3, 2))] * 2, None, "the targets are for 2 and the model has 1 outputs: head"),
        (dense(2), np.zeros((3, 2)), ["mse", "mae"], "the losses are for 2 and the model has 1"),
        (dense(2), np.zeros((3, 2)), keras.losses.MeanSquaredError(reduction="none"), "no reduction='none'"),
        (dense(2), {}, None, "training has no targets for any output"),
    ],
)
def test_what_does_not_go_together_is_one_line(head: Any, targets: Any, loss: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Objective.chosen(graph_of(head), targets, loss).fitted(targets, 3)
    assert "\n" not in str(caught.value)


def test_weights_are_by_sample_or_by_position() -> None:
    objective = Objective.chosen(graph_of(conv(1, "sigmoid"), shape=(6, 6, 2)), MASKS, None)
    for shape in ((COUNT,), (COUNT, 6, 6)):
        assert [each.shape for each in objective.weights(np.ones(shape), COUNT)] == [shape]
    assert objective.weights(None, COUNT) == []
    with pytest.raises(InputError, match=r"have the shape \(8, 2\); give \(8,\) or \(8, 6, 6\)"):
        objective.weights(np.ones((COUNT, 2)), COUNT)
    with pytest.raises(InputError, match="takes no sample weights"):
        Objective.chosen(graph_of(dense(1, "sigmoid")), NUMBERS > 0, "dice").weights(np.ones(COUNT), COUNT)
    several = Objective.chosen(two(), (NUMBERS, NUMBERS / 2), None).weights({"size": np.arange(COUNT)}, COUNT)
    np.testing.assert_array_equal(several, [np.ones(COUNT), np.arange(COUNT)])


VALUES = np.random.default_rng(0).random((COUNT, 4), np.float32)


@pytest.mark.parametrize(
    ("inputs", "targets", "options", "message"),
    [
        (VALUES, NUMBERS[:5], {}, "of the same number of samples, one at least; they are of 8, 5"),
        (VALUES, NUMBERS, {"sample_weight": np.ones(3)}, "they are of 8, 8, 3"),
        (VALUES[:0], NUMBERS[:0], {}, "they are of 0, 0"),
        (VALUES, [0, 1, 2, 0, 1, 2, 0, 1], {}, "takes arrays"),
        (VALUES, NUMBERS, {"distill": True, "loss": "mse"}, "leave loss out"),
    ],
)
def test_arrays_that_do_not_go_together(inputs: Any, targets: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FineTuning.on_arrays(inputs, targets, **options)


def test_batches_are_checked_one_by_one() -> None:
    graph = graph_of(dense(3, "softmax"))
    good, wrong = (VALUES, NUMBERS), (VALUES, NUMBERS + 1)
    losses, batches = FineTuning(lambda epoch: [good, wrong], 2, epochs=1).prepared(graph)
    assert [loss.name for loss in losses] == ["SparseCategoricalCrossentropy"]
    np.testing.assert_array_equal(next(batches).targets[0], NUMBERS)
    with pytest.raises(InputError, match="reach from 1 to 3"):
        next(batches)
    with pytest.raises(InputError, match=r"a training batch has samples of shape \(3,\) and the input 'values' takes"):
        FineTuning(lambda epoch: [(VALUES[:, :3], NUMBERS)], 1).prepared(graph)
    with pytest.raises(InputError, match="training has no batches"):
        FineTuning(lambda epoch: [], 1).prepared(graph)
    by_name = FineTuning.on_arrays({"values": VALUES}, {"head": NUMBERS}, sample_weight=NUMBERS + 1.0, epochs=1)
    batch = next(by_name.prepared(graph)[1])
    np.testing.assert_array_equal(batch.weights[0], batch.targets[0] + 1)
