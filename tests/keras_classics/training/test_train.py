"""Training: what it learns, that it can be repeated and resumed, what it writes, and bad input."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_classics import train, weights
from keras_classics.datasets import data
from keras_classics.datasets.augment import Augmentation
from keras_classics.datasets.parts import Part
from keras_classics.errors import InputError
from keras_classics.training import fitting
from keras_classics.training.checkpoint import Checkpoint

SMALL = ["lenet5", "--data", "digits", "--input-shape", "16", "16", "1"]


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread():
    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", (8, 8, 1))


@pytest.fixture(scope="module")
def few_digits(digits):
    """Four batches of training images and an odd number of validation images."""
    first = {"train": 256, "validation": 37}
    return replace(digits, **{name: head(getattr(digits, name), count) for name, count in first.items()})


def head(part, count):
    return Part(part.labels[:count], part.source)


def network(activation="softmax", seed=0):
    """A small net with all that a training must remember: batch statistics, dropout's random state."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Conv2D(8, 3),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10, activation),
        ],
        name="network",
    )


def values(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(values(first), values(second), strict=True))


def test_an_epoch_has_every_image_once_in_an_order_that_the_seed_decides(digits):
    def labels_and_means(seed):
        return [(images.mean((1, 2, 3)), labels) for images, labels in train.batches(digits.validation, 20, seed)]

    means = np.concatenate([mean for mean, _ in labels_and_means([0, 0])])
    np.testing.assert_allclose(np.sort(means), np.sort(digits.validation.images().mean((1, 2, 3))))
    again = np.concatenate([mean for mean, _ in labels_and_means([0, 0])])
    other = np.concatenate([mean for mean, _ in labels_and_means([0, 1])])
    np.testing.assert_array_equal(means, again)
    assert not np.array_equal(means, other)


def test_images_and_labels_stay_together(digits):
    found = {
        image.tobytes(): label
        for images, labels in train.batches(digits.validation, 10, 0)
        for image, label in zip(images, labels, strict=True)
    }
    for image, label in zip(digits.validation.images(), digits.validation.labels, strict=True):
        assert found[image.tobytes()] == label


def test_all_batches_have_one_size_and_the_rest_waits(digits):
    sizes = [(len(images), len(labels)) for images, labels in train.batches(digits.validation, 32, 0)]
    assert sizes == [(32, 32)] * 3


def test_augmentation_changes_images_and_not_labels(digits):
    plain = list(train.batches(digits.validation, 50, 3))
    changed = list(train.batches(digits.validation, 50, 3, Augmentation(shift=0.2)))
    for (images, labels), (new_images, new_labels) in zip(plain, changed, strict=True):
        np.testing.assert_array_equal(labels, new_labels)
        assert not np.array_equal(images, new_images)


@pytest.mark.backends
def test_training_learns(digits):
    model = network()
    history = train.fit(model, digits, epochs=8, progress=False)
    assert history["loss"][-1] < history["loss"][0] / 3
    assert history["val_accuracy"][-1] > 0.9
    assert train.accuracy(model, digits.test) > 0.9


@pytest.mark.backends
def test_the_same_seed_gives_the_same_weights_and_another_does_not(few_digits):
    models = []
    for seed in (1, 1, 2):
        models.append(network(seed=seed))
        train.fit(models[-1], few_digits, epochs=2, seed=seed, progress=False)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


@pytest.mark.backends
@pytest.mark.parametrize("precision", [None, "bfloat16"])
def test_a_resumed_training_ends_as_one_that_was_not_interrupted(few_digits, tmp_path, precision):
    recipe = {"epochs": 4, "seed": 1, "progress": False, "mixed_precision": precision}
    whole, first_half, second_half = (network(seed=1) for _ in range(3))
    expected = train.fit(whole, few_digits, **recipe)

    class Interrupted(Checkpoint):
        def save(self, model, history):
            super().save(model, history)
            if len(history["loss"]) == 2:
                signal.raise_signal(signal.SIGINT)

    checkpoint = tmp_path / "checkpoint.npz"
    with pytest.raises(KeyboardInterrupt):
        train.fit(first_half, few_digits, checkpoint=Interrupted(checkpoint, {"a": 1}), **recipe)
    assert not same(whole, first_half)
    history = train.fit(second_half, few_digits, checkpoint=Checkpoint(checkpoint, {"a": 1}), resume=True, **recipe)
    assert history == expected
    assert same(whole, second_half)


