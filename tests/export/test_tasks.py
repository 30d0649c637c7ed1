"""The gate tells the truth for every task: detection, segmentation, regression, several labels and several outputs."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from export import GateError, InputError, Worker, export_tflite
from export.tflite_file.interpreter import Interpreter

SIDE = 24


def photos(count: int, seed: int = 0) -> np.ndarray:
    """Cut-outs of a photograph in [0, 1]."""
    from skimage import data

    photo, random = data.astronaut().astype(np.float32) / 255, np.random.default_rng(seed)
    corners = random.integers(0, 512 - 4 * SIDE, (count, 2))
    return np.stack([photo[y : y + 4 * SIDE : 4, x : x + 4 * SIDE : 4] for y, x in corners])


CALIBRATION, TEST = photos(48), photos(40, seed=1)


def features(image: Any) -> Any:
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="first")(image)
    return layers.Conv2D(16, 3, strides=2, activation="relu", name="second")(x)


@pytest.fixture
def head() -> keras.Model:
    """A detection head: centres and sizes in pixels beside scores, in one output."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = features(image)
    centre = layers.Rescaling(60, 150)(layers.Conv2D(2, 1, name="centre")(x))
    size = layers.Rescaling(40)(layers.Conv2D(2, 1, activation="relu", name="size")(x))
    scores = layers.Conv2D(3, 1, activation="sigmoid", name="scores")(x)
    return keras.Model(
        image, layers.Reshape((-1, 7), name="boxes")(layers.Concatenate(name="join")([centre, size, scores]))
    )


def column_errors(model: keras.Model, path: Path) -> np.ndarray:
    """RMS of the error over the deviation of each column, on images that the export has not seen."""
    expected = model.predict(TEST, verbose=0)
    (found,) = Interpreter(path).run([TEST])
    axes = tuple(range(expected.ndim - 1))
    return np.sqrt(np.square(found - expected).mean(axes) / expected.var(axes))


def test_scores_beside_boxes_are_not_destroyed_unseen(head: keras.Model, tmp_path: Path, worker: Worker) -> None:
    path = tmp_path / "a.tflite"
    message = r"output 'boxes', column [456], .* different values left; try --io float32, which joins it in float"
    with pytest.raises(GateError, match=message):
        export_tflite(head, path, "int8", calibration=CALIBRATION, worker=worker)
    report = export_tflite(head, path, "int8", calibration=CALIBRATION, gate=False, worker=worker)
    assert report.parity["relative_rms"] < 0.02  # which hid it
    assert column_errors(head, path)[4:].min() > 0.5
    report = export_tflite(head, path, "int8", io="float32", calibration=CALIBRATION, worker=worker)
    assert report.keep_float["operations"] == ["boxes", "join"]
    assert report.gate["passed"]
    assert column_errors(head, path).max() < 0.15  # of untrained scores, a third of it the 1/256 of 8 bits


def test_a_softmax_of_many_classes_is_not_all_zero(tmp_path: Path, worker: Worker) -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.GlobalAveragePooling2D()(features(image))
    model, path = keras.Model(image, layers.Dense(1000, activation="softmax", name="classes")(x)), tmp_path / "a.tflite"
    options = {"calibration": CALIBRATION, "worker": worker}
    with pytest.raises(
        GateError, match=r"'classes' has probabilities that are all zero .* try --logits, or --io float32"
    ):
        export_tflite(model, path, "int8", **options)
    assert not list(tmp_path.iterdir())
    for mend in ({"io": "float32"}, {"logits": True}):
        report = export_tflite(model, path, "int8", **mend, **options)
        (found,) = Interpreter(path).run([TEST])
        assert found.std() > 0
        assert report.gate["passed"]


@pytest.mark.parametrize(("shape", "activation"), [((1,), "sigmoid"), ((5,), "sigmoid"), ((1,), None), ((4,), None)])
def test_accuracy_and_error_are_keras_s(
    shape: tuple[int], activation: str | None, tmp_path: Path, worker: Worker
) -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.GlobalAveragePooling2D()(features(image))
    model = keras.Model(image, layers.Dense(shape[0], activation=activation, name="o")(x))
    outputs = model.predict(TEST, verbose=0)
    random = np.random.default_rng(0)
    targets: np.ndarray = outputs + random.normal(0, 0.3 * outputs.std(), outputs.shape)
    if activation:
        targets = (outputs > np.median(outputs, axis=0)) ^ (random.random(outputs.shape) < 0.2)
    report = export_tflite(
        model, tmp_path / "a.tflite", "int8", calibration=CALIBRATION, evaluation=(TEST, targets), max_drop=30,
        worker=worker,
    )  # fmt: skip
    (found,) = Interpreter(tmp_path / "a.tflite").run([TEST])
    for key, given in (("float", outputs), ("file", found)):
        metric = keras.metrics.BinaryAccuracy() if activation else keras.metrics.R2Score()
        metric.update_state(targets.astype(np.float32), given)
        value = float(metric.result())
        assert report.metric[key] == pytest.approx(value if activation else np.sqrt(1 - value), abs=1e-4)
    assert report.metric["low"] < report.metric["drop"] < report.metric["high"]
    assert report.metric["samples"] == report.evaluated == 40
    assert (report.accuracy is None) == (activation is None)
    assert report.accuracy == (report.metric["file"] if activation else None)


