"""What is read from a Keras model computes what the model computes."""

import keras
import numpy as np
import pytest
from keras import layers

from export import InputError, UnsupportedLayerError, Worker, register_bridge
from export.frontend.read import read_graph
from export.passes.simplify import simplify
from export.verification.parity import keras_outputs, relative_rms


def graph_error(model: keras.Model, worker: Worker) -> float:
    """Relative RMS between the graph as read and folded, and the model, on random inputs."""
    random = np.random.default_rng(0)
    inputs = [random.normal(size=(3, *each.shape[1:])).astype(np.float32) for each in model.inputs]
    graph = read_graph(model)
    simplify(graph)
    return relative_rms(keras_outputs(model, inputs), worker.evaluate(graph, graph.outputs, inputs))


def randomize(model: keras.Model) -> keras.Model:
    """Weights and statistics that no initializer would give."""
    random = np.random.default_rng(1)
    model.set_weights(
        [random.uniform(0.5, 1.5, weight.shape) * random.choice([-1, 1]) for weight in model.get_weights()]
    )
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_variance.assign(random.uniform(0.5, 2, layer.moving_variance.shape))
    return model


LAYERS = [
    layers.Conv2D(6, 3, strides=2, padding="same", activation="relu"),
    layers.Conv2D(6, 3, dilation_rate=2, use_bias=False),
    layers.Conv2D(6, 3, groups=3, activation="sigmoid"),
    layers.Conv2D(6, 3, groups=3, strides=(1, 2)),
    layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2, activation="tanh"),
    layers.SeparableConv2D(5, 3, padding="same", activation="silu"),
    layers.BatchNormalization(epsilon=1e-2),
    layers.BatchNormalization(scale=False, center=False),
    layers.ReLU(),
    layers.ReLU(6.0),
    layers.ReLU(3.0),
    layers.ReLU(negative_slope=0.1),
    layers.LeakyReLU(0.2),
    layers.Activation("hard_silu"),
    layers.Activation("elu"),
    layers.Activation("hard_sigmoid"),
    layers.Softmax(),
    layers.Dropout(0.5),
    layers.MaxPooling2D(3, 2, padding="same"),
    layers.AveragePooling2D(3, 2, padding="same"),
    layers.GlobalAveragePooling2D(),
    layers.GlobalAveragePooling2D(keepdims=True),
    layers.GlobalMaxPooling2D(),
    layers.Flatten(),
    layers.Reshape((36, 9)),
    layers.ZeroPadding2D(((0, 1), (2, 3))),
    layers.Dense(7, activation="softmax"),
    layers.Rescaling(1 / 127.5, -1.0),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_layer_computes_the_same(layer: layers.Layer, worker: Worker) -> None:
    image = layers.Input((9, 12, 3))
    model = randomize(keras.Model(image, type(layer).from_config(layer.get_config())(image)))
    assert graph_error(model, worker) <= 1e-5


def test_a_convolution_with_a_group_for_each_channel_is_depthwise() -> None:
    image = layers.Input((8, 8, 4))
    depthwise = layers.Conv2D(8, 3, groups=4, padding="same", name="depthwise")(image)
    model = keras.Model(image, layers.Conv2D(8, 3, groups=4, name="grouped")(depthwise))
    graph = read_graph(model)
    assert [graph.operations[name].kind for name in ("depthwise", "grouped")] == ["depthwise_conv2d", "conv2d"]
    assert graph.operations["depthwise"].weights["kernel"].shape == (3, 3, 4, 2)


def test_a_layer_that_is_only_called_like_one_of_keras_is_not_taken_for_it(worker: Worker) -> None:
    class LayerScale(layers.Layer):
        def call(self, x):
            return keras.ops.tanh(x)

    image = layers.Input((4,))
    assert graph_error(keras.Model(image, LayerScale()(image)), worker) <= 1e-6


def test_branches_shared_and_nested_models_compute_the_same(worker: Worker) -> None:
    image, other = layers.Input((8, 8, 3), name="image"), layers.Input((8, 8, 4), name="other")
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    nested = keras.Sequential(
        [layers.Input((8, 8, 4)), layers.Conv2D(4, 1), layers.BatchNormalization(), layers.ReLU(6.0)], name="nested"
    )
    a = nested(shared(image))
    b = nested(other)
    sums = layers.Add()([a, b, other])
    products = layers.Multiply()([a, b])
    joined = layers.Concatenate()([sums, products, keras.ops.relu(a) * 0.5 + 1.0])
    pooled = layers.GlobalAveragePooling2D()(joined)
    model = randomize(keras.Model([image, other], [layers.Dense(3, activation="softmax")(pooled), pooled]))
    assert graph_error(model, worker) <= 1e-5


@keras.saving.register_keras_serializable("test_bridge")
class Halve(layers.Layer):
    """A layer that has no bridge, so that its `call` is read."""

    def call(self, x):
        return x * 0.5

    def compute_output_shape(self, shape):
        return shape


def test_a_registered_bridge_teaches_a_layer(worker: Worker) -> None:
    image = layers.Input((8, 8, 3))
    model = keras.Model(image, layers.Conv2D(2, 3)(Halve(name="halve")(image)))
    assert "halve/multiply" in read_graph(model).operations

    @register_bridge(Halve)
    def halve(build, layer, x):
        return build.add("multiply", x, weights={"factor": 0.5})

    assert "halve" in read_graph(model).operations
    assert graph_error(model, worker) <= 1e-6


