"""Folding leaves the function alone, and trained weights find their way back."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from export import FineTuning, Worker, export_tflite
from export.data.samples import smooth_images
from export.frontend.read import read_graph
from export.ir.graph import Graph
from export.passes.carry_back import carry_back
from export.passes.cut_softmax import cut_softmax
from export.passes.fold_batch_normalization import fold_batch_normalization
from export.passes.simplify import simplify
from export.tflite_file.interpreter import Interpreter
from export.verification.parity import keras_outputs, relative_rms


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
    expected = keras_outputs(model, samples)
    assert relative_rms(expected, worker.evaluate(graph, graph.outputs, samples)) <= 1e-5

    train(graph)
    carry_back(graph, folds)
    found = keras_outputs(model, samples)
    assert relative_rms(found, worker.evaluate(graph, graph.outputs, samples)) <= 1e-5
    assert relative_rms(expected, found) > 1e-3


def norm(**options) -> layers.Layer:
    return layers.BatchNormalization(**options)


def two_readers(x):
    x = norm()(x)
    return layers.Concatenate()([layers.Conv2D(2, 3)(x), layers.Conv2D(3, 3)(x)])


def shared_convolution(x):
    conv = layers.Conv2D(3, 3)
    return layers.Add()([norm()(conv(norm()(x))), norm()(conv(norm()(x)))])


def shared_norm(x):
    shared = norm()
    return layers.Concatenate()([shared(layers.Conv2D(2, 3)(x)), shared(layers.Conv2D(2, 3, use_bias=False)(x))])


def shared_block(x):
    block = keras.Sequential([layers.Input((8, 8, 4)), layers.Conv2D(4, 3, use_bias=False), norm(), layers.ReLU()])
    return layers.Add()([block(x), block(layers.ReLU()(x))])


def dead_input(x):
    layer = norm()
    x = layers.Conv2D(3, 3)(layer(x))
    layer.gamma.assign([0, 1, 1, 1])
    return x


# From images (8, 8, 4) to anything; the constant multiplies and adds that are left of it.
FOLDABLE = {
    "convolution": (lambda x: layers.Conv2D(3, 3)(norm()(x)), []),
    "groups": (lambda x: layers.Conv2D(6, 3, groups=2)(norm()(x)), []),
    "stride and dilation": (lambda x: layers.Conv2D(3, 2, dilation_rate=2)(norm()(x)), []),
    "1x1": (lambda x: layers.Conv2D(3, 1, strides=2, padding="same")(norm()(x)), []),
    "padding": (lambda x: layers.Conv2D(3, 3, padding="same")(norm()(x)), ["add"]),
    "padding without offset": (lambda x: layers.Conv2D(3, 3, padding="same")(layers.Rescaling(0.1)(x)), []),
    "padding before": (lambda x: layers.Conv2D(3, 3)(layers.ZeroPadding2D(1)(norm()(x))), ["add"]),
    "no bias": (lambda x: layers.Conv2D(3, 3, use_bias=False)(norm()(x)), ["add"]),
    "both sides": (lambda x: norm()(layers.Conv2D(3, 3, use_bias=False)(norm()(x))), []),
    "both sides, bias": (lambda x: norm()(layers.Conv2D(3, 3)(norm()(x))), []),
    "both sides, no beta": (lambda x: norm(center=False)(layers.Conv2D(3, 3)(norm(scale=False)(x))), []),
    "depthwise": (lambda x: layers.DepthwiseConv2D(3, depth_multiplier=2)(norm()(x)), []),
    "separable": (lambda x: layers.SeparableConv2D(5, 3)(norm()(x)), ["add"]),
    "transposed": (lambda x: norm()(layers.Conv2DTranspose(5, 3, strides=2)(norm()(x))), ["add"]),
    "dense": (lambda x: layers.Dense(3)(norm()(keras.ops.mean(x, axis=(1, 2)))), []),
    "flattened": (lambda x: layers.Dense(3)(layers.Flatten()(norm()(x))), []),
    "sequence": (lambda x: norm()(layers.Conv1D(3, 3)(norm()(layers.Reshape((64, 4))(x)))), []),
    "chain": (lambda x: layers.Conv2D(3, 3)(norm()(layers.Rescaling(0.5, 1.0)(x) * 3.0 - 1.0)), []),
    "two norms": (lambda x: layers.ReLU()(norm()(norm()(layers.Rescaling(2.0)(x)))), ["multiply", "add"]),
    "two readers": (two_readers, []),
    "norm is the output": (lambda x: norm()(x), ["multiply", "add"]),
    "dead input": (dead_input, ["multiply", "add"]),
    "shared convolution": (shared_convolution, []),
    "shared norm": (shared_norm, []),
    "shared block": (shared_block, []),
    "behind a convolution": (lambda x: layers.Rescaling(2.0, -1.0)(layers.Conv2D(3, 3)(x)), []),
    "behind one without a bias": (lambda x: layers.Rescaling(2.0, -1.0)(layers.Conv2D(3, 3, use_bias=False)(x)), []),
    "behind a normalization": (lambda x: layers.Rescaling(2.0, -1.0)(norm()(layers.DepthwiseConv2D(3)(x))), []),
    "behind a transposed": (lambda x: 0.5 - layers.Conv2DTranspose(3, 4, use_bias=False)(x), []),
    "second norm": (lambda x: layers.ReLU()(norm()(norm()(layers.Conv2D(3, 3)(x)))), []),
    "between, with padding": (lambda x: layers.Conv2D(3, 3, padding="same")(layers.Conv2D(3, 3)(x) * 2.0 + 1.0), []),
    "activation between": (lambda x: layers.Conv2D(3, 3)(layers.ReLU()(norm()(x))), ["multiply", "add"]),
}


@pytest.mark.parametrize("case", FOLDABLE)
def test_constants_are_folded_where_that_is_exact_and_led_back(case: str, worker: Worker) -> None:
    function, left = FOLDABLE[case]
    random = np.random.default_rng(0)
    image = layers.Input((8, 8, 4))
    model = keras.Model(image, function(image))
    for variable in model.weights:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(variable * random.uniform(0.5, 1.5, variable.shape).astype(np.float32))
        else:
            variable.assign(random.normal(0, 0.3, variable.shape))
    samples = [random.normal(size=(3, 8, 8, 4)).astype(np.float32)]
    graph = read_graph(model)
    folds = simplify(graph)
    assert [op.kind for op in graph.operations.values() if op.weights and op.kind in ("multiply", "add")] == left
    expected = keras_outputs(model, samples)
    assert relative_rms(expected, worker.evaluate(graph, graph.outputs, samples)) <= 1e-5

    trained = train(graph)
    carry_back(graph, folds)
    found = keras_outputs(model, samples)
    assert relative_rms(found, worker.evaluate(graph, graph.outputs, samples)) <= 1e-5
    assert (relative_rms(expected, found) > 1e-3) == bool(trained)


def train(graph: Graph) -> list[str]:
    """Change what fine-tuning may change, tied weights alike; the names of the weights."""
    random = np.random.default_rng(2)
    weights = graph.weights()
    changed: dict[str, np.ndarray] = {}
    for operation in graph.operations.values():
        for role in operation.trainable:
            name = f"{operation.name}:{role}"
            factor = random.uniform(0.8, 1.2, weights[name].shape).astype(np.float32)
            changed[name] = changed.get(f"{operation.tied}:{role}", weights[name] * factor)
    graph.set_weights(changed)
    return list(changed)


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
    found = keras_outputs(model, samples)
    assert relative_rms(found, worker.evaluate(graph, graph.outputs, samples)) <= 1e-5
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
        keras.ops.convert_to_numpy(keras.ops.softmax(logits)), keras_outputs(model, samples)[0], atol=1e-6
    )


def test_a_repeated_softmax_is_cut_from_both_outputs() -> None:
    image = layers.Input((4,))
    logits = layers.Dense(3, name="dense")(image)
    graph = read_graph(keras.Model(image, [layers.Softmax()(logits), layers.Softmax()(logits)]))
    simplify(graph)
    assert cut_softmax(graph)
    assert graph.outputs == ["dense", "dense"]


def test_quantization_aware_training_goes_through_folds_in_both_directions(tmp_path: Path, worker: Worker) -> None:
    keras.utils.set_random_seed(0)
    image = layers.Input((16, 16, 3))
    x = layers.Conv2D(8, 3)(norm()(layers.Rescaling(2.0, -1.0)(image)))
    x = layers.Conv2DTranspose(6, 3, strides=2, use_bias=False)(layers.PReLU(shared_axes=[1, 2])(x))
    x = layers.Reshape((29 * 29, 6))(layers.ReLU()(norm()(x)))
    x = layers.MaxPooling1D(4)(layers.ReLU()(norm()(layers.Conv1D(8, 3, use_bias=False)(x))))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling1D()(x)))
    images = smooth_images((16, 16, 3), 48)
    labels = np.digitize(images.mean(axis=(1, 2, 3)), [0.49, 0.51])
    qat = FineTuning.on_arrays(images[:32], labels[:32], batch_size=8, epochs=2)
    report = export_tflite(
        model,
        tmp_path / "small.tflite",
        "int8",
        calibration=images[:16],
        evaluation=(images[32:], labels[32:]),
        qat=qat,
        gate=False,
        worker=worker,
    )
    assert report.fully_integer
    assert report.requantizations == 0
    assert report.parity["sqnr_db"] > 10
    carried = keras.saving.load_model(report.keras_model)
    changed = [
        type(layer).__name__
        for layer, trained in zip(model.layers, carried.layers, strict=True)
        if any(np.any(a != b) for a, b in zip(layer.get_weights(), trained.get_weights(), strict=True))
    ]
    assert changed == ["Conv2D", "Conv2DTranspose", "BatchNormalization", "Conv1D", "BatchNormalization", "Dense"]


def repeating() -> keras.Model:
    """Does the same to one tensor in four places, of which two are outputs."""
    keras.utils.set_random_seed(0)
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv")(image)
    relus = [layers.ReLU(name=f"relu_{name}")(x) for name in "abcd"]
    pools = [layers.MaxPooling2D(name=f"pool_{name}")(relu) for name, relu in zip("ab", relus, strict=False)]
    x = layers.Add()([layers.Conv2D(4, 1, name=f"conv_{i}")(pool) for i, pool in enumerate(pools)])
    return keras.Model(image, [layers.Dense(5, name="dense")(layers.Flatten()(x)), *relus[2:]])


def test_repeats_become_one(tmp_path: Path, worker: Worker) -> None:
    model = repeating()
    graph = read_graph(model)
    folds = simplify(graph)
    assert {fold.operation.name: fold.absorbed for fold in folds} == {
        "relu_a": ["relu_b", "relu_c", "relu_d"],
        "pool_a": ["pool_b"],
    }
    assert graph.outputs == ["dense", "relu_a", "relu_a"]
    samples = [np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype(np.float32)]
    expected = keras_outputs(model, samples)
    assert relative_rms(expected, worker.evaluate(graph, graph.outputs, samples)) <= 1e-5
    export_tflite(model, tmp_path / "a.tflite", worker=worker)
    assert relative_rms(expected, Interpreter(tmp_path / "a.tflite").run(samples)) <= 1e-5


def test_repeats_are_trained_in_8_bits_as_one(tmp_path: Path, worker: Worker) -> None:
    images = smooth_images((8, 8, 3), 64)
    training = FineTuning.on_arrays(images, None, batch_size=8, epochs=2, distill=True)
    report = export_tflite(
        repeating(), tmp_path / "a.tflite", "int8", qat=training, calibration=images, gate=False, worker=worker
    )
    assert report.fully_integer
    assert report.ops["MAX_POOL_2D"] == 1
    carried = keras.saving.load_model(report.keras_model)
    moved = [np.any(carried.get_layer(f"conv_{i}").kernel != repeating().get_layer(f"conv_{i}").kernel) for i in (0, 1)]
    assert moved == [True, True]


def test_a_repeat_is_kept_in_float_by_its_own_name(tmp_path: Path, worker: Worker) -> None:
    images = smooth_images((8, 8, 3), 64)
    report = export_tflite(
        repeating(),
        tmp_path / "a.tflite",
        "int8",
        keep_float=["pool_b"],
        calibration=images,
        gate=False,
        worker=worker,
    )
    assert "pool_a" in report.keep_float["operations"]
