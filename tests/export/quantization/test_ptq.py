"""Int8 without training, our way: rounding, learning, and that nothing gets worse."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from export import FineTuning, InputError, PostTraining, Worker, export_tflite
from export.data.samples import smooth_images
from export.frontend.read import read_graph
from export.ir.graph import Graph
from export.passes.simplify import simplify
from export.quantization.ptq import CALIBRATION_ALONE, tune
from export.quantization.qat import train_quantized
from export.quantization.ranges import calibrations
from export.quantization.scales import runnable
from export.tflite_file.interpreter import Interpreter
from export.worker.protocol import RoundWeights
from keras_classics.datasets.parts import Dataset


def correlated(count: int, channels: int) -> np.ndarray:
    """Images whose channels move together and have a mean."""
    random = np.random.default_rng(0)
    common = random.normal(1.0, 1.0, (count, 6, 6, 1))
    return (common + 0.2 * random.normal(size=(count, 6, 6, channels))).astype(np.float32)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(
    "layer",
    [
        lambda bias: layers.Conv2D(8, 3, groups=2, use_bias=bias, name="it"),
        lambda bias: layers.DepthwiseConv2D(3, padding="same", strides=2, use_bias=bias, name="it"),
        lambda bias: layers.Dense(8, use_bias=bias, name="it"),
    ],
)
def test_rounded_kernels_change_the_output_less_than_nearest_ones(
    layer: Callable[..., Any], use_bias: bool, worker: Worker
) -> None:
    keras.utils.set_random_seed(0)
    image = layers.Input((6, 6, 16), name="image")
    graph = read_graph(keras.Model(image, layer(use_bias)(image)))
    samples = [correlated(32, 16)]
    (expected,) = worker.evaluate(graph, ["it"], samples)
    kernel = graph.operations["it"].weights["kernel"]
    steps = np.abs(kernel).max((0, 1) if kernel.ndim == 4 and kernel.shape[3] == 1 else tuple(range(kernel.ndim - 1)))
    shaped = steps.reshape(kernel.shape[2:]) if kernel.ndim == 4 and kernel.shape[3] == 1 else steps
    errors = {}
    for name, given in (("nearest", []), ("rounded", samples)):
        candidate = graph.copy()
        candidate.set_weights(worker.run(RoundWeights(candidate, ["it"], given)).arrays)
        whole = candidate.operations["it"].weights["kernel"] / shaped * 127
        np.testing.assert_allclose(whole, np.round(whole), atol=1e-3)
        greatest = (
            np.abs(whole).max(axis=tuple(range(whole.ndim - 1))) if shaped is steps else np.abs(whole).max((0, 1))
        )
        np.testing.assert_allclose(greatest, 127, atol=1e-3)
        errors[name] = np.square(worker.evaluate(candidate, ["it"], samples)[0] - expected).mean()
    assert errors["rounded"] < 0.75 * errors["nearest"]


def test_constant_inputs_are_no_obstacle(worker: Worker) -> None:
    image = layers.Input((6, 6, 4), name="image")
    graph = read_graph(keras.Model(image, layers.Conv2D(4, 3, name="it")(image)))
    weights = worker.run(RoundWeights(graph, ["it"], [np.full((8, 6, 6, 4), 1e4, np.float32)])).arrays
    assert all(np.isfinite(array).all() for array in weights.values())


def read(model: keras.Model) -> Graph:
    graph = read_graph(model)
    simplify(graph)
    return graph


def test_the_given_graph_stays_and_every_step_is_judged(lenet: keras.Model, mnist: Dataset, worker: Worker) -> None:
    graph = read(lenet)
    before = {name: array.copy() for name, array in graph.weights().items()}
    samples = [mnist.calibration.images(slice(64))]
    tuned = tune(graph, worker, samples, (0.0, 1.0))
    for name, array in graph.weights().items():
        np.testing.assert_array_equal(array, before[name])
    scores = tuned.record["held_out_sqnr_db"]
    assert set(scores) == {"calibrated", "learned", "nearest", "rounded"}
    assert scores["rounded"] > scores["nearest"]
    assert ("learned" in tuned.record["taken"]) == (scores["learned"] > scores["calibrated"])
    assert "rounded" in tuned.record["taken"]
    assert runnable(tuned.graph, tuned.ranges) == tuned.ranges
    again = tune(graph, worker, samples, (0.0, 1.0), steps=CALIBRATION_ALONE)
    assert set(again.record["held_out_sqnr_db"]) == {"calibrated"}
    assert (
        again.ranges
        == calibrations(graph, worker, [samples[0][np.arange(64) % 4 != 3]], (0.0, 1.0))[again.record["ranges"]]
    )


def test_scales_that_xnnpack_refuses_are_widened(
    lenet: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker
) -> None:
    graph = read(lenet)
    ranges = calibrations(graph, worker, [mnist.calibration.images(slice(8))], None)["mean"]
    assert runnable(graph, ranges) == ranges
    narrow = dict(ranges) | {"f6/1": (-1e-5, 1e-5), "predictions": (0.0, 1e-12)}
    wide = runnable(graph, narrow)
    assert {name for name in ranges if wide[name] != narrow[name]} == {"f6/1", "predictions"}
    assert runnable(graph, wide) == wide
    assert wide["f6/1"][0] == -wide["f6/1"][1] < -1e-5
    for name, candidate in (("narrow", narrow), ("wide", wide)):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(worker.convert(graph, "int8", "int8", ranges=candidate))
    with pytest.raises(InputError, match="XNNPACK"):
        Interpreter(tmp_path / "narrow.tflite")
    assert Interpreter(tmp_path / "wide.tflite").outputs


def test_widened_ranges_stay_shared(worker: Worker) -> None:
    """A pool's output has its input's range, and what reads it is checked with the wider one."""
    image = layers.Input((8, 8, 3), name="image")
    x = layers.AveragePooling2D(2, name="pool")(layers.Conv2D(4, 3, name="first")(image))
    graph = read(keras.Model(image, layers.Conv2D(2, 2, name="last")(x)))
    narrow = {"image": (0.0, 1.0), "first": (-1e-6, 2e-6), "pool": (-1e-6, 2e-6), "last": (-1e-12, 1e-12)}
    wide = runnable(graph, narrow)
    assert wide["first"] == wide["pool"]
    assert wide["first"][1] == -2 * wide["first"][0] > 2e-6
    assert wide["last"][1] > 1e-12
    assert runnable(graph, wide) == wide
    assert runnable(graph, narrow, keep_float={"first", "last"}) == narrow


@pytest.mark.parametrize("structured", [True, False])
def test_trained_ranges_are_ones_that_xnnpack_takes(structured: bool, tmp_path: Path, worker: Worker) -> None:
    keras.utils.set_random_seed(0)
    image = layers.Input((8, 8, 3), name="image")
    x = layers.ReLU(name="relu")(layers.DepthwiseConv2D(3, name="depthwise")(image))
    graph = read(keras.Model(image, layers.Dense(3, name="logits")(layers.Flatten(name="flat")(x))))
    images = smooth_images((8, 8, 3), 16)
    narrow = dict(calibrations(graph, worker, [images], (0.0, 1.0))["mean"]) | {"relu": (0.0, 1e-5)}
    training = FineTuning.on_arrays(images, np.arange(16) % 3, batch_size=8, epochs=1, learning_rate=1e-6)
    trained = graph.copy()
    ranges, _ = train_quantized(trained, worker, narrow, frozenset(), training, graph, preserve_sparsity=structured)
    assert ranges["relu"][1] > 1e-5
    assert runnable(trained, ranges) == ranges
    path = tmp_path / "a.tflite"
    path.write_bytes(worker.convert(trained, "int8", "int8", ranges=ranges))
    assert Interpreter(path).outputs


def test_tuned_is_closer_to_the_model_than_the_converters_way(
    lenet: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker
) -> None:
    options = {"calibration": mnist.calibration.images(), "worker": worker}
    options["evaluation"] = (mnist.test.images(), mnist.test.labels)
    plain = export_tflite(lenet, tmp_path / "plain.tflite", "int8", ptq="plain", **options)
    tuned = export_tflite(lenet, tmp_path / "tuned.tflite", "int8", **options)
    assert tuned.parity["sqnr_db"] > plain.parity["sqnr_db"] - 1
    assert tuned.ops == plain.ops
    assert abs(tuned.size_bytes / plain.size_bytes - 1) < 0.02


def uneven() -> keras.Model:
    """A linear bottleneck whose channels lie around means that are far apart."""
    keras.utils.set_random_seed(0)
    image = layers.Input((6, 6, 4), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="bottleneck")(image)
    x = layers.ReLU(6, name="clipped")(layers.Conv2D(16, 1, name="expand")(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    model = keras.Model(image, layers.Dense(5, name="logits")(layers.GlobalAveragePooling2D(name="pool")(x)))
    kernel, _ = model.get_layer("bottleneck").get_weights()
    means = np.array([20, -20] * 4)
    model.get_layer("bottleneck").set_weights([kernel, means])
    kernel, _ = model.get_layer("expand").get_weights()
    model.get_layer("expand").set_weights([kernel, -means @ kernel[0, 0]])
    return model


def test_centered_and_learned_channels_leave_what_the_graph_computes(worker: Worker) -> None:
    graph = read(uneven())
    samples = [correlated(64, 4)]
    before = graph.weights()
    steps = PostTraining(equalize=False, learn=False, round_weights=False)
    centered = tune(graph, worker, samples, None, steps=steps)
    scores = centered.record["held_out_sqnr_db"]
    assert centered.record["taken"] == ["centered"]
    assert scores["centered"] > scores["calibrated"] + 3
    learned = tune(graph, worker, samples, None, steps=PostTraining(round_weights=False))
    assert learned.record["held_out_sqnr_db"]["learned"] > learned.record["held_out_sqnr_db"]["calibrated"]
    assert learned.record["taken"][-1] == "learned"
    (expected,) = worker.evaluate(graph, ["logits"], samples)
    for tuned, most in ((centered, 1e-5), (learned, 0.02)):
        assert tuned.unrounded is not None
        after = tuned.unrounded.weights()
        assert not np.allclose(after["expand:bias"], before["expand:bias"], rtol=0.01)
        (found,) = worker.evaluate(tuned.unrounded, ["logits"], samples)
        assert np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()) < most


def test_distillation_needs_no_labels_and_leads_back(
    lenet: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker
) -> None:
    images = mnist.train.images(slice(512))
    qat = FineTuning.on_arrays(images, None, batch_size=32, epochs=1, distill=True)
    evaluation = (mnist.test.images(slice(300)), mnist.test.labels[:300])
    calibration = mnist.calibration.images(slice(64))
    path = tmp_path / "distilled.tflite"
    report = export_tflite(lenet, path, "int8", calibration=calibration, evaluation=evaluation, qat=qat, worker=worker)
    assert report.qat["distilled"]
    assert report.fully_integer
    assert report.parity["sqnr_db"] > 25
    back = keras.saving.load_model(report.keras_model)
    expected = np.asarray(back(evaluation[0]))
    (found,) = Interpreter(path).run([evaluation[0]])
    assert (expected.argmax(1) == found.argmax(1)).mean() >= 0.99
    with pytest.raises(InputError, match="without targets needs distill=True"):
        FineTuning.on_arrays(images, None).prepared(read(lenet))


def test_photos_are_changed_anew_in_each_epoch() -> None:
    photos = smooth_images((16, 16, 3), 20)
    training = FineTuning.on_photos(photos)
    assert (training.steps_per_epoch, training.epochs, training.distill) == (2, 900, True)
    epochs = [list(training.batches(epoch)) for epoch in (0, 1, 0)]
    assert all(labels is None and images.shape == (8, 16, 16, 3) for epoch in epochs for images, labels in epoch)
    first, other, again = (np.concatenate([images for images, _ in epoch]) for epoch in epochs)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01
    assert photos.min() <= first.min()
    assert first.max() <= photos.max()
    assert not any(np.array_equal(image, photo) for image in first for photo in photos)


def test_the_first_samples_of_a_training_go_over_epochs_and_end_with_it() -> None:
    photos = smooth_images((16, 16, 3), 20)
    training = FineTuning.on_arrays(photos, None, batch_size=8, epochs=2, distill=True)
    batches = [images for epoch in (0, 1) for images, *_ in training.batches(epoch)]
    image = layers.Input((16, 16, 3))
    graph = read_graph(keras.Model(image, layers.Flatten()(image)))
    (some,) = training.samples(graph, 21)
    np.testing.assert_array_equal(some, np.concatenate(batches)[:21])
    (everything,) = training.samples(graph, 1000)
    np.testing.assert_array_equal(everything, np.concatenate(batches))


@pytest.mark.parametrize("shape", [(16, 16, 3), (0, 16, 16, 3)])
def test_what_is_no_batch_of_photos_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="give \\(N, height, width, channels\\)"):
        FineTuning.on_photos(np.zeros(shape, np.float32))
