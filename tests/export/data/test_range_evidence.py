"""The range of a model's input is told by the model, or nothing is exported from photos."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from export import InputError, Worker, export_tflite
from export.data.input_range import InputRange
from export.data.range_evidence import derived_range, range_of_photos
from export.frontend.read import read_graph
from export.tflite import main
from export.tflite_file.interpreter import Interpreter
from keras_classics import preprocessing_for
from keras_classics.datasets.parts import Dataset

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def pixels(channels: int = 3) -> np.ndarray:
    """Cut-outs of a photograph in [0, 1], (16, 16, 16, channels)."""
    from skimage import data

    photo = data.chelsea()[..., :channels].astype(np.float32) / 255
    return np.stack([photo[y : y + 96 : 6, x : x + 96 : 6] for y in range(0, 200, 50) for x in range(0, 320, 80)])


def network(*first: layers.Layer, channels: int = 3, normalized_on: np.ndarray | None = None) -> keras.Model:
    """A small network behind these layers; its batch normalization recorded what the given images make."""
    keras.utils.set_random_seed(0)
    image = x = keras.Input((16, 16, channels), name="image")
    for layer in first:
        x = layer(x)
    convolved = layers.Conv2D(6, 3, name="convolution")(x)
    x = convolved if normalized_on is None else layers.BatchNormalization(name="normalization")(convolved)
    model = keras.Model(image, layers.Dense(4, activation="softmax")(layers.Flatten()(layers.ReLU()(x))))
    if normalized_on is not None:
        found = keras.ops.convert_to_numpy(keras.Model(image, convolved)(normalized_on))
        layer = model.get_layer("normalization")
        layer.moving_mean.assign(found.mean((0, 1, 2)))
        layer.moving_variance.assign(found.var((0, 1, 2)))
    return model


TOLD: dict[str, tuple[Callable[[], tuple[layers.Layer, ...]], str]] = {
    "1/255": (lambda: (layers.Rescaling(1 / 255),), "0,255"),
    "1/127.5, -1": (lambda: (layers.Rescaling(1 / 127.5, -1),), "0,255"),
    "2, -1": (lambda: (layers.Rescaling(2.0, -1.0),), "0,1"),
    "0.5, 0.5": (lambda: (layers.Rescaling(0.5, 0.5),), "-1,1"),
    "in two steps": (lambda: (layers.Rescaling(1 / 255), layers.Rescaling(2.0, -1.0)), "0,255"),
    "published, of [0, 1]": (lambda: (preprocessing_for("mobilenet_v2").normalization(),), "0,1"),
    "published, of bytes": (lambda: (preprocessing_for("resnet18").normalization(255),), "0,255"),
    "behind a border": (lambda: (layers.ZeroPadding2D(1), layers.Rescaling(1 / 255)), "0,255"),
}


@pytest.mark.parametrize("case", TOLD)
def test_a_rescaling_tells_its_range(case: str) -> None:
    make, expected = TOLD[case]
    graph = read_graph(network(*make()))
    assert derived_range(graph, "image") == InputRange.parse(expected)
    assert range_of_photos(graph, pixels(), "m.keras") == InputRange.parse(expected)


def test_bytes_have_their_own_range() -> None:
    graph = read_graph(network())
    assert derived_range(graph, "image", "uint8") == InputRange.between(0, 255)
    assert range_of_photos(graph, pixels(), "m.keras", dtype="uint8") == InputRange.between(0, 255)


def test_no_rescaling_tells_nothing() -> None:
    for first in ((), (layers.Rescaling(3.0),), (layers.Rescaling(1.0),)):
        assert derived_range(read_graph(network(*first)), "image") is None


@pytest.mark.parametrize("scale", [1, 255])
def test_a_normalization_fits_the_photos_of_one_range(scale: int) -> None:
    mean, std = np.array(IMAGENET_MEAN) * scale, np.array(IMAGENET_STD) * scale
    graph = read_graph(network(layers.Normalization(mean=mean, variance=std**2)))
    assert range_of_photos(graph, pixels(), "m.keras") == InputRange.between(0, scale)


@pytest.mark.parametrize("text", ["0,1", "-1,1", "0,255", "imagenet"])
def test_the_first_batch_normalization_knows_the_training_data(text: str) -> None:
    trained_on = InputRange.parse(text).scale(pixels())
    graph = read_graph(network(normalized_on=trained_on))
    assert range_of_photos(graph, pixels(), "m.keras") == InputRange.parse(text)


def test_what_nothing_tells_is_refused_and_both_ranges_are_named() -> None:
    graph = read_graph(network(channels=1))
    with pytest.raises(InputError) as caught:
        range_of_photos(graph, pixels(1), "m.keras")
    assert str(caught.value).startswith("m.keras has no recorded input range, and nothing in the model tells whether "
                                        "it takes images in [0, 1] or [-1, 1]")  # fmt: skip
    assert "give --input-range=0,1 or --input-range=-1,1" in str(caught.value)
    unit = InputRange.between(0, 1)
    assert range_of_photos(graph, pixels(1), "m.keras", unit) == unit  # as datasets have it
    strange = read_graph(network(layers.Rescaling(1e-4), channels=1))
    with pytest.raises(
        InputError, match=r"its first layers do not fit any range that is known; give --input-range=LOW"
    ):
        range_of_photos(strange, pixels(1), "m.keras")


def test_caffe_takes_blue_first() -> None:
    found = InputRange.parse("caffe").scale(np.array([[1.0, 0.0, 0.0]], np.float32))
    np.testing.assert_allclose(found, [[-103.939, -116.779, 255 - 123.68]], rtol=1e-5)


@pytest.fixture
def photos(mnist: Dataset, tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, image in enumerate(mnist.calibration.images(slice(24))):
        Image.fromarray((image[2:30, 2:30, 0] * 255).astype(np.uint8)).save(folder / f"{index}.png")
    return folder


def test_photos_reach_a_model_with_a_rescaling_as_it_takes_them(
    photos: Path, mnist: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pattern that keras.io teaches; scaled to [0, 1] its file would be constant."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((28, 28, 1)), layers.Rescaling(1 / 255.0), layers.Conv2D(8, 3, activation="relu"),
        layers.Flatten(), layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    model.save(tmp_path / "m.keras")
    arguments = [tmp_path / "m.keras", "--int8", "--calibration", photos, "--output", tmp_path]
    assert main([str(each) for each in arguments]) == 0
    images = mnist.test.images(slice(50))[:, 2:30, 2:30] * 255
    (found,) = Interpreter(tmp_path / "m-int8.tflite").run([images])
    expected = model.predict(images, verbose=0)
    assert np.square(found - expected).mean() / expected.var(axis=0).mean() < 0.02  # most of it is the 1/256 of 8 bits
    capsys.readouterr()


def test_photos_for_a_model_that_tells_nothing_are_refused(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keras.Sequential([keras.Input((28, 28, 1)), layers.Conv2D(8, 3), layers.Flatten(), layers.Dense(10)]).save(
        tmp_path / "m.keras"
    )
    arguments = [str(each) for each in (tmp_path / "m.keras", "--int8", "--calibration", photos, "--output", tmp_path)]
    capsys.readouterr()
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert "m.keras has no recorded input range, and nothing in the model tells whether" in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("*.tflite"))
    assert main([*arguments, "--input-range=-1,1"]) == 0


def test_arrays_in_another_range_than_the_rescaling_is_made_for_are_refused(tmp_path: Path, worker: Worker) -> None:
    model, images = network(layers.Rescaling(1 / 255)), pixels()
    options = {"mode": "int8", "worker": worker, "gate": False}
    message = (
        "takes images in 0 to 255 and the {} data reaches from 0.* to .*; scale the data, or say with input_range="
    )
    with pytest.raises(InputError, match=message.format("calibration")):
        export_tflite(model, tmp_path / "a.tflite", calibration=images, **options)
    with pytest.raises(InputError, match=message.format("evaluation")):
        export_tflite(
            model, tmp_path / "a.tflite", calibration=255 * images[:8], evaluation=(images[8:], np.zeros(8)), **options
        )
    export_tflite(model, tmp_path / "a.tflite", calibration=255 * images, **options)
    export_tflite(model, tmp_path / "a.tflite", calibration=images, input_range=(0, 1), **options)  # who says so knows


def test_each_input_has_a_range_of_its_own(tmp_path: Path, worker: Worker) -> None:
    image, vector = keras.Input((16, 16, 3), name="image"), keras.Input((4,), name="vector")
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image)), vector])
    model = keras.Model([image, vector], layers.Dense(2)(x))
    vectors = np.random.default_rng(0).uniform(-3, 3, (16, 4)).astype(np.float32)
    options = {"calibration": (pixels(), vectors), "gate": False, "worker": worker}
    path = tmp_path / "a.tflite"
    report = export_tflite(model, path, "int8", input_range={"image": (0, 1), "vector": (-4, 4)}, **options)
    scales = sorted(port["scale"] for port in report.inputs)
    assert scales == pytest.approx([1 / 255, 8 / 255], rel=1e-5)
    assert report.input_range == {"image": [0, 1], "vector": [-4, 4]}
    with pytest.raises(InputError, match=r"calibration data reaches from -.* and the model's input range is -1 to 1"):
        export_tflite(model, path, "int8", input_range={"vector": (-1, 1)}, **options)
    with pytest.raises(InputError, match="input_range has 'picture', and the model's inputs are image, vector"):
        export_tflite(model, path, "int8", input_range={"picture": (0, 1)}, **options)
