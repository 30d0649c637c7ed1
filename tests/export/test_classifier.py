"""`load_classifier` and `keras-classics predict`: preprocessing and names applied, and what bad input is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import keras_classics as kc
from export import InputError, Worker, export_tflite, load_classifier
from keras_classics.__main__ import main

NAMES = ["red", "green", "blue"]


def colours(low: float = 0, high: float = 1, activation: str | None = "softmax") -> keras.Model:
    """Names the colour of a picture whose pixels lie between `low` and `high`."""
    image = layers.Input((16, 16, 3), name="image")
    scores = layers.Dense(3, activation=activation, name="colour")(layers.GlobalAveragePooling2D()(image))
    model = keras.Model(image, scores, name="colours")
    model.get_layer("colour").set_weights([8 / (high - low) * np.eye(3, dtype="float32"), np.zeros(3, "float32")])
    return model


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One picture of each colour, of different sizes and modes, the last turned by its EXIF record."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, name in enumerate(NAMES):
        pixels = np.random.default_rng(index).integers(0, 120, (20 + index, 30, 3), np.uint8)
        pixels[..., index] += 130
        picture = Image.fromarray(pixels)
        if index == 1:
            picture = picture.convert("CMYK")
        exif = picture.getexif()
        exif[0x0112] = 6
        picture.save(folder / f"{index}-{name}.{'jpg' if index else 'png'}", exif=exif)
    (folder / "._0.jpg").write_bytes(b"left by macOS")
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, pictures: Path, worker: Worker) -> tuple[Path, Path]:
    """The model in [-1, 1] as Keras's file, with a record beside it, and in int8."""
    folder = tmp_path_factory.mktemp("files")
    colours(-1, 1).save(folder / "model.keras")
    (folder / "model.preprocess.json").write_text(json.dumps({"input_range": [-1, 1], "class_names": NAMES}))
    blocks = np.kron(np.random.default_rng(0).random((30, 4, 4, 3)), np.ones((1, 4, 4, 1)))
    samples = (blocks + np.eye(3)[np.arange(30) % 3][:, None, None]).astype(np.float32) - 1
    arguments: dict[str, Any] = {"calibration": samples, "input_range": (-1, 1), "class_names": NAMES, "gate": False}
    export_tflite(colours(-1, 1), folder / "model.tflite", "int8", worker=worker, **arguments)
    return folder / "model.keras", folder / "model.tflite"


def test_both_files_name_each_picture(files: tuple[Path, Path], pictures: Path) -> None:
    paths = sorted(pictures.glob("[0-9]*"))
    for file in files:
        found = load_classifier(file).predict(paths, top=2)
        assert [rows[0].name for rows in found] == NAMES
        assert all(len(rows) == 2 and rows[0].probability > rows[1].probability for rows in found)
    exact, rounded = (kc.load_classifier(file).probabilities(paths) for file in files)
    np.testing.assert_allclose(exact.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rounded, exact, atol=0.03)


def test_paths_pictures_and_arrays_are_the_same(files: tuple[Path, Path], pictures: Path) -> None:
    classifier = load_classifier(files[0])
    path = pictures / "0-red.png"
    with Image.open(path) as picture:
        picture.load()
        turned = np.asarray(picture.rotate(-90, expand=True))
        expected = classifier.probabilities(path)
        np.testing.assert_array_equal(classifier.probabilities(Image.fromarray(turned)), expected)
    np.testing.assert_array_equal(classifier.probabilities(turned), expected)
    np.testing.assert_array_equal(classifier.probabilities([turned, turned])[1:], expected)
    square = turned[:16, :16]
    as_floats = classifier.probabilities((square / 255).astype(np.float32)[None])
    np.testing.assert_allclose(as_floats, classifier.probabilities(square), atol=1e-6)


def test_scores_become_probabilities(tmp_path: Path, pictures: Path) -> None:
    path = pictures / "1-green.jpg"
    expected = []
    for name, activation in (("a", "softmax"), ("b", None)):
        colours(activation=activation).save(tmp_path / f"{name}.keras")
        expected.append(load_classifier(tmp_path / f"{name}.keras", input_range="0,1").probabilities(path))
    np.testing.assert_allclose(*expected, atol=1e-6)


def test_a_softmax_of_another_output_makes_no_probabilities_of_scores(
    tmp_path: Path, pictures: Path, worker: Worker
) -> None:
    image = layers.Input((16, 16, 3), name="image")
    x = layers.GlobalAveragePooling2D()(image)
    outputs = {"other": layers.Dense(5, "softmax")(x), "scores": layers.Dense(3, name="colour")(x)}
    model = keras.Model(image, outputs)
    model.get_layer("colour").set_weights([20 * np.eye(3, dtype="float32"), np.full(3, 5, "float32")])
    export_tflite(model, tmp_path / "m.tflite", input_range=(0, 1), class_names=NAMES, worker=worker)
    found = load_classifier(tmp_path / "m.tflite").probabilities(sorted(pictures.glob("[0-9]*")))
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_without_names_classes_are_numbers(tmp_path: Path, pictures: Path) -> None:
    colours().save(tmp_path / "model.keras")
    classifier = load_classifier(tmp_path / "model.keras", input_range="0,1")
    found = classifier.predict(pictures / "2-blue.jpg")[0]
    assert found[0].name == "2"
    assert {each.name for each in found} == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((16, 16, 3), 200.0), "reaches from 200 to 200; give bytes, or floats in"),
        ("nothing.png", "nothing.png cannot be read as an image"),
        ([], "there is no image to name"),
    ],
)
def test_what_is_no_image_is_refused(image: Any, message: str, files: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match=message):
        load_classifier(files[0]).predict(image)


def test_an_unknown_range_is_refused_with_what_would_do(tmp_path: Path) -> None:
    colours().save(tmp_path / "model.keras")
    with pytest.raises(InputError, match=r"nothing says which numbers .*model\.keras takes.*give --input-range"):
        load_classifier(tmp_path / "model.keras")


def test_the_command_tells_both_side_by_side(
    files: tuple[Path, Path], pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", *map(str, files), str(pictures), "--top", "1"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [[line[1], line[3]] for line in lines if line[0].startswith(str(pictures))] == [[name] * 2 for name in NAMES]
    assert main(["predict", str(files[1]), str(pictures / "0-red.png"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["predictions"][str(files[1])][0]["name"] == "red"


def test_the_command_names_all_that_cannot_be_read(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.jpg", "b.heic"):
        (tmp_path / name).write_bytes(b"no image")
    assert main(["predict", str(files[0]), str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: 2 images cannot be read: ")
    assert "a.jpg" in err
    assert "b.heic" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.png"], "no file ends in .keras or .tflite; name the model first"),
        (["no.keras", "a.png"], "no.keras is not a file"),
        (["--top", "0", "no.keras"], "--top is 0"),
    ],
)
def test_bad_words_are_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
