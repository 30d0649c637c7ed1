"""Layers that no bridge knows are opened: what their `call` does to symbolic tensors is read in their place."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from export import FineTuning, InputError, UnsupportedLayerError, Worker, export_tflite
from export.frontend.opening import with_fixed_shapes
from export.frontend.read import read_graph
from export.ir.graph import Graph
from export.passes.simplify import simplify
from export.verification.parity import keras_outputs, relative_rms


def graph_error(model: keras.Model, worker: Worker, samples: np.ndarray, **options: Any) -> float:
    """Relative RMS between the graph as read and folded, and the model."""
    model = with_fixed_shapes(model, **options)
    graph = read_graph(model)
    simplify(graph)
    return relative_rms(keras_outputs(model, [samples]), worker.evaluate(graph, graph.outputs, [samples]))


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


class Gate(layers.Layer):
    """Layers and weights of its own, on the left of operators too, and a branch for training."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="scale")
        self.dense = layers.Dense(shape[-1], name="dense")
        self.dense.build(shape)

    def call(self, x: Any, training: bool = False) -> Any:
        y = self.scale * ops.tanh(self.dense(x)) + ops.exp(self.scale) * x
        return ops.zeros_like(y) if training else y


class ClassToken(layers.Layer):
    """A weight that is repeated over the batch, whose size its `call` asks for."""

    def build(self, shape: Any) -> None:
        self.token = self.add_weight(shape=(1, 1, shape[-1]), initializer="random_normal", name="token")

    def call(self, x: Any) -> Any:
        token = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, x.shape[-1]))
        return ops.concatenate([token, x], axis=1)


OPENED = {
    "custom layer": Gate(),
    "batch size": ClassToken(),
    "Lambda": layers.Lambda(lambda x: ops.relu(x) * 2),
    "Attention": lambda x: layers.Attention()([x, x]),
    "AdditiveAttention": lambda x: layers.AdditiveAttention()([x, x]),
    "MultiHeadAttention": lambda x: layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True),
    "GroupQueryAttention": lambda x: layers.GroupQueryAttention(3, 4, 2)(x, x),
    "GroupNormalization": layers.GroupNormalization(2),
    # Under PyTorch the layer of Keras 3.15 itself fails on another axis than the last.
    "LayerNormalization": layers.LayerNormalization(axis=-1 if keras.backend.backend() == "torch" else 1),
    "UnitNormalization": layers.UnitNormalization(),
    "SpectralNormalization": layers.SpectralNormalization(layers.Conv1D(3, 3)),
    "TimeDistributed": layers.TimeDistributed(layers.Dense(3)),
    "UpSampling1D": layers.UpSampling1D(2),
    "LSTM": layers.LSTM(3, return_sequences=True),
    "GRU": lambda x: layers.GRU(3, go_backwards=True, return_state=True)(x),
    "two cells": layers.RNN([layers.SimpleRNNCell(3), layers.LSTMCell(4)]),
    "Bidirectional": layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode="sum"),
    "initial state": lambda x: layers.GRU(4)(x, initial_state=x[:, 0]),
}


@pytest.mark.backends
@pytest.mark.parametrize("case", OPENED)
def test_what_is_opened_computes_the_same(case: str, worker: Worker) -> None:
    sequence = layers.Input((5, 4))
    assert graph_error(keras.Model(sequence, OPENED[case](sequence)), worker, normal(3, 5, 4)) <= 1e-6


def test_operations_of_an_opened_layer_have_names_that_lead_home() -> None:
    sequence = layers.Input((5, 4))
    model = keras.Model(sequence, Gate(name="gate")(sequence))
    names = list(read_graph(model).operations)[1:]
    assert names == ["gate/dense", "gate/tanh", "gate/multiply", "gate/multiply/1", "gate/add"]
    assert list(read_graph(model).operations)[1:] == names


def masked(length: int) -> np.ndarray:
    """Indices from 1 to 9, the last steps of each sample 0 so far as it is shorter."""
    ids = np.random.default_rng(0).integers(1, 10, (4, length))
    for row, short in enumerate((0, 1, 3, 4)):
        ids[row, length - short :] = 0
    return ids.astype(np.float32)


