"""Fixtures and models that the tests of the library share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest

import keras_classics as kc
from keras_classics import registry

# Every architecture and variant, small: name, arguments.
VARIANTS = {
    "lenet5": ("lenet5", {}),
    "lenet5_1998": ("lenet5", {"variant": "1998"}),
    "alexnet": ("alexnet", {"input_shape": (67, 67, 3)}),
    "alexnet_one_weird_trick": ("alexnet", {"input_shape": (63, 63, 3), "variant": "one_weird_trick"}),
    "vgg11": ("vgg11", {"input_shape": (32, 32, 3)}),
    "vgg11_batch_norm": ("vgg11", {"input_shape": (32, 32, 3), "batch_norm": True}),
    "resnet18": ("resnet18", {"input_shape": (40, 40, 3)}),
    "resnet18_plain": ("resnet18", {"input_shape": (40, 40, 3), "plain": True}),
    "resnet18_padded": ("resnet18", {"input_shape": (40, 40, 3), "shortcut": "A"}),
    "resnet50": ("resnet50", {"input_shape": (40, 40, 3)}),
    "resnet50_v1": ("resnet50", {"input_shape": (40, 40, 3), "version": "v1", "shortcut": "C"}),
    "resnet20": ("resnet20", {"input_shape": (16, 16, 3)}),
    "googlenet": ("googlenet", {"input_shape": (32, 32, 3)}),
    "googlenet_batch_norm": ("googlenet", {"input_shape": (32, 32, 3), "batch_norm": True}),
    "googlenet_heads": ("googlenet", {"input_shape": (79, 79, 3), "auxiliary_heads": True}),
    "mobilenet_v1": ("mobilenet_v1", {"input_shape": (40, 40, 3)}),
    "mobilenet_v2": ("mobilenet_v2", {"input_shape": (40, 40, 3)}),
}
# Those that other variants cover in the default run.
SLOW = {
    "alexnet_one_weird_trick",
    "vgg11_batch_norm",
    "resnet18",
    "resnet18_plain",
    "resnet50",
    "resnet50_v1",
    "googlenet_batch_norm",
    "googlenet_heads",
}


@pytest.fixture
def variant(request: pytest.FixtureRequest) -> Iterator[Callable[..., keras.Model]]:
    """The constructor of the small model that `request.param` names, with three classes."""
    name, arguments = VARIANTS[request.param]
    yield lambda **more: kc.create_model(name, **({"classes": 3} | arguments | more))
    keras.backend.clear_session()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "variant" in metafunc.fixturenames:
        cases = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in VARIANTS]
        metafunc.parametrize("variant", cases, indirect=True)


@pytest.fixture
def abstract_model() -> Iterator[Callable[..., keras.Model]]:
    """`registry.abstract_model`, and afterwards Keras without memory of the weights that were never made."""
    yield registry.abstract_model
    keras.backend.clear_session()


def randomized(model: keras.Model, seed: int = 0) -> keras.Model:
    """Give every weight of `model` a random value that keeps signals about as large as they are."""
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        noise = generator.standard_normal(variable.shape)
        if len(variable.shape) > 1:
            noise *= np.sqrt(2 / np.prod(variable.shape[:-1]))
        elif "variance" in variable.path or "gamma" in variable.path:
            noise = 1 + 0.1 * np.abs(noise)
        else:
            noise *= 0.1
        variable.assign(noise.astype("float32"))
    return model


def outputs_of(model: keras.Model, count: int = 2) -> list[np.ndarray]:
    """The outputs of `model`, a list of arrays, on random images that are the same each time."""
    images = np.random.default_rng(1).random((count, *model.input_shape[1:]), "float32")
    return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(model(images))]


@pytest.fixture
def randomize() -> Callable[..., keras.Model]:
    return randomized


@pytest.fixture
def outputs() -> Callable[..., list[np.ndarray]]:
    return outputs_of
