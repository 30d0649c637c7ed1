"""Shifting channels: which may be shifted, and that nothing else changes."""

import keras
import numpy as np
import pytest
from keras import layers

from export import Worker
from export.frontend.read import read_graph
from export.ir.graph import Graph
from export.passes.simplify import simplify
from export.quantization.channel_shift import absorbers, offsets, shift_channels, shiftable_operations


def network() -> Graph:
    """Sums, poolings and a flattened end of linear channels; padded, activated and shared ones between them."""
    keras.utils.set_random_seed(0)
    image = layers.Input((8, 8, 3), name="image")
    stem = layers.Conv2D(8, 3, padding="same", name="stem")(image)
    x = layers.ReLU(name="rectified")(layers.Conv2D(16, 1, name="expand")(stem))
    x = layers.Conv2D(8, 1, name="project")(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x))
    x = layers.Subtract(name="difference")([stem, x])
    x = layers.Conv2D(8, 3, groups=2, name="grouped")(layers.MaxPooling2D(2, name="pool")(x))
    x = layers.DepthwiseConv2D(2, depth_multiplier=2, name="valid")(x)
    padded = layers.Conv2D(4, 3, padding="same", name="padded")(x)
    x = layers.Conv2D(6, 1, use_bias=False, name="unbiased")(padded)
    x = layers.Conv2D(6, 1, name="last")(x)
    graph = read_graph(keras.Model(image, layers.Dense(5, name="logits")(layers.Flatten(name="flat")(x))))
    simplify(graph)
    return graph


def test_shifts_end_at_padding_activations_and_layers_without_a_bias() -> None:
    graph = network()
    # Of the others "expand" meets an activation, "valid" padding, "padded" a missing bias; "unbiased" has none.
    assert set(shiftable_operations(graph)) == {"stem", "depthwise", "project", "grouped", "last"}
    assert absorbers(graph, "stem") == ["expand", "grouped"]
    assert absorbers(graph, "last") == ["logits"]


@pytest.mark.parametrize("source", ["stem", "depthwise", "project", "grouped", "last"])
def test_shifted_channels_leave_the_outputs_as_they_are(source: str, worker: Worker) -> None:
    graph = network()
    samples = [np.random.default_rng(0).random((4, 8, 8, 3), np.float32)]
    names = [source, "difference", "logits"]
    expected = worker.evaluate(graph, names, samples)
    shift = np.random.default_rng(1).normal(size=graph.operations[source].shape[-1]).astype(np.float32)
    off = offsets(graph, {source: shift})
    shift_channels(graph, {source: shift})
    found = worker.evaluate(graph, names, samples)
    np.testing.assert_allclose(found[0], expected[0] - shift, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], expected[1] - off.get("difference", 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-4, atol=1e-5)