class Pooled(layers.Layer):
    """A layer that takes no mask itself, around one that does."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True
        self.pool = layers.GlobalAveragePooling1D()

    def call(self, x: Any) -> Any:
        return self.pool(x)


MASKED = {
    "pooling": layers.GlobalAveragePooling1D(),
    "LSTM": layers.LSTM(3),
    "GRU": layers.GRU(3, return_sequences=True, zero_output_for_mask=True),
    "Bidirectional": layers.Bidirectional(layers.LSTM(3)),
    "attention": lambda x: layers.Attention()([x, x]),
    "heads": lambda x: layers.MultiHeadAttention(2, 3)(x, x),
    "softmax": lambda x: layers.Softmax(axis=1)(x, mask=ops.ones_like(x) * ops.arange(7.0)[None, :, None] < 5),
    "within a layer": Pooled(),
}


@pytest.mark.backends
@pytest.mark.parametrize("case", MASKED)
def test_masks_are_carried(case: str, worker: Worker) -> None:
    ids = layers.Input((7,), dtype="int32")
    outputs = MASKED[case](layers.Embedding(10, 4, mask_zero=True)(ids))
    graph = read_graph(keras.Model(ids, outputs))
    assert graph.operations[graph.inputs[0]].dtype == "int32"
    assert graph_error(keras.Model(ids, outputs), worker, masked(7)) <= 1e-6


def test_steps_that_are_zero_are_masked(worker: Worker) -> None:
    samples = normal(4, 7, 3)
    samples[:2, 4:] = 0
    sequence = layers.Input((7, 3))
    model = keras.Model(sequence, layers.LSTM(3)(layers.Masking()(sequence)))
    assert graph_error(model, worker, samples) <= 1e-6


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="its error is of TensorFlow")
def test_code_that_leaves_keras_is_named_by_its_line() -> None:
    import tensorflow as tf

    class Leaving(layers.Layer):
        def call(self, x: Any) -> Any:
            return tf.nn.relu(ops.abs(x))

    sequence = layers.Input((5, 4))
    line = Leaving.call.__code__.co_firstlineno + 1
    message = (
        rf"layer 'leaving' \(Leaving\) has no bridge to TFLite, and cannot be opened: at test_opening.py:{line}, "
        r"`return tf.nn.relu\(ops.abs\(x\)\)`, it leaves Keras \(.*\); use keras.ops there, or teach it one with "
        r"export.register_bridge\(Leaving\) \(docs/custom-layers.md\)"
    )
    with pytest.raises(UnsupportedLayerError, match=message) as caught:
        read_graph(keras.Model(sequence, Leaving(name="leaving")(sequence)))
    assert "\n" not in str(caught.value)


REFUSED = {
    "state": (layers.RNN(layers.LSTMCell(2), stateful=True), r"keeps its state between calls \(stateful=True\)"),
    "places": (lambda x: ops.take_along_axis(x, ops.argsort(x), axis=1), "TakeAlongAxis. has no bridge"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_opened_is_refused_with_the_reason(case: str) -> None:
    layer, message = REFUSED[case]
    sequence = layers.Input(batch_shape=(2, 5, 4))
    with pytest.raises(InputError, match=message) as caught:
        read_graph(keras.Model(sequence, layer(sequence)))
    assert "\n" not in str(caught.value)


def small_base() -> keras.Model:
    """A network without input shape, as transfer learning takes it."""
    image = layers.Input((None, None, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="stem")(image)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    return keras.Model(image, x * 0.5 + layers.Conv2D(4, 1)(x), name="base")


def transfer() -> keras.Model:
    """The usual form of transfer learning."""
    image = layers.Input((16, 16, 3))
    augmented = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)])(image)
    x = layers.GlobalAveragePooling2D()(small_base()(augmented))
    return keras.Model(image, layers.Dense(3)(layers.Dropout(0.2)(x)))


@pytest.mark.backends
def test_a_nested_base_without_input_shape_gets_that_of_the_outer_input(worker: Worker) -> None:
    model = transfer()
    graph = read_graph(model)
    assert graph.operations["base/stem"].shape == (8, 8, 4)
    assert graph_error(model, worker, normal(3, 16, 16, 3)) <= 1e-6


def test_a_fully_convolutional_model_is_given_a_size(worker: Worker) -> None:
    model = small_base()
    with pytest.raises(InputError, match=r"open shape \(None, None, 3\); give input_shape \(--input-shape\)"):
        read_graph(model)
    assert read_graph(model, (16, 8, 3)).operations["stem"].shape == (8, 4, 4)
    assert graph_error(model, worker, normal(3, 16, 8, 3), input_shape=(16, 8, 3)) <= 1e-6
    for shape, message in {
        (16, 8, 4): "does not agree with the input",
        (16, 8): "does not agree with the input",
        ((16, 8, 3), (1,)): "is not one shape for each of the inputs",
    }.items():
        with pytest.raises(InputError, match=message):
            read_graph(model, shape)
    with pytest.raises(InputError, match="input_shape has 'picture'; the inputs are"):
        read_graph(model, {"picture": (16, 8, 3)})


def test_a_fixed_batch_is_left_out(worker: Worker) -> None:
    image = layers.Input(batch_shape=(3, 6, 4))
    model = keras.Model(image, layers.Dense(2)(ops.reshape(image, (3, 24))))
    assert read_graph(model).operations[read_graph(model).inputs[0]].shape == (6, 4)
    assert graph_error(model, worker, normal(3, 6, 4)) <= 1e-6


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """A model as people write them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"name": "subclassed"} | options)
        self.hidden, self.head = layers.Dense(4, activation="relu", name="hidden"), layers.Dense(2, name="head")

    def call(self, x: Any, training: bool = False) -> Any:
        x = self.hidden(x)
        return self.head(x * 100 if training else x)


