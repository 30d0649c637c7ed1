"""The metric that judges a model: chosen as Keras chooses its "accuracy", or the user's."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from export import InputError
from export.verification.metrics import Evaluation, ModelOutput, evaluation, model_outputs
from export.verification.parity import keras_outputs

RANDOM = np.random.default_rng(0)
COUNT = 40
IMAGES = RANDOM.random((COUNT, 6, 6, 2), np.float32)


def network(shape: tuple[int, ...], activation: str | None) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 2))
    if len(shape) == 1:
        return keras.Model(image, layers.Dense(shape[0], activation=activation, name="o")(layers.Flatten()(image)))
    return keras.Model(image, layers.Conv2D(shape[-1], 1, activation=activation, name="o")(image))


def outputs_of(model: keras.Model, images: np.ndarray = IMAGES) -> list[np.ndarray]:
    return keras_outputs(model, [images])


def judged(model: keras.Model, targets, metric=None) -> Evaluation:
    return evaluation([IMAGES], targets, metric, model_outputs(model, outputs_of(model)))


def rows(model: keras.Model, targets, metric=None, noise: float = 0.0) -> list[dict]:
    found = judged(model, targets, metric)
    before = found.observe(lambda batch: outputs_of(model, batch[0]))
    random = np.random.default_rng(1)
    after = found.observe(
        lambda batch: [
            each + random.normal(0, noise, each.shape) if noise else each for each in outputs_of(model, batch[0])
        ]
    )
    return found.compare(before, after)


def classes(*shape: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(2).integers(0, count, (COUNT, *shape))


KERAS = {
    "sparse, (N, 1)": ((3,), "softmax", classes(1)),
    "sparse logits": ((3,), None, classes(1)),
    "one-hot": ((3,), "softmax", np.eye(3)[classes()]),
    "one-hot and sigmoid": ((3,), "sigmoid", np.eye(3)[classes()]),
    "soft classes": ((3,), "softmax", RANDOM.dirichlet(np.ones(3), COUNT)),
    "binary": ((1,), "sigmoid", classes(1, count=2)),
    "binary, (N,)": ((1,), "sigmoid", classes(count=2)),
    "binary, bool": ((1,), "sigmoid", classes(1, count=2).astype(bool)),
    "masks": ((6, 6, 1), "sigmoid", classes(6, 6, 1, count=2)),
    "class maps": ((6, 6, 3), "softmax", classes(6, 6, 1)),
    "one-hot maps": ((6, 6, 3), "softmax", np.eye(3)[classes(6, 6)]),
}


@pytest.mark.parametrize("case", KERAS)
def test_accuracy_is_what_keras_evaluates(case: str) -> None:
    shape, activation, targets = KERAS[case]
    model = network(shape, activation)
    model.compile(loss="mse", metrics=["accuracy"])
    inputs = targets if targets.dtype != bool else targets.astype(int)
    if case == "sparse, (N, 1)":  # a loss that takes class numbers, as Keras's users have it
        model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    expected = model.evaluate(IMAGES, inputs, verbose=0)[1]
    first = rows(model, targets)[0]
    assert first["float"] == pytest.approx(expected, abs=1e-6)
    assert first["unit"] == "points"
    assert 0 < first["float"] < 1


def test_class_numbers_may_have_axes_of_size_one_or_lack_them() -> None:
    model = network((6, 6, 3), "softmax")
    with_axis, without = (rows(model, classes(6, 6).reshape(shape)) for shape in ((COUNT, 6, 6, 1), (COUNT, 6, 6)))
    assert with_axis == without
    assert [row["name"] for row in without] == ["sparse_categorical_accuracy", "mean_iou"]


def test_labels_of_which_a_sample_has_several_count_each_for_itself() -> None:
    model, labels = network((5,), "sigmoid"), classes(5, count=2)
    assert labels.sum(axis=1).max() > 1
    (row,) = rows(model, labels)
    assert row["name"] == "binary_accuracy"
    assert row["float"] == pytest.approx(((outputs_of(model)[0] > 0.5) == labels).mean())


def test_scores_around_zero_are_thresholded_there() -> None:
    model, labels = network((1,), None), classes(count=2)
    (row,) = rows(model, labels)
    assert row["float"] == pytest.approx(((outputs_of(model)[0][:, 0] > 0) == labels).mean())


@pytest.mark.parametrize(("shape", "activation"), [((6, 6, 3), "softmax"), ((6, 6, 1), "sigmoid")])
@pytest.mark.parametrize("one_hot", [False, True])
def test_mean_iou_is_keras_s(shape: tuple[int, int, int], activation: str, one_hot: bool) -> None:
    model, count = network(shape, activation), max(2, shape[-1])
    if one_hot and shape[-1] == 1:
        pytest.skip("a mask is one-hot already")
    wanted = classes(6, 6, count=count)
    outputs = outputs_of(model)[0]
    predicted = outputs.argmax(-1) if shape[-1] > 1 else outputs[..., 0] > 0.5
    metric = keras.metrics.MeanIoU(num_classes=count)
    metric.update_state(wanted, predicted.astype(int))
    row = rows(model, np.eye(count)[wanted] if one_hot else wanted)[1]
    assert row["name"] == "mean_iou"
    assert row["float"] == pytest.approx(float(metric.result()), abs=1e-6)


@pytest.mark.parametrize("shape", [(4,), (1,), (6, 6, 2)])
def test_regression_is_told_as_relative_error_and_r2(shape: tuple[int, int, int] | tuple[int]) -> None:
    model = network(shape, None)
    targets = (3 * outputs_of(model)[0] + RANDOM.normal(0, 1, (COUNT, *shape)) + 7).astype(np.float32)
    error, explained = rows(model, targets, noise=0.1)
    metric = keras.metrics.R2Score()
    metric.update_state(targets.reshape(-1, shape[-1]), outputs_of(model)[0].reshape(-1, shape[-1]))
    assert explained["name"] == "r2_score"
    assert explained["float"] == pytest.approx(float(metric.result()), rel=1e-4)
    assert error["float"] ** 2 == pytest.approx(1 - explained["float"])
    assert not error["higher_is_better"]
    assert error["drop"] == pytest.approx(100 * (error["file"] - error["float"]))
    assert error["low"] < error["drop"] < error["high"]
    assert [row["decides"] for row in (error, explained)] == [True, False]


def test_a_columns_scale_does_not_hide_another_one() -> None:
    targets = RANDOM.normal(0, 1, (COUNT, 2)) * [1000, 1] + [0, 500]
    output = ModelOutput("o", (2,))
    found = evaluation([IMAGES], targets, None, [output])
    blind = targets.copy()
    blind[:, 1] = targets[:, 1].mean()
    (error, explained) = found.compare(found.observe(lambda batch: [targets]), found.observe(lambda batch: [blind]))
    assert error["file"] == pytest.approx(np.sqrt(0.5))
    assert explained["file"] == pytest.approx(0.5)


def two_heads() -> tuple[keras.Model, np.ndarray, np.ndarray]:
    image = keras.Input((6, 6, 2))
    x = layers.Flatten()(image)
    heads = {"zebra": layers.Dense(3, activation="softmax")(x), "ant": layers.Dense(2)(x)}
    return keras.Model(image, heads), classes(), RANDOM.normal(0, 1, (COUNT, 2))


def test_targets_of_several_outputs_find_theirs_by_name() -> None:
    model, labels, boxes = two_heads()
    found = rows(model, {"zebra": labels, "ant": boxes})
    assert [(row["output"], row["name"]) for row in found] == [
        ("ant", "relative_rms_error"), ("ant", "r2_score"), ("zebra", "sparse_categorical_accuracy")
    ]  # fmt: skip
    assert found == rows(model, [boxes, labels])  # in the order of keras.tree.flatten
    assert found[2:] == rows(model, {"zebra": labels}) == rows(model, [None, labels])
    listed = keras.Model(model.inputs, [model.output["zebra"], model.output["ant"]])
    names = [row["output"] for row in rows(listed, [labels, boxes])]
    assert names == [listed.output_names[0], listed.output_names[1], listed.output_names[1]]
    (row,) = rows(model, {"zebra": labels}, {"zebra": "sparse_categorical_crossentropy"})
    assert (row["output"], row["higher_is_better"]) == ("zebra", False)


class Bias:
    """A metric as a callable with a direction."""

    higher_is_better = False

    def __call__(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        return float(np.abs((outputs - targets).mean()))


def test_a_metric_of_the_users() -> None:
    model, targets = network((4,), None), RANDOM.normal(0, 1, (COUNT, 4)).astype(np.float32)
    (row,) = rows(model, targets, keras.metrics.MeanAbsoluteError(name="mine"), noise=0.5)
    assert row["float"] == pytest.approx(np.abs(outputs_of(model)[0] - targets).mean(), rel=1e-5)
    assert (row["name"], row["unit"], row["higher_is_better"]) == ("mine", "", False)
    assert row["drop"] == pytest.approx(row["file"] - row["float"])
    assert row["low"] < row["drop"] < row["high"]
    assert rows(model, targets, "mean_absolute_error", noise=0.5)[0] == replace(row, name="mean_absolute_error")
    assert rows(model, targets, "r2_score")[0]["decides"]
    (row,) = rows(model, targets, Bias())
    assert row["name"] == "Bias"
    assert row["float"] == pytest.approx(abs((outputs_of(model)[0] - targets).mean()))
    assert (row["drop"], row["low"], row["high"]) == (0, None, None)  # nothing tells how far it may be off
    assert rows(model, targets, keras.losses.MeanSquaredError())[0]["higher_is_better"] is False
    assert rows(model, targets, keras.metrics.CosineSimilarity())[0]["higher_is_better"] is True


def test_keras_accuracies_by_name_have_the_closed_form() -> None:
    model, labels = network((3,), "softmax"), classes()
    (named,) = rows(model, labels, "sparse_categorical_accuracy", noise=0.3)
    (chosen,) = rows(model, labels, noise=0.3)
    assert named == chosen
    assert named["lost"] > 0


REFUSED = {
    "positions": ((6, 6, 3), classes(5, 6), None, r"shape \(N, 5, 6\) .* 'o' \(N, 6, 6, 3\); give \(N, 6, 6\) class n"),
    "columns": ((4,), RANDOM.random((COUNT, 3)), None, r"\(N, 3\) and the output 'o' \(N, 4\); give \(N,\) class num"),
    "length": ((3,), classes()[:7], None, "evaluation has 40 samples and 7 labels; give as many targets as samples"),
    "class": ((3,), classes(count=5), None, "reach from 0 to 4 and it has 3 classes; give class numbers from 0 to 2"),
    "fractions": ((3,), RANDOM.random(COUNT), None, "are no whole numbers and it has 3 classes"),
    "text": ((3,), np.array(["cat"] * COUNT), None, "are <U3 of shape .* give an array of numbers"),
    "ragged": ((3,), [[1, 2]] + [[1]] * 39, None, "are no array"),
    "infinite": ((3,), np.full((COUNT, 3), np.inf), None, "not finite"),
    "all alike": ((2,), np.full((COUNT, 2), 0.5), None, "are the same for all samples"),
    "two outputs": ((3,), [classes(), classes()], None, r"\(N, 40\) and the output|2 labels"),
    "output's name": ((3,), {"p": classes()}, None, "targets has 'p', and the model's outputs are o"),
    "no targets": ((3,), {}, None, "evaluation has no targets; give those of o"),
    "metric's name": (
        (3,),
        classes(),
        "acuracy",
        "metric 'acuracy' is not known; it takes accuracy, relative_rms_error",
    ),
    "metric class": ((3,), classes(), keras.metrics.AUC, r"is a class; give an instance of it: AUC\(\)"),
    "direction": ((3,), classes(), lambda a, b: 0.0, "nothing tells whether a high '<lambda>' is good"),
    "metric of output": ((3,), classes(), {"q": "accuracy"}, "metric has 'q', and the model's outputs are o"),
    "no metric": ((3,), classes(), 3, "metric is 3; it takes a keras.metrics.Metric"),
    "array": ((3,), np.eye(3)[classes()], keras.metrics.F1Score(), r"gives an array of shape \(3,\) where one number"),
    "fails": ((3,), classes(4), keras.metrics.MeanSquaredError(), r"fails on targets of shape \(40, 4\) and outputs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_fits_no_output_is_refused_in_one_line(case: str) -> None:
    shape, targets, metric, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as caught:
        rows(network(shape, None), targets, metric)
    assert "\n" not in str(caught.value)


def test_several_outputs_need_targets_that_say_which() -> None:
    model, labels, _ = two_heads()
    with pytest.raises(InputError, match=r"2 outputs and evaluation targets of one; give a dict .*\(ant, zebra\)"):
        rows(model, labels)


def test_few_samples_cannot_show_a_point() -> None:
    found = evaluation([IMAGES[:14]], classes()[:14], None, [ModelOutput("o", (3,))])
    scores = [np.eye(3)[classes()[:14]]]
    (row,) = found.compare(found.observe(lambda batch: scores), found.observe(lambda batch: scores))
    assert row["drop"] == 0
    assert row["low"] == -row["high"]
    assert row["high"] > 15
    assert (row["lost"], row["won"]) == (0, 0)