def test_a_bridge_may_leave_some_layers_to_be_opened(worker: Worker) -> None:
    class Power(layers.Layer):
        def __init__(self, exponent: int, **options: str) -> None:
            super().__init__(**options)
            self.exponent = exponent

        def call(self, x):
            return x**self.exponent

    @register_bridge(Power, when=lambda layer: layer.exponent == 2)
    def square(build, layer, x):
        return build.combine("multiply", x, x)

    image = layers.Input((8, 8, 3))
    model = keras.Model(image, Power(3, name="cube")(Power(2, name="square")(image)))
    assert list(read_graph(model).operations)[1:] == ["square", "cube/power", "cube/power/1"]
    assert graph_error(model, worker) <= 1e-6


def test_a_bridge_may_give_several_outputs(worker: Worker) -> None:
    @register_bridge(Halves)
    def halves(build, layer, x):
        half = build.scale(x, 0.5)
        return [half, build.shift(half, 1.0)]

    image = layers.Input((8, 8, 3))
    model = keras.Model(image, layers.Multiply()(Halves()(image)))
    assert graph_error(model, worker) <= 1e-6
    register_bridge(Halves)(lambda build, layer, x: x)
    with pytest.raises(UnsupportedLayerError, match="it has 2 outputs and its bridge returns 1"):
        read_graph(model)


@keras.saving.register_keras_serializable("test_bridge")
class Halves(layers.Layer):
    """Two outputs."""

    def call(self, x):
        return x * 0.5, x * 0.5 + 1.0

    def compute_output_shape(self, shape):
        return shape, shape


IMAGE = (8, 8, 3)
REFUSED = {
    "operation": (IMAGE, keras.ops.erfinv, r"operation 'erfinv\w*' \(Erfinv\) has no bridge .*; make it a layer with"),
    "activation": (IMAGE, layers.Activation(lambda x: x), r"activation '<lambda>' is not known; use one of elu, "),
    "batch mean": (IMAGE, lambda x: keras.ops.mean(x, axis=0), "moves or removes the batch axis"),
    "batch sum": (IMAGE, lambda x: keras.ops.sum(x, axis=(0, 1), keepdims=True), "moves or removes the batch axis"),
    "batch slice": (IMAGE, lambda x: x[:1, :], r"takes a part of the batch; .* begin with \[:"),
    "batch moved": (IMAGE, lambda x: keras.ops.transpose(x), "moves or removes the batch axis.*leave that axis first"),
    "ranks": (IMAGE, lambda x: x + keras.ops.mean(x, axis=1), r"shapes \(8, 8, 3\) and \(8, 3\); give both the same"),
    "open shape": (
        (None, None, 3),
        layers.GlobalAveragePooling2D(),
        r"has the open shape \(None, None, 3\); give input_shape \(--input-shape\), or build",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exported_is_refused_with_the_mend(case: str) -> None:
    shape, layer, message = REFUSED[case]
    image = layers.Input(shape)
    with pytest.raises(InputError, match=message) as caught:
        read_graph(keras.Model(image, layer(image)))
    assert "\n" not in str(caught.value)


def channels_first_network(flatten: bool) -> keras.Model:
    first = {"data_format": "channels_first"}
    image = layers.Input((3, 12, 12))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, **first)(layers.ZeroPadding2D(1, **first)(image))
    x = shortcut = layers.PReLU(shared_axes=[2, 3])(layers.BatchNormalization(axis=1)(x))
    x = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, padding="same", **first)(x))
    gate = layers.Conv2D(4, 1, activation="sigmoid", **first)(layers.GlobalAveragePooling2D(keepdims=True, **first)(x))
    x = layers.Add()([layers.Multiply()([x, gate]), shortcut])
    pooled = layers.MaxPooling2D(2, **first)(x), layers.AveragePooling2D(2, **first)(x)
    x = layers.Concatenate(axis=1)(pooled) * np.linspace(0.5, 1.5, 8, dtype=np.float32).reshape(8, 1, 1)
    x = layers.Conv2D(5, 3, strides=2, **first)(x)
    x = layers.Flatten(**first)(x) if flatten else layers.GlobalMaxPooling2D(**first)(x)
    return randomize(keras.Model(image, layers.Dense(3)(x)))


@pytest.mark.backends
@pytest.mark.parametrize("flatten", [True, False])
def test_channels_first_models_are_transposed_once(flatten: bool, worker: Worker) -> None:
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow has no channels-first convolution on processors")
    model = channels_first_network(flatten)
    assert graph_error(model, worker) <= 1e-5
    graph = read_graph(model)
    folds = simplify(graph)
    assert [op.kind for op in graph.operations.values()].count("transpose") == 1
    assert len(folds) == 2  # the normalization, and the factors before the last convolution


@pytest.mark.backends
def test_a_sequence_is_one_image_from_end_to_end(worker: Worker) -> None:
    sequence = layers.Input((20, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(4, 3, padding="causal", use_bias=False)(sequence)))
    x = layers.Concatenate()([layers.Conv1D(4, 3, padding="same")(x), x])
    x = layers.GlobalAveragePooling1D()(layers.PReLU()(layers.MaxPooling1D(2)(x)))
    model = randomize(keras.Model(sequence, layers.Dense(3)(x)))
    assert graph_error(model, worker) <= 1e-5
    graph = read_graph(model)
    assert len(simplify(graph)) == 1
    assert [op.kind for op in graph.operations.values()].count("reshape") == 2