def test_a_metric_of_the_users_decides(head: keras.Model, tmp_path: Path, worker: Worker) -> None:
    """In its own unit, pixels here, and by the output's name."""

    def centre_error(targets: np.ndarray, outputs: np.ndarray) -> float:
        return float(np.abs(targets - outputs[..., :2]).mean())

    centre_error.higher_is_better = False  # type: ignore[attr-defined]
    targets = head.predict(TEST, verbose=0)[..., :2]
    options: dict[str, Any] = {
        "mode": "int8", "io": "float32", "calibration": CALIBRATION, "evaluation": (TEST, {"boxes": targets}),
        "metric": {"boxes": centre_error}, "worker": worker,
    }  # fmt: skip
    report = export_tflite(head, tmp_path / "a.tflite", max_drop=5, **options)
    metric = report.metric
    assert (metric["name"], metric["unit"], metric["float"]) == ("centre_error", "", 0)
    assert 0 < metric["drop"] == metric["file"] < 5
    assert metric["low"] < metric["drop"] < metric["high"]
    with pytest.raises(GateError, match=r"centre_error of 'boxes' rose by .* limit 0\.001"):
        export_tflite(head, tmp_path / "a.tflite", max_drop=0.001, **options)


def test_targets_that_fit_no_output_are_refused_before_any_work(head: keras.Model, tmp_path: Path) -> None:
    for targets, message in (
        (np.zeros((40, 9, 4)), r"the targets have the shape \(N, 9, 4\) and the output 'boxes' \(N, 25, 7\); give"),
        (np.zeros(7), "evaluation has 40 samples and 7 labels"),
        ({"box": np.zeros(40)}, "targets has 'box', and the model's outputs are boxes"),
    ):
        with pytest.raises(InputError, match=message):
            export_tflite(head, tmp_path / "a.tflite", evaluation=(TEST, targets))
    assert not list(tmp_path.iterdir())


def test_outputs_of_several_tasks_are_each_judged(tmp_path: Path, worker: Worker) -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = features(image)
    mask = layers.Conv2D(3, 1, activation="softmax", name="mask")(x)
    pooled = layers.GlobalAveragePooling2D()(x)
    outputs = {"mask": mask, "age": layers.Dense(1, name="a")(pooled), "kind": layers.Dense(4, name="k")(pooled)}
    model = keras.Model(image, outputs)
    found = model.predict(TEST, verbose=0)
    targets = {"mask": found["mask"].argmax(-1), "kind": found["kind"].argmax(-1), "age": 2 * found["age"]}
    report = export_tflite(
        model, tmp_path / "a.tflite", "int8", calibration=CALIBRATION, evaluation=(TEST, targets), max_drop=20,
        worker=worker,
    )  # fmt: skip
    assert {(row["output"], row["name"]): round(row["float"], 6) for row in report.metrics} == {
        ("age", "relative_rms_error"): pytest.approx(report.metrics[0]["float"]),
        ("age", "r2_score"): pytest.approx(report.metrics[1]["float"]),
        ("kind", "sparse_categorical_accuracy"): 1,
        ("mask", "sparse_categorical_accuracy"): 1,
        ("mask", "mean_iou"): 1,
    }
    kinds = {error.output: error.part.kind for error in report.parity.outputs}
    assert kinds == {"age": "values", "kind": "logits", "mask": "softmax"}


def test_data_come_as_people_hold_them(tmp_path: Path, worker: Worker) -> None:
    """A dataset of batches calibrates and another, of pairs, evaluates; the file is the one that arrays give."""
    tensorflow = pytest.importorskip("tensorflow")
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(image, layers.Dense(4)(layers.Flatten()(features(image))))
    labels = np.arange(40) % 4
    options = {"max_drop": 30, "worker": worker}
    pairs = tensorflow.data.Dataset.from_tensor_slices((TEST, labels)).batch(7)
    one = export_tflite(
        model, tmp_path / "a.tflite", "int8", evaluation=pairs,
        calibration=tensorflow.data.Dataset.from_tensor_slices(CALIBRATION).batch(5), **options,
    )  # fmt: skip
    other = export_tflite(
        model, tmp_path / "b.tflite", "int8", calibration=CALIBRATION, evaluation=(TEST, labels), **options
    )
    assert one.sha256 == other.sha256
    assert one.metric == other.metric
    assert one.calibration == other.calibration
