"""Whole models in `.h5`, of Keras 2 and 3, and what is refused of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from keras_classics.errors import InputError
from keras_classics.weights import load_model

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
KERAS_2 = """
import sys
import numpy as np
import tf_keras as keras
from tf_keras import layers

keras.utils.set_random_seed(0)
image = keras.Input((32, 32, 3))
x = layers.BatchNormalization()(layers.Conv2D(8, 3, use_bias=False)(layers.Rescaling(1 / 127.5, offset=-1)(image)))
x = layers.DepthwiseConv2D(3, padding="same")(layers.ReLU(6.0)(x))
x = layers.Add()([x, layers.SeparableConv2D(8, 3, padding="same", activation="relu")(x)])
x = layers.GlobalAveragePooling2D()(layers.Conv2DTranspose(4, 2, strides=2)(x))
plain = keras.Model(image, layers.Dense(5, activation="softmax")(x))
plain.layers[2].trainable = False
plain.layers[3].set_weights([np.random.default_rng(1).uniform(0.5, 1, 8) for _ in range(4)])
base = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, include_top=False)
base.trainable = False
nested = keras.Sequential([base, layers.GlobalAveragePooling2D(), layers.Dense(3)])
images = np.load(sys.argv[1] + "/images.npy")
for name, model in {"plain": plain, "nested": nested}.items():
    np.save(f"{sys.argv[1]}/{name}.npy", model.predict(images, verbose=0))
    model.save(f"{sys.argv[1]}/{name}.h5")
"""


@pytest.fixture(scope="module")
def keras_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that Keras 2 wrote, in a process of its own, and their outputs for `IMAGES`."""
    pytest.importorskip("tf_keras")
    folder = tmp_path_factory.mktemp("keras2")
    np.save(folder / "images.npy", IMAGES)
    environment = os.environ | {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", KERAS_2, folder], check=True, env=environment)
    return folder


@pytest.mark.parametrize("name", ["plain", "nested"])
def test_a_model_of_keras_2_computes_what_it_did(name: str, keras_2: Path) -> None:
    model = load_model(keras_2 / f"{name}.h5")
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), np.load(keras_2 / f"{name}.npy"), atol=1e-6)
    assert len(model.outputs) == 1


def saved(path: Path) -> keras.Model:
    """A model of Keras 3 whose layers are frozen in part, so that its weights have another order than its layers."""
    image = keras.Input((32, 32, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(image))
    model = keras.Model(image, {"scores": layers.Dense(2, name="scores")(layers.GlobalMaxPooling2D()(x))})
    model.layers[1].trainable = False
    model.save(path)
    return model


@pytest.mark.backends
def test_a_model_of_keras_3_computes_what_it_did(tmp_path: Path) -> None:
    model = saved(tmp_path / "m.h5")
    np.testing.assert_allclose(
        load_model(tmp_path / "m.h5").predict(IMAGES, verbose=0)["scores"],
        model.predict(IMAGES, verbose=0)["scores"],
        rtol=1e-5,
    )


def changed(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """What rewrites the architecture in a file."""

    def rewrite(path: Path) -> None:
        with h5py.File(path, "a") as file:
            config = json.loads(file.attrs["model_config"])
            change(config)
            file.attrs["model_config"] = json.dumps(config)

    return rewrite


def of_class(name: str) -> Callable[[Path], None]:
    """What makes the convolution one of another class."""
    return changed(lambda config: config["config"]["layers"][1].update({"class_name": name}))


def weights_alone(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file.attrs["model_config"]


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def activation_is_code(config: dict[str, Any]) -> None:
    config["config"]["layers"][1]["config"]["activation"] = {
        "class_name": "__lambda__",
        "config": {"value": "6wMAAA=="},
    }


def initializer_of_a_module(config: dict[str, Any]) -> None:
    """A class that Keras has, said to be of a module that would be imported for it."""
    settings = config["config"]["layers"][1]["config"]
    settings["kernel_initializer"] = {"module": "antigravity", "class_name": "Zeros", "config": {}}


REFUSED = {
    "Lambda": (of_class("Lambda"), "has a Lambda layer, which is code"),
    "function": (changed(activation_is_code), "has a Lambda layer, which is code"),
    "class of the user's": (
        of_class("Package>Mine"),
        "has a layer or object 'Package>Mine', which Keras does not have",
    ),
    "operator of TensorFlow": (of_class("TFOpLambda"), "has a layer or object 'TFOpLambda'"),
    "class of another module": (
        changed(initializer_of_a_module),
        "layer or object 'Zeros' of antigravity, which",
    ),
    "subclassed": (changed(lambda config: config.update({"class_name": "Net"})), "holds a model of class 'Net'"),
    "weights alone": (weights_alone, "holds weights without a model"),
    "cut short": (cut_short, "cannot be read as a Keras model"),
    "more than it holds": (
        changed(lambda config: config["config"]["layers"][1]["config"].update({"filters": 10**8})),
        "it asks for 900,000,002 weights or more",
    ),
    "other shape": (
        changed(lambda config: config["config"]["layers"][1]["config"].update({"filters": 5})),
        "cannot be read as a Keras model",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_code_or_damaged_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    damage, message = REFUSED[case]
    saved(tmp_path / "m.h5")
    damage(tmp_path / "m.h5")
    with pytest.raises(InputError) as caught:
        load_model(tmp_path / "m.h5")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_the_user_has_registered_is_read(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("tests.whole_h5")
    class Twice(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return 2 * inputs

    model = keras.Sequential([keras.Input((3,)), Twice(), layers.Dense(2)])
    model.save(tmp_path / "m.h5")
    given = np.ones((1, 3), "float32")
    np.testing.assert_allclose(load_model(tmp_path / "m.h5").predict(given), model.predict(given), rtol=1e-6)
