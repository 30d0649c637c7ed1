"""What photos go through before published weights, and what their answers are called."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import keras_classics as kc
from keras_classics.errors import InputError
from keras_classics.pretrained.imagenet import imagenet_classes
from keras_classics.pretrained.preprocessing import Preprocessing

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(1, height, width, 3), dtype=np.uint8)


@pytest.mark.backends
def test_a_photo_of_the_resized_size_is_cropped_and_normalized_alone() -> None:
    image = photo(256, 256)
    result = keras.ops.convert_to_numpy(kc.preprocessing_for("resnet50").model()(image))
    np.testing.assert_allclose(result, (image[:, 16:240, 16:240] / 255 - MEAN) / STD, atol=1e-5)


@pytest.mark.backends
@pytest.mark.parametrize(("height", "width"), [(512, 512), (512, 700), (900, 512)])
def test_large_photos_are_resized_as_torchvision_does(height: int, width: int) -> None:
    """torchvision resizes with Pillow, which antialiases, and rounds to whole pixel values twice."""
    image_module = pytest.importorskip("PIL.Image")
    image = np.repeat(np.repeat(photo(height // 4, width // 4), 4, 1), 4, 2)
    resized = image_module.fromarray(image[0]).resize((width // 2, height // 2), image_module.Resampling.BILINEAR)
    top, left = (height // 2 - 224) // 2, (width // 2 - 224) // 2
    expected = (np.asarray(resized)[top : top + 224, left : left + 224] / 255 - MEAN) / STD
    result = keras.ops.convert_to_numpy(kc.preprocessing_for("resnet50").model()(image))
    np.testing.assert_allclose(result[0], expected, atol=1.01 / 255 / STD.min())


@pytest.mark.backends
def test_normalization_alone_goes_in_front_of_a_model(tmp_path: Path) -> None:
    preprocessing = kc.preprocessing_for("mobilenet_v2")
    network = kc.MobileNetV2((32, 32, 3), alpha=0.35, classes=4)
    whole = keras.Sequential([keras.Input((32, 32, 3)), preprocessing.normalization(pixel_maximum=255), network])
    image = photo(32, 32).astype(np.float32)
    answer = keras.ops.convert_to_numpy(whole(image))
    np.testing.assert_allclose(
        answer, keras.ops.convert_to_numpy(network((image / 255 - MEAN) / STD)), rtol=1e-4, atol=1e-6
    )
    whole.save(tmp_path / "whole.keras")
    loaded = keras.saving.load_model(tmp_path / "whole.keras")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(loaded(image)), answer)


def test_channels_first_is_the_same_transposed(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: keras.config.set_image_data_format("channels_last"))
    preprocessing = kc.preprocessing_for("resnet50")
    image = photo(300, 400)
    last = keras.ops.convert_to_numpy(preprocessing.model()(image))
    keras.config.set_image_data_format("channels_first")
    first = keras.ops.convert_to_numpy(preprocessing.model()(image.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(first.transpose(0, 2, 3, 1), last, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "weights", "expected"),
    [
        ("resnet50", "imagenet", Preprocessing(256, 224, tuple(MEAN), tuple(STD))),
        ("resnet50", "imagenet-torchvision-v2", Preprocessing(232, 224, tuple(MEAN), tuple(STD))),
        ("mobilenet_v1", "imagenet", Preprocessing(256, 224, (0.5,) * 3, (0.5,) * 3)),
        ("googlenet", "imagenet", Preprocessing(256, 224, (0.5,) * 3, (0.5,) * 3)),
    ],
)
def test_each_set_of_weights_has_its_own(model: str, weights: str, expected: Any) -> None:
    assert kc.preprocessing_for(model, weights) == expected


def test_keras_vgg_takes_centred_pixels_in_the_order_of_rgb() -> None:
    result = kc.preprocessing_for("vgg16", "imagenet-keras").normalization()(np.zeros((1, 1, 1, 3), np.float32))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(result)[0, 0, 0], [-123.68, -116.779, -103.939], rtol=1e-6)


def test_the_crop_is_as_large_as_a_models_input(abstract_model: Callable[..., keras.Model]) -> None:
    model = abstract_model("mobilenet_v2", input_shape=(160, 160, 3))
    assert (kc.preprocessing_for(model).resize, kc.preprocessing_for(model).crop) == (183, 160)
    keras_weights = kc.preprocessing_for(model, "imagenet-keras")
    assert (keras_weights.resize, keras_weights.crop) == (183, 160)
    open_ended = abstract_model("mobilenet_v2", input_shape=(None, None, 3), include_top=False)
    assert kc.preprocessing_for(open_ended).crop == 224
    with pytest.raises(InputError, match="square"):
        kc.preprocessing_for(abstract_model("mobilenet_v2", input_shape=(160, 96, 3)))
    with pytest.raises(InputError, match="nobody publishes weights of resnet20"):
        kc.preprocessing_for("resnet20")
    with pytest.raises(InputError, match="did you mean imagenet"):
        kc.preprocessing_for("resnet50", "imagenet-v1")


def test_description_tells_the_range_of_the_input() -> None:
    description = json.loads(json.dumps(kc.preprocessing_for("mobilenet_v1").description()))
    assert description["minimum"] == [-1, -1, -1]
    assert description["maximum"] == [1, 1, 1]
    assert description["crop"] == 224
    description = kc.preprocessing_for("resnet18").description()
    np.testing.assert_allclose(description["minimum"], -MEAN / STD)
    np.testing.assert_allclose(description["maximum"], (1 - MEAN) / STD)


def test_the_thousand_names() -> None:
    names = imagenet_classes()
    assert len(names) == len({number for number, _ in names}) == 1000
    assert [number for number, _ in names] == sorted(number for number, _ in names)
    assert names[0] == ("n01440764", "tench")
    assert names[285] == ("n02124075", "Egyptian cat")
    assert names[999] == ("n15075141", "toilet tissue")


def test_predictions_are_decoded_best_first() -> None:
    predictions = np.zeros((2, 1000), np.float32)
    predictions[0, [285, 281]] = 0.7, 0.3
    predictions[1, 967] = 1
    first, second = kc.decode_predictions(predictions, top=2)
    assert first == [("n02124075", "Egyptian cat", pytest.approx(0.7)), ("n02123045", "tabby", pytest.approx(0.3))]
    assert second[0] == ("n07920052", "espresso", 1.0)
    with pytest.raises(InputError, match=r"\(batch, 1000\)"):
        kc.decode_predictions(predictions[:, :10])
