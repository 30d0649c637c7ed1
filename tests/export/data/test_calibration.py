"""Which calibration data is chosen, and what is said of data that is scaled otherwise than in training."""

import json
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from export import CalibrationWarning, Worker, export_tflite
from export.data.samples import balanced, digest
from export.tflite import main
from keras_classics.datasets.parts import Dataset


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [((50, 50), 20, (10, 10)), ((100, 3, 100), 23, (10, 3, 10)), ((4, 5), 20, (4, 5)), ((1,), 1, (1,))],
)
def test_as_many_of_each_class_as_there_are(
    sizes: tuple[int, int, int] | tuple[int, int] | tuple[int],
    count: int,
    expected: tuple[int, int, int] | tuple[int, int] | tuple[int],
) -> None:
    classes = np.repeat(np.arange(len(sizes)), sizes).tolist()
    chosen = balanced(classes, count)
    assert tuple(np.bincount(np.take(classes, chosen))) == expected
    assert len(set(chosen.tolist())) == len(chosen)
    np.testing.assert_array_equal(chosen, balanced(classes, count))
    np.testing.assert_array_equal(chosen, np.sort(chosen))


@pytest.fixture
def normalized(mnist: Dataset) -> keras.Model:
    """A model whose batch normalization recorded what digits in [-1, 1] give."""
    keras.utils.set_random_seed(0)
    image = layers.Input((32, 32, 1), name="image")
    convolved = layers.Conv2D(8, 3, name="convolution")(image)
    x = layers.BatchNormalization(name="normalization")(convolved)
    model = keras.Model(image, layers.Dense(10)(layers.Flatten()(layers.ReLU()(x))))
    found = keras.ops.convert_to_numpy(keras.Model(image, convolved)(2 * mnist.train.images(slice(64)) - 1))
    layer = model.get_layer("normalization")
    layer.moving_mean.assign(found.mean((0, 1, 2)))
    layer.moving_variance.assign(found.var((0, 1, 2)))
    return model


@pytest.mark.parametrize("scale", ["[0, 1]", "[0, 255]"])
def test_another_scale_than_in_training_is_warned_of(
    scale: str, normalized: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker
) -> None:
    wrong = mnist.calibration.images() * (255 if "255" in scale else 1)
    with pytest.warns(CalibrationWarning, match="scaled otherwise .* before 'normalization' its variance is") as caught:
        report = export_tflite(normalized, tmp_path / "a.tflite", "int8", calibration=wrong, gate=False, worker=worker)
    said = [str(each.message) for each in caught if each.category is CalibrationWarning]
    assert report.warnings == said
    assert json.loads((tmp_path / "a.json").read_text())["warnings"] == report.warnings


def test_the_scale_of_training_is_not_warned_of(
    normalized: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker
) -> None:
    right = 2 * mnist.calibration.images() - 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", CalibrationWarning)
        report = export_tflite(normalized, tmp_path / "a.tflite", "int8", calibration=right, gate=False, worker=worker)
        untrained = keras.models.clone_model(normalized)
        export_tflite(untrained, tmp_path / "b.tflite", "int8", calibration=right, gate=False, worker=worker)
    assert report.warnings == []
    assert report.calibration == {"count": 200, "digest": digest([right])}


def test_the_command_says_it_in_one_line(
    normalized: keras.Model, mnist: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label, image in zip(mnist.calibration.labels, mnist.calibration.images(), strict=True):
        folder = tmp_path / "photos" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[..., 0] * 255).astype(np.uint8)).save(folder / f"{len(list(folder.iterdir()))}.png")
    normalized.save(tmp_path / "model.keras")
    arguments = [tmp_path / "model.keras", "--int8", "--no-gate", "--calibration", tmp_path / "photos"]
    capsys.readouterr()
    assert main([str(each) for each in (*arguments, "--input-range=0,1", "--output", tmp_path)]) == 0
    err = capsys.readouterr().err
    assert err.startswith("warning: the calibration data seems to be scaled otherwise")
    assert err.count("\n") == 1
    assert main([str(each) for each in (*arguments, "--input-range=-1,1", "--output", tmp_path)]) == 0
    assert capsys.readouterr().err == ""
