"""Scaling channels: which may be scaled, and that nothing else changes."""

import keras
import numpy as np
import pytest
from keras import layers

from export import Worker
from export.frontend.read import read_graph
from export.ir.graph import Graph
from export.passes.simplify import simplify
from export.quantization.cross_layer_equalization import channel_factors, channel_groups, scale_channels


def residual_network() -> Graph:
    """A linear bottleneck with a residual sum, a gate, grouped and depthwise convolutions, and a flattened end."""
    keras.utils.set_random_seed(0)
    image = layers.Input((8, 8, 3), name="image")
    stem = layers.Conv2D(8, 3, padding="same", name="stem")(image)
    x = layers.ReLU(6, name="clipped")(layers.Conv2D(16, 1, name="expand")(stem))
    x = layers.ReLU(name="rectified")(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x))
    x = layers.Add(name="sum")([stem, layers.Conv2D(8, 1, name="project")(x)])
    x = layers.Conv2D(8, 3, groups=2, activation="leaky_relu", name="grouped")(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    gated = layers.Conv2D(4, 1, name="gated")(x)
    x = layers.Multiply(name="gate")([gated, layers.Activation("sigmoid", name="sigmoid")(gated)])
    x = layers.Conv2D(6, 1, activation="relu", name="last")(x)
    x = layers.Dense(5, name="logits")(layers.Flatten(name="flat")(x))
    graph = read_graph(keras.Model(image, layers.Softmax(name="softmax")(x)))
    simplify(graph)
    return graph


def test_groups_end_where_a_factor_could_not_pass() -> None:
    groups = {tuple(group.sources): group for group in channel_groups(residual_network())}
    assert set(groups) == {("stem", "project"), ("expand",), ("depthwise",), ("grouped",), ("last",)}
    assert groups["stem", "project"].sinks == ["expand", "grouped"]
    assert groups["stem", "project"].kind == "linear"
    assert groups[("expand",)].kind == "depthwise"
    assert groups[("expand",)].limit == 6
    assert groups[("depthwise",)].kind == "activated"
    assert groups[("last",)].sinks == ["logits"]


@pytest.mark.parametrize("source", ["stem", "expand", "depthwise", "grouped", "last"])
def test_scaled_channels_leave_the_outputs_as_they_are(source: str, worker: Worker) -> None:
    graph = residual_network()
    (group,) = [each for each in channel_groups(graph) if each.sources[0] == source]
    samples = [np.random.default_rng(0).random((4, 8, 8, 3), np.float32)]
    expected = worker.evaluate(graph, [source, "logits"], samples)
    channels = graph.operations[source].shape[-1]
    factors = np.random.default_rng(1).uniform(0.2, 1.0 if group.limit else 5.0, channels)
    scale_channels(graph, group, factors)
    found = worker.evaluate(graph, [source, "logits"], samples)
    np.testing.assert_allclose(found[0], expected[0] * factors, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-5)


def test_factors_give_channels_one_range_and_stay_below_the_limit_of_relu6() -> None:
    graph = residual_network()
    groups = {group.sources[0]: group for group in channel_groups(graph)}
    sizes = np.array([1, 2, 4, 8, 8, 8, 8, 0.0])
    seen = dict.fromkeys(groups["stem"].tensors, sizes)
    full = channel_factors(groups["stem"], graph, seen, seen, 1.0)
    np.testing.assert_allclose(full[:7] * sizes[:7], 8)
    half = channel_factors(groups["stem"], graph, seen, seen, 0.5)
    np.testing.assert_allclose(half, np.sqrt(full))
    clipped = {name: np.full(16, 2.0) for name in groups["expand"].tensors}
    np.testing.assert_allclose(channel_factors(groups["expand"], graph, clipped, clipped, 1.0), 6 / (1.05 * 2))
    wide = {name: np.full(16, 6.0) for name in groups["expand"].tensors}
    np.testing.assert_allclose(channel_factors(groups["expand"], graph, wide, wide, 1.0), 1.0)
