"""A graph that a pass broke is found, and the message names the operation."""

from collections.abc import Callable

import numpy as np
import pytest
from keras import Model, layers

from export.frontend.read import read_graph
from export.ir.check import SHAPES, check_graph
from export.ir.graph import Graph
from export.ir.kinds import KINDS


def graph() -> Graph:
    image = layers.Input((8, 8, 4), name="image")
    x = layers.Conv2D(6, 3, groups=2, name="conv")(image)
    x = layers.Concatenate(name="join")([x, layers.ReLU(name="relu")(x)])
    return read_graph(Model(image, layers.Dense(5, name="dense")(layers.Flatten(name="flat")(x))))


def renamed(graph: Graph) -> None:
    graph.operations["relu"].name = "other"


def unordered(graph: Graph) -> None:
    graph.operations["conv"] = graph.operations.pop("conv")


def dangling(graph: Graph) -> None:
    del graph.operations["relu"]


def output_lost(graph: Graph) -> None:
    del graph.operations["dense"]


def input_computed(graph: Graph) -> None:
    graph.inputs = ["conv"]


def reshaped_wrongly(graph: Graph) -> None:
    graph.operations["flat"].shape = (431,)


def shape_kept(graph: Graph) -> None:
    graph.operations["join"].inputs = ["conv", "conv", "relu"]


def kernel_cut(graph: Graph) -> None:
    weights = graph.operations["conv"].weights
    weights["kernel"] = weights["kernel"][:, :, :1]


def scalar_bias(graph: Graph) -> None:
    graph.operations["conv"].weights["bias"] = np.zeros(1, np.float32)


def strange_weight(graph: Graph) -> None:
    graph.operations["relu"].weights["slope"] = np.zeros(1, np.float32)


def strange_kind(graph: Graph) -> None:
    graph.operations["relu"].kind = "rectify"


FAULTS: list[tuple[Callable[[Graph], None], str]] = [
    (renamed, "'other' is listed as 'relu'"),
    (unordered, "'relu' reads 'conv', which does not come before it"),
    (dangling, "'join' reads 'relu'"),
    (output_lost, "output 'dense' does not exist"),
    (input_computed, "an input of the graph is computed"),
    (reshaped_wrongly, "'flat' .reshape.: it reshapes .* another number of values"),
    (shape_kept, "'join' .concatenate.: its shape is .6, 6, 12.; .* it would be .6, 6, 18."),
    (kernel_cut, "'conv' .conv2d.: its kernel .* does not fit 4 input channels"),
    (scalar_bias, "'conv' .conv2d.: its bias has the shape .1,.; it has 6 outputs"),
    (strange_weight, "'relu' .activation.: its kind has no weight 'slope'"),
    (strange_kind, "'rectify' is no kind of operation"),
]


@pytest.mark.parametrize(("fault", "message"), FAULTS)
def test_faults_are_found(fault: Callable[[Graph], None], message: str) -> None:
    broken = graph()
    check_graph(broken)
    fault(broken)
    with pytest.raises(ValueError, match=message):
        check_graph(broken)


def test_every_kind_has_a_shape() -> None:
    by_trait = {name for name, row in KINDS.items() if row.elementwise or row.positionwise}
    assert set(SHAPES) | by_trait | {"activation"} == set(KINDS)
    assert not set(SHAPES) & by_trait
