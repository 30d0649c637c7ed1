"""Constants that several layers with kernels read, as in attention, go into all of them."""

import keras
import numpy as np
import pytest
from keras import layers

from export import Worker
from export.frontend.read import read_graph
from export.ir.graph import Graph
from export.passes.simplify import simplify
from export.verification.parity import keras_outputs, relative_rms

SHAPE = (6, 8)


def normalized() -> tuple[keras.KerasTensor, keras.KerasTensor]:
    sequence = layers.Input(SHAPE)
    normalization = layers.LayerNormalization(
        name="normalize",
        gamma_initializer=keras.initializers.RandomUniform(0.5, 2, seed=0),
        beta_initializer=keras.initializers.RandomNormal(seed=1),
    )
    return sequence, normalization(sequence)


def constants(graph: Graph) -> list[str]:
    """Operations on constants, but for the ε of a normalization."""
    found = [each for each in graph.operations.values() if each.kind in ("add", "multiply") and each.weights]
    return [each.name for each in found if each.shape != (SHAPE[0], 1)]


def error(model: keras.Model, graph: Graph, worker: Worker) -> float:
    samples = [np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)]
    return relative_rms(keras_outputs(model, samples), worker.evaluate(graph, graph.outputs, samples))


def test_the_scales_of_a_normalization_go_into_all_layers_behind_it_and_come_back(worker: Worker) -> None:
    keras.utils.set_random_seed(0)
    sequence, x = normalized()
    heads = [layers.Dense(4, name=name)(x) for name in "abc"]
    model = keras.Model(sequence, layers.Concatenate()(heads))
    graph = read_graph(model)
    before = {name: graph.operations[name].weights["kernel"] for name in "abc"}
    folds = simplify(graph)
    assert not constants(graph)
    assert error(model, graph, worker) <= 1e-6
    for name in "abc":
        weights = dict(graph.operations[name].weights)
        for fold in reversed([fold for fold in folds if fold.operation.name == name]):
            weights |= fold.undone(weights)
        np.testing.assert_allclose(weights["kernel"], before[name], rtol=1e-5)
        np.testing.assert_allclose(weights["bias"], 0, atol=1e-5)


@pytest.mark.parametrize("beside", ["sum", "output"])
def test_they_stay_where_something_else_reads_them(beside: str, worker: Worker) -> None:
    keras.utils.set_random_seed(0)
    sequence, x = normalized()
    outputs = [layers.Dense(8)(x), layers.Dense(8)(x)]
    model = keras.Model(sequence, [layers.Add()([*outputs, x])] if beside == "sum" else [*outputs, x])
    graph = read_graph(model)
    simplify(graph)
    assert len(constants(graph)) == 2
    assert error(model, graph, worker) <= 1e-6


def test_attention_behind_a_normalization_has_no_constants_left(worker: Worker) -> None:
    keras.utils.set_random_seed(0)
    sequence, x = normalized()
    model = keras.Model(sequence, layers.MultiHeadAttention(2, 4)(x, x))
    graph = read_graph(model)
    simplify(graph)
    assert not constants(graph)
    assert error(model, graph, worker) <= 1e-6
