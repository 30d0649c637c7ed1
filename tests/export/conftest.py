"""One worker and one trained LeNet-5 for all export tests."""

import functools
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

import keras
import numpy as np
import pytest
from keras import layers

from export.client import Worker
from export.ir.check import check_graph
from export.ir.graph import Graph
from export.passes import simplify
from export.passes.fold import Fold, Pass
from keras_classics import train
from keras_classics.datasets import data
from keras_classics.datasets.parts import Dataset


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    with Worker() as running:
        yield running


@pytest.fixture(autouse=True)
def checked_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every graph that a test simplifies is checked before and after each pass."""

    def checked(rewrite: Pass) -> Pass:
        @functools.wraps(rewrite)
        def rewritten(graph: Graph) -> Sequence[Fold]:
            check_graph(graph)
            folds = rewrite(graph)
            check_graph(graph)
            return folds

        return rewritten

    monkeypatch.setattr(simplify, "PASSES", tuple(map(checked, simplify.PASSES)))


@pytest.fixture(scope="session")
def mnist() -> Dataset:
    return data.load("mnist")


@pytest.fixture(scope="session")
def trained_weights(mnist: Dataset) -> list[np.ndarray]:
    model = train.build("lenet5", mnist, seed=0)
    train.fit(model, mnist, epochs=4, seed=0, progress=False)
    return model.get_weights()


@pytest.fixture
def lenet(mnist: Dataset, trained_weights: list[np.ndarray]) -> keras.Model:
    """LeNet-5 after four epochs on MNIST; each test has its own."""
    model = train.build("lenet5", mnist)
    model.set_weights(trained_weights)
    return model


@pytest.fixture
def spoiled(lenet: keras.Model) -> keras.Model:
    """LeNet-5 computing the same through values near 1e4, which 8 bits cannot resolve, and a ReLU that holds them."""
    x = lenet.get_layer("f6").output
    units = x.shape[-1]
    for name, bias in (("up", 1e4), ("down", -1e4)):
        layer = layers.Dense(units, name=name, activation="relu" if bias > 0 else None)
        x = layer(x)
        layer.set_weights([np.eye(units, dtype=np.float32), np.full(units, bias, np.float32)])
    return keras.Model(lenet.input, lenet.get_layer("predictions")(x), name="spoiled")


@pytest.fixture
def cancelling(lenet: keras.Model) -> keras.Model:
    """LeNet-5 computing the same through sums that outweigh what they carry, in `up`, and are taken off in `down`."""
    x = lenet.get_layer("f6").output
    units = x.shape[-1]
    outweighed, total = np.eye(units) + 20, np.ones((units, 1))
    x = layers.Dense(units + 1, use_bias=False, name="up")(x)
    x = layers.Dense(units, use_bias=False, name="down")(x)
    model = keras.Model(lenet.input, lenet.get_layer("predictions")(x), name="cancelling")
    model.get_layer("up").set_weights([np.hstack([outweighed, total])])
    model.get_layer("down").set_weights([np.vstack([np.eye(units), np.full((1, units), -20.0)])])
    return model


@pytest.fixture(scope="session")
def live_in(load: Callable[[str], ModuleType]) -> Callable[[keras.Model, np.ndarray], keras.Model]:
    """Gives a model batch normalizations as after training on images."""
    return load("random_weights").live_in
