"""Which operations are worth leaving in float, on costs and noise that are given."""

import keras
import numpy as np
import pytest
from keras import layers

from export.frontend.read import read_graph
from export.mixed_precision.cost import Costs
from export.mixed_precision.keep_float import units
from export.mixed_precision.selection import Tradeoff
from export.passes.simplify import simplify


@pytest.fixture
def chain() -> keras.Model:
    """a → b → (pool → c, added to b) → d."""
    image = layers.Input((4, 4, 2), name="image")
    x = layers.Conv2D(2, 1, activation="relu", name="a")(image)
    x = b = layers.Conv2D(2, 1, use_bias=False, name="b")(x)
    x = layers.MaxPooling2D(2, 1, "same", name="pool")(x)
    x = layers.Conv2D(2, 1, name="c")(x)
    x = layers.Flatten(name="flat")(layers.Add(name="sum")([x, b]))
    return keras.Model(image, layers.Dense(3, activation="softmax", name="d")(x))


UNITS = [("a", "a/1"), ("b",), ("pool",), ("c",), ("sum", "flat"), ("d",), ("d/1",)]
TENSORS = {"image": 1e-6, "a/1": 1e-3, "b": 8e-3, "c": 1e-3, "sum": 1e-3, "d": 1e-3}
KERNELS = {"a": 4e-3, "b": 1e-4, "c": 1e-4, "d": 1e-4}


@pytest.fixture
def tradeoff(chain: keras.Model) -> Tradeoff:
    graph = read_graph(chain)
    simplify(graph)
    costs = Costs(np.full(7, 3e-6), np.full(7, 1e-6), 1e-7, 0.0)
    return Tradeoff.of(graph, TENSORS, KERNELS, costs)


def together(tradeoff: Tradeoff, *names: str) -> np.ndarray:
    return tradeoff.chosen(names)[None]


def test_what_tflite_does_not_part_is_one_unit(chain: keras.Model) -> None:
    graph = read_graph(chain)
    simplify(graph)
    assert units(graph) == UNITS


def test_noise_goes_only_when_all_that_write_and_read_the_tensor_are_in_float(tradeoff: Tradeoff) -> None:
    everything = sum(TENSORS.values()) + sum(KERNELS.values())
    assert tradeoff.noise(together(tradeoff))[0] == pytest.approx(everything)
    assert tradeoff.noise(together(tradeoff, "a"))[0] == pytest.approx(everything - 4e-3)
    assert tradeoff.noise(together(tradeoff, "a", "b"))[0] == pytest.approx(everything - 4e-3 - 1e-4 - 1e-3)
    spared = 8e-3 + 1e-3 + 2e-4  # through the pool, which keeps the scale, and the sum; and that of c; two kernels
    assert tradeoff.noise(together(tradeoff, "b", "pool", "c"))[0] == pytest.approx(everything - 2e-4)
    assert tradeoff.noise(together(tradeoff, "b", "pool", "c", "sum"))[0] == pytest.approx(everything - spared)
    assert tradeoff.noise(np.ones((1, 7), bool))[0] == pytest.approx(TENSORS["image"])


def test_time_has_the_conversions_at_the_edges(tradeoff: Tradeoff) -> None:
    def seconds(*names: str) -> float:
        return tradeoff.seconds(together(tradeoff, *names))[0]

    assert seconds() == pytest.approx(7e-6)
    assert seconds("a") == pytest.approx(9e-6 + 2e-7)
    assert seconds("a", "b") == pytest.approx(11e-6 + 2e-7)
    assert seconds("a", "c") == pytest.approx(11e-6 + 4e-7)


def test_the_cheapest_set_has_neighbours_where_these_are_needed(tradeoff: Tradeoff) -> None:
    nothing = tradeoff.chosen([])
    before = tradeoff.noise(nothing[None])[0]
    assert not tradeoff.cheapest(before, nothing).any()
    kernel = tradeoff.cheapest(before - 3.9e-3, nothing)
    assert tradeoff.operations(kernel) == {"a", "a/1"}
    most = tradeoff.cheapest(before - 8e-3, nothing)
    assert tradeoff.operations(most) == {"b", "pool", "c", "sum", "flat"}
    assert tradeoff.cheapest(1e-7, nothing) is None
    start = tradeoff.chosen(["d"])
    assert tradeoff.cheapest(before - 3.9e-3, start)[start].all()


def test_a_unit_that_is_faster_in_float_here_is_not_taken_for_free(chain: keras.Model) -> None:
    graph = read_graph(chain)
    simplify(graph)
    tradeoff = Tradeoff.of(graph, TENSORS, KERNELS, Costs(np.full(7, 1e-6), np.full(7, 2e-6), 0.0, 0.0))
    whole, one = tradeoff.seconds(np.array([tradeoff.chosen([]), tradeoff.chosen(["c"])]))
    assert one > whole