@pytest.mark.backends
def test_ctrl_c_in_the_middle_of_an_epoch_leaves_the_checkpoint_of_the_last_whole_one(few_digits, tmp_path):
    class Interrupting:
        reads = 0

        def pixels(self, indices):
            self.reads += 1
            if self.reads == 22:  # in the sixth epoch, or the fifth: TensorFlow reads ahead
                os.kill(os.getpid(), signal.SIGINT)
            return few_digits.train.source.pixels(indices)

    part = Part(few_digits.train.labels, Interrupting())
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", {})
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train.fit(network(), replace(few_digits, train=part), epochs=9, checkpoint=checkpoint, progress=False)
    assert signal.getsignal(signal.SIGINT) is handler
    model = network()
    fitting.compile_for_training(model, 36, 1e-3)
    assert len(checkpoint.restore(model)["loss"]) in (3, 4, 5)


def test_resuming_after_the_last_epoch_trains_no_more(few_digits, tmp_path):
    recipe = {"epochs": 1, "progress": False, "checkpoint": Checkpoint(tmp_path / "checkpoint.npz", {})}
    first, second = network(), network(seed=5)
    expected = train.fit(first, few_digits, **recipe)
    assert train.fit(second, few_digits, resume=True, **recipe) == expected
    assert same(first, second)


def test_a_checkpoint_of_other_settings_or_half_of_one_is_refused(few_digits, tmp_path):
    recipe = {"epochs": 1, "progress": False}
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", {"learning_rate": 0.1})
    train.fit(network(), few_digits, checkpoint=checkpoint, **recipe)
    other = Checkpoint(checkpoint.path, {"learning_rate": 0.2})
    with pytest.raises(InputError, match=r"written with learning rate 0\.1 and not 0\.2; resume with its settings"):
        train.fit(network(), few_digits, checkpoint=other, resume=True, **recipe)
    whole = checkpoint.path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"something else"):
        checkpoint.path.write_bytes(content)
        with pytest.raises(InputError, match=r"checkpoint\.npz is not a whole checkpoint"):
            train.fit(network(), few_digits, checkpoint=checkpoint, resume=True, **recipe)


@pytest.mark.backends
@pytest.mark.parametrize("count", [1, 255, 256, 257])
def test_accuracy_counts_every_image_once(digits, count):
    model, part = network(), head(digits.train, count)
    scores = keras.ops.convert_to_numpy(model(part.images(), training=False))
    assert train.accuracy(model, part) == np.mean(scores.argmax(1) == part.labels)


@pytest.mark.backends
def test_logits_and_probabilities_are_trained_alike(few_digits):
    histories = []
    for activation in ("softmax", None):
        histories.append(train.fit(network(activation), few_digits, epochs=2, learning_rate=1e-3, progress=False))
    np.testing.assert_allclose(histories[0]["val_loss"], histories[1]["val_loss"], rtol=1e-3)


@pytest.mark.backends
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_computes_in_16_bits_and_leaves_a_float32_model(few_digits, precision, tmp_path):
    model = network()
    seen = []

    class Looking(Checkpoint):
        def save(self, model, history):
            seen.extend(layer.compute_dtype for layer in model.layers)

    history = train.fit(
        model,
        few_digits,
        epochs=2,
        mixed_precision=precision,
        checkpoint=Looking(tmp_path / "checkpoint.npz", {}),
        progress=False,
    )
    assert set(seen[:-1]) == {precision, "float32"}
    assert seen[0] == precision
    assert seen[len(model.layers) - 1] == "float32"
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert history["loss"][1] < history["loss"][0]
    images = few_digits.validation.images()
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    np.testing.assert_allclose(fitting.predict(model, few_digits.validation), expected, atol=1e-5)


def test_batch_normalization_bears_a_larger_rate():
    plain = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    assert fitting.default_learning_rate(network()) > fitting.default_learning_rate(plain)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, r"epochs is 0; it takes a whole number of at least 1"),
        ({"epochs": 1, "batch_size": 0}, r"batch size is 0"),
        ({"epochs": 1, "learning_rate": 0.0}, r"learning rate is 0\.0; it takes a number above 0"),
        ({"epochs": 1, "learning_rate": float("nan")}, r"learning rate is nan"),
        ({"epochs": 2, "learning_rate": 1e30}, r"the loss is (nan|inf) in epoch \d; use a lower learning rate"),
    ],
)
def test_senseless_arguments_are_refused(few_digits, arguments, message):
    with pytest.raises(InputError, match=message):
        train.fit(network(), few_digits, progress=False, **arguments)


