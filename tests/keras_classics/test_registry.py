"""Names, arguments and the promises that every entry makes."""

import keras
import numpy as np
import pytest

import keras_classics as kc
from keras_classics import registry

NAMES = kc.list_models()


def small(name, /, **arguments):
    arguments = {"input_shape": registry.entry(name).small_input_shape, "classes": 3} | arguments
    return kc.create_model(name, **arguments)


def images(model, count=2, seed=0):
    return np.random.default_rng(seed).random((count, *model.input_shape[1:]), "float32")


def test_models_are_listed_by_wildcard():
    assert sorted(registry.MODELS) == NAMES
    assert kc.list_models("mobilenet_v?") == [name for name in NAMES if name.startswith("mobilenet_v")]
    assert kc.list_models("nothing*") == []


def test_an_unknown_name_brings_the_nearest():
    with pytest.raises(ValueError, match="did you mean mobilenet_v2"):
        kc.create_model("mobilenetv2")


def test_an_unknown_argument_brings_the_nearest():
    with pytest.raises(ValueError, match=r"argument of mobilenet_v2 'alhpa'; did you mean alpha"):
        kc.create_model("mobilenet_v2", alhpa=0.5)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_named_after_its_entry(name):
    assert small(name).name == name
    assert small(name, name="mine").name == "mine"


@pytest.mark.backends
@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_probabilities_of_the_classes_asked_for(name):
    model = small(name)
    outputs = keras.ops.convert_to_numpy(model(images(model)))
    assert outputs.shape == (2, 3)
    np.testing.assert_allclose(outputs.sum(axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_size_works_and_one_less_says_so(name):
    entry = registry.entry(name)
    least, channels = entry.minimum_size, entry.input_shape[-1]
    model = small(name, input_shape=(least, least, channels))
    assert np.isfinite(keras.ops.convert_to_numpy(model(images(model, 1)))).all()
    for shape in ((least - 1, least, channels), (least, least - 1, channels)):
        with pytest.raises(ValueError, match=r"too small|positive integers"):
            small(name, input_shape=shape)


@pytest.mark.parametrize("shape", [(32, 32), 32, None, (32, 32, 0), (32, -32, 3), (32.0, 32, 3), "32"])
def test_a_senseless_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"height, width, channels.*three positive integers"):
        kc.MobileNetV2(input_shape=shape)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 0}, "classes is 0"),
        ({"classes": 2.5}, "classes is 2.5"),
        ({"pooling": "mean", "include_top": False}, "pooling is 'mean'"),
        ({"input_shape": (None, None, 3)}, "include_top=False"),
        ({"input_shape": (64, 64, None), "include_top": False}, "input_shape"),
        ({"weights": "no/such/file.keras"}, "not a file"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_an_argument_that_cannot_be_used_is_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        small(name, **arguments)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_top_sizes_may_stay_open(name):
    entry = registry.entry(name)
    channels = entry.input_shape[-1]
    features = small(name, input_shape=(None, None, channels), include_top=False)
    assert len(features.output_shape) == 4
    depth = features.output_shape[-1]
    for pooling in ("avg", "max"):
        assert small(name, include_top=False, pooling=pooling).output_shape == (None, depth)
    assert features(np.zeros((1, *entry.small_input_shape), "float32")).shape[-1] == depth


@pytest.mark.backends
@pytest.mark.parametrize("name", NAMES)
def test_a_keras_file_brings_the_same_model_back(name, tmp_path):
    model = small(name)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    batch = images(model)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(again(batch)), keras.ops.convert_to_numpy(model(batch)), rtol=1e-5
    )
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]


def test_weights_come_from_a_file_and_a_wrong_one_is_refused(tmp_path):
    model = small("lenet5")
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    for file in ("model.keras", "model.weights.h5"):
        again = small("lenet5", weights=tmp_path / file)
        np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])
        with pytest.raises(ValueError, match="does not fit"):
            small("lenet5", classes=5, weights=tmp_path / file)


def test_recipe_arguments_are_for_small_images_only():
    assert registry.recipe_arguments("mobilenet_v2", (32, 32, 1)) == {"alpha": 0.35, "stem_stride": 1}
    assert registry.recipe_arguments("mobilenet_v2", (224, 224, 3)) == {}


@pytest.mark.parametrize("name", NAMES)
def test_recipe_arguments_make_a_model_of_small_images(name):
    channels = registry.entry(name).input_shape[-1]
    shape = (32, 32, channels)
    arguments = registry.recipe_arguments(name, shape)
    assert kc.create_model(name, input_shape=shape, classes=10, **arguments).output_shape == (None, 10)


@pytest.mark.parametrize("name", NAMES)
def test_golden_counts(name, abstract_model):
    entry = registry.entry(name)
    model = abstract_model(name)
    result = kc.model_cost(model)
    assert model.input_shape == (None, *entry.input_shape)
    assert model.output_shape == (None, entry.classes)
    assert (result.parameters, result.trainable_parameters) == (entry.parameters, entry.trainable_parameters)
    assert result.macs == entry.macs