@pytest.mark.backends
def test_subclassed_models_are_read_where_their_input_shape_is_known(worker: Worker) -> None:
    model = Subclassed()
    with pytest.raises(InputError, match="has no known input shape; give input_shape, such as"):
        read_graph(model)
    assert graph_error(model, worker, normal(3, 6), input_shape=(6,)) <= 1e-6
    called = Subclassed()
    called(normal(1, 6))
    assert list(read_graph(called).operations)[1:] == ["hidden", "hidden/1", "head"]
    assert graph_error(called, worker, normal(3, 6)) <= 1e-6


def test_a_subclassed_model_is_trained_in_8_bits_and_saved(tmp_path: Path, worker: Worker) -> None:
    keras.utils.set_random_seed(0)
    model, samples = Subclassed(), normal(32, 6)
    model(samples[:1])
    before = model.get_weights()
    training = FineTuning.on_arrays(samples, None, batch_size=8, epochs=1, distill=True)
    report = export_tflite(
        model, tmp_path / "sub.tflite", "int8", calibration=samples, qat=training, gate=False, worker=worker
    )
    assert report.fully_integer
    assert report.parity["sqnr_db"] > 20
    found = keras.saving.load_model(report.keras_model)
    after = keras_outputs(found, [samples])
    assert 0 < relative_rms([np.asarray(ops.convert_to_numpy(model(samples)))], after) < 0.1
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


def trainable(graph: Graph) -> set[str]:
    return {name for name, operation in graph.operations.items() if operation.trainable}


@pytest.mark.slow
def test_weights_of_opened_layers_are_trained_in_8_bits_and_come_back(tmp_path: Path, worker: Worker) -> None:
    keras.utils.set_random_seed(0)
    sequence = layers.Input((8, 4))
    x = layers.MultiHeadAttention(2, 3, name="heads")(sequence, sequence)
    x = layers.GRU(4, name="gru")(x)
    model = keras.Model(sequence, layers.Dense(3, name="end")(x))
    expected = {f"heads/{name}" for name in ("query", "key", "value", "attention_output")} | {"end"}
    assert expected <= {name.removesuffix("/1") for name in trainable(read_graph(model))}
    before = {variable.path: np.asarray(variable) for variable in model.variables}
    samples = normal(32, 8, 4)
    training = FineTuning.on_arrays(samples, None, batch_size=8, epochs=1, distill=True)
    report = export_tflite(
        model, tmp_path / "gru.tflite", "int8", calibration=samples, qat=training, gate=False, worker=worker
    )
    assert report.fully_integer
    after = keras.saving.load_model(report.keras_model).variables
    changed = {new.path for new in after if np.any(np.asarray(new) != before.get(new.path))}
    kernels = {path for path in before if path.endswith("kernel")}
    assert kernels <= changed