def test_a_model_that_does_not_fit_the_data_is_refused(few_digits):
    def model(shape, classes, outputs=1):
        image = keras.layers.Input(shape)
        heads = [keras.layers.Dense(classes + i)(keras.layers.Flatten()(image)) for i in range(outputs)]
        return keras.Model(image, heads, name="odd")

    for wrong, message in (
        (model((8, 8, 3), 10), r"odd takes images of shape \(8, 8, 3\) and digits has \(8, 8, 1\)"),
        (model((64,), 10), r"odd takes images of shape \(64,\)"),
        (model((8, 8, 1), 3), r"odd has 3 outputs and digits 10 classes"),
        (model((8, 8, 1), 10, outputs=2), r"odd has 1 inputs and 2 outputs"),
    ):
        with pytest.raises(InputError, match=message):
            train.fit(wrong, few_digits, epochs=1, progress=False)


@pytest.mark.backends
def test_an_image_that_vanishes_during_training_is_named(few_digits):
    class Vanishing:
        def pixels(self, indices):
            raise InputError("gone.png cannot be read as an image")

    broken = replace(few_digits, train=Part(few_digits.train.labels, Vanishing()))
    with pytest.raises(InputError, match=r"^gone\.png cannot be read as an image$"):
        train.fit(network(), broken, epochs=1, progress=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished training."""
    output = tmp_path_factory.mktemp("run") / "new" / "folder"
    assert train.main([*SMALL, "--epochs", "2", "--output", str(output)]) == 0
    return output


def test_a_run_leaves_these_files_and_no_others(run):
    assert sorted(path.name for path in run.iterdir()) == [
        "history.csv",
        "history.png",
        "model.keras",
        "model.preprocess.json",
        "run.json",
    ]
    assert (run / "history.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((run / "model.preprocess.json").read_text()) == {
        "input_range": [0, 1],
        "image_shape": [16, 16, 1],
        "class_names": list("0123456789"),
    }


def test_the_record_agrees_with_the_model_beside_it(run):
    import hashlib

    record = json.loads((run / "run.json").read_text())
    digits = data.load("digits", (16, 16, 1))
    model = weights.load_model(run / "model.keras")
    assert record["model_sha256"] == hashlib.sha256((run / "model.keras").read_bytes()).hexdigest()
    assert record["test_accuracy"] == train.accuracy(model, digits.test)
    assert record["images"] == {"train": 1237, "validation": 100, "calibration": 100, "test": 360}
    assert record["settings"]["data_digests"]["test"] == digits.test.digest()
    assert record["settings"]["backend"] == keras.backend.backend()
    with (run / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["val_accuracy"]) == record["validation_accuracy"]


def test_a_saved_model_holds_no_optimizer(run):
    model = weights.load_model(run / "model.keras")
    assert (run / "model.keras").stat().st_size < 1.5 * 4 * model.count_params() + 50_000


def test_training_goes_on_from_a_keras_file(run, tmp_path):
    arguments = [str(run / "model.keras"), "--data", "digits", "--epochs", "1", "--learning-rate", "1e-9"]
    assert train.main([*arguments, "--output", str(tmp_path)]) == 0
    before, after = (json.loads((folder / "run.json").read_text()) for folder in (run, tmp_path))
    assert after["test_accuracy"] == before["test_accuracy"]


def test_constructor_arguments_and_weights_reach_the_model(run, tmp_path):
    arguments = [*SMALL, "--epochs", "1", "--learning-rate", "1e-9", "--weights", str(run / "model.keras")]
    assert train.main([*arguments, "--model-argument", "name=mine", "--output", str(tmp_path)]) == 0
    assert weights.load_model(tmp_path / "model.keras").name == "mine"
    before, after = (json.loads((folder / "run.json").read_text()) for folder in (run, tmp_path))
    assert after["test_accuracy"] == before["test_accuracy"]


def test_ctrl_c_leaves_the_old_model_and_resuming_gives_the_uninterrupted_result(run, tmp_path, monkeypatch, capsys):
    arguments = [*SMALL, "--epochs", "2", "--output", str(tmp_path)]
    (tmp_path / "model.keras").write_text("an earlier model")
    save = Checkpoint.save

    def save_then_interrupt(self, model, history):
        save(self, model, history)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Checkpoint, "save", save_then_interrupt)
    assert train.main(arguments) == 130
    error = capsys.readouterr().err
    assert "stopped by Ctrl-C; nothing half-written is left, and --resume goes on" in error
    assert error.count("\n") == 1
    assert (tmp_path / "model.keras").read_text() == "an earlier model"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.npz", "model.keras"]

    monkeypatch.undo()
    assert train.main([*arguments, "--resume"]) == 0
    assert (tmp_path / "history.csv").read_text() == (run / "history.csv").read_text()
    assert same(*(weights.load_model(folder / "model.keras") for folder in (run, tmp_path)))
    assert not (tmp_path / "checkpoint.npz").exists()


def test_resuming_a_finished_run_trains_nothing(run, monkeypatch, capsys):
    monkeypatch.setattr(train, "fit", None)
    assert train.main([*SMALL, "--epochs", "2", "--output", str(run), "--resume"]) == 0
    assert "holds this training's result already" in capsys.readouterr().out
    assert train.main([*SMALL, "--epochs", "3", "--output", str(run), "--resume"]) == 2
    assert "was written with epochs 2 and not 3" in capsys.readouterr().err


def complaint(arguments, capsys):
    """The one line that the command says, without training anything."""
    capsys.readouterr()
    assert train.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenet55"], "unknown model 'lenet55'; did you mean lenet5"),
        (["lenet5", "--data", "mnits"], "unknown dataset 'mnits'"),
        (["lenet5", "--data", "./none"], "none is not a folder"),
        ([*SMALL, "--epochs", "0"], "epochs is 0"),
        ([*SMALL, "--classes", "7"], "--classes is 7 and digits has 10 classes; leave it out"),
        (["lenet5", "--data", "digits", "--input-shape", "8", "8", "1"], "input of 8×8 pixels is too small"),
        (["lenet5", "--data", "digits", "--input-shape", "32", "32", "3"], "use 32×32×1"),
        (["lenet5", "--data", "digits", "--input-shape", "0", "32", "1"], "it takes three positive integers"),
        ([*SMALL, "--model-argument", "alpha"], "--model-argument 'alpha': it takes KEY=VALUE"),
        ([*SMALL, "--model-argument", "alpha=1"], "unknown argument of lenet5 'alpha'"),
        ([*SMALL, "--model-argument", "seed=1"], "use --seed"),
        ([*SMALL, "--model-argument", "classes=3"], "has 3 outputs and digits 10 classes"),
        ([*SMALL, "--weights", "none.keras"], "none.keras is not a file"),
        ([*SMALL, "--seed", "-1"], "argument --seed"),
        ([*SMALL, "--import", "no_such_module"], "--import no_such_module: No module named 'no_such_module'"),
        (["none.keras"], "none.keras is not a file"),
        (["none.keras", "--weights", "x"], "go with a model's name"),
    ],
)
def test_bad_input_is_told_in_one_line(arguments, message, tmp_path, capsys):
    assert message in complaint([*arguments, "--output", str(tmp_path / "out")], capsys)
    assert not any((tmp_path / "out").rglob("*"))


def test_an_output_that_cannot_be_written_to_is_told_before_training(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    error = complaint([*SMALL, "--output", str(tmp_path / "file")], capsys)
    assert f"{tmp_path / 'file'}: File exists; a file stands where a folder is needed" in error
    assert "Not a directory" in complaint([*SMALL, "--output", str(tmp_path / "file" / "below")], capsys)
    assert "/proc/run" in complaint([*SMALL, "--output", "/proc/run"], capsys)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["checkpoint.npz", "model.keras"])
def test_a_full_disk_leaves_the_old_model(name, tmp_path, capsys):
    (tmp_path / "model.keras").write_text("an earlier model")
    stem, suffix = name.split(".")
    (tmp_path / f".{stem}.{os.getpid()}.partial.{suffix}").symlink_to("/dev/full")
    error = complaint([*SMALL, "--epochs", "1", "--output", str(tmp_path)], capsys)
    assert "No space left on device; free some space there" in error
    assert (tmp_path / "model.keras").read_text() == "an earlier model"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_devices_share_batches_of_any_size(tmp_path):
    pytest.importorskip("jax")
    environment = os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
    command = [sys.executable, "-m", "keras_classics.train", *SMALL, "--epochs", "2", "--output", str(tmp_path)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert json.loads((tmp_path / "run.json").read_text())["test_accuracy"] > 0.5
