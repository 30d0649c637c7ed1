"""Folding leaves the function alone, and trained weights find their way back."""

import keras
import numpy as np
import pytest
from keras import layers

from export import Worker, verify
from export.passes import carry_back, cut_softmax, fold_batch_normalization
from export.reader import read_graph


def network(scale: bool = True, bias: bool = False) -> keras.Model:
    image = x = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, use_bias=bias, name="conv")(x)
    x = layers.ReLU()(layers.BatchNormalization(scale=scale, name="conv_norm")(x))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=bias, name="depthwise")(x)
    x = layers.BatchNormalization(scale=scale, name="depthwise_norm")(x)
    x = layers.BatchNormalization(scale=scale, name="second_norm")(x)
    x = layers.Dense(5, use_bias=bias, name="dense")(layers.Flatten()(x))
    model = keras.Model(image, layers.Softmax()(layers.BatchNormalization(scale=scale, name="dense_norm")(x)))
    random = np.random.default_rng(0)
    model.set_weights(
        [
            random.uniform(0.3, 1.5, w.shape) if w.ndim == 1 else random.normal(0, 0.1, w.shape)
            for w in model.get_weights()
        ]
    )
    return model


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_folding_and_carrying_back_keep_the_function(scale: bool, bias: bool, worker: Worker) -> None:
    model = network(scale, bias)
    samples = [np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype(np.float32)]
    graph = read_graph(model)
    folds = fold_batch_normalization(graph)
    assert not [op for op in graph.operations.values() if op.kind == "batch_normalization"]
    assert {fold.operation.name for fold in folds} == {"conv", "depthwise", "dense"}
    expected = verify.keras_outputs(model, samples)
    assert verify.relative_rms(expected, worker.evaluate(graph, graph.outputs, samples)) <= 1e-5

    random = np.random.default_rng(2)
    trained = {
        name: array * random.uniform(0.8, 1.2, array.shape).astype(np.float32)
        for name, array in graph.weights().items()
        if name.endswith((":kernel", ":bias"))
    }
    graph.set_weights(trained)
    carry_back(graph, folds)
    found = verify.keras_outputs(model, samples)
    assert verify.relative_rms(found, worker.evaluate(graph, graph.outputs, samples)) <= 1e-5
    assert verify.relative_rms(expected, found) > 1e-3


def test_a_dead_channel_can_come_back_to_life(worker: Worker) -> None:
    model = network()
    gamma = np.array([0, 1, 1, 1], np.float32)
    model.get_layer("conv_norm").gamma.assign(gamma)
    graph = read_graph(model)
    folds = fold_batch_normalization(graph)
    kernel = graph.operations["conv"].weights["kernel"]
    assert not kernel[..., 0].any()
    graph.operations["conv"].weights["kernel"] = kernel + np.float32(0.1)
    carry_back(graph, folds)
    samples = [np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype(np.float32)]
    found = verify.keras_outputs(model, samples)
    assert verify.relative_rms(found, worker.evaluate(graph, graph.outputs, samples)) <= 1e-5
    assert model.get_layer("conv_norm").gamma.numpy()[0] > 0


def test_cutting_the_softmax_leaves_logits(worker: Worker) -> None:
    model = network()
    graph = read_graph(model)
    fold_batch_normalization(graph)
    assert cut_softmax(graph)
    assert not cut_softmax(graph)
    samples = [np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype(np.float32)]
    (logits,) = worker.evaluate(graph, graph.outputs, samples)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(keras.ops.softmax(logits)), verify.keras_outputs(model, samples)[0], atol=1e-6
    )
