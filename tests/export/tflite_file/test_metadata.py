"""What files say of themselves: it can be read again, MediaPipe classifies by it, and it changes no output."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from keras import layers

import keras_classics as kc
from export import InputError, Report, Worker, export_tflite
from export.tflite_file import metadata
from export.tflite_file.tables import packed, unpacked

NAMES = ["rot", "grün", "sky blue"]
MODES = [("float32", "float32"), ("int8", "int8"), ("int8", "uint8")]


def colours() -> keras.Model:
    """Names the colour of a picture, by its mean."""
    image = layers.Input((16, 16, 3), name="image")
    scores = layers.Dense(3, activation="softmax", name="colour")(layers.GlobalAveragePooling2D(name="mean")(image))
    model = keras.Model(image, scores, name="colours")
    model.get_layer("colour").set_weights([8 * np.eye(3, dtype="float32"), np.zeros(3, "float32")])
    return model


def photos(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures in [0, 1] and their colours."""
    random, labels = np.random.default_rng(0), np.arange(count) % 3
    blocks = np.kron(random.random((count, 4, 4, 3)), np.ones((1, 4, 4, 1)))
    return (0.5 * blocks + 0.5 * np.eye(3)[labels][:, None, None]).astype(np.float32), labels


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, worker: Worker) -> dict[tuple[str, str], Report]:
    """The model in each mode and type, with all that is known of it."""
    folder, (images, labels) = tmp_path_factory.mktemp("metadata"), photos(60)
    return {
        (mode, io): export_tflite(
            colours(),
            folder / f"{mode}-{io}.tflite",
            mode,  # type: ignore[arg-type]
            io=io,
            calibration=images[:30] if mode == "int8" else None,
            evaluation=(images[30:], labels[30:]),
            input_range=(0, 1),
            class_names=NAMES,
            worker=worker,
        )
        for mode, io in MODES
    }


@pytest.mark.parametrize("form", MODES, ids="-".join)
def test_labels_and_normalization_can_be_read_again(
    form: tuple[str, str], exported: dict[tuple[str, str], Report]
) -> None:
    report = exported[form]
    assert metadata.class_names(report.path) == tuple(NAMES)
    assert metadata.normalization(report.path) == metadata.Normalization((0.0,), (255.0,))
    found = metadata.read_metadata(report.path)
    assert found["name"] == "colours"
    assert found["min_parser_version"] == "1.0.0"
    (graph,) = found["subgraph_metadata"]
    assert graph["input_tensor_metadata"][0]["name"] == "image"
    size = graph["input_tensor_metadata"][0]["content"]["content_properties"]["default_size"]
    assert size == {"width": 16, "height": 16}
    with zipfile.ZipFile(report.path) as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt").decode() == "rot\ngrün\nsky blue\n"
    written = json.loads(Path(report.path).with_suffix(".json").read_text())
    assert written["class_names"] == report.class_names == NAMES
    assert written["normalization"] == {"mean": [0.0], "std": [255.0]}


def run(content: bytes, samples: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (input_,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for sample in samples:
        interpreter.set_tensor(input_["index"], sample[None].astype(input_["dtype"]))
        interpreter.invoke()
        found.append(interpreter.get_tensor(output["index"]))
    return np.concatenate(found)


@pytest.mark.parametrize("form", MODES, ids="-".join)
def test_outputs_are_those_without(form: tuple[str, str], exported: dict[tuple[str, str], Report]) -> None:
    content = Path(exported[form].path).read_bytes()
    packed = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    packed.metadata = [entry for entry in packed.metadata if entry.name != metadata.NAME.encode()]
    without = bytes(flatbuffer_utils.convert_object_to_bytearray(packed))
    samples = photos(9)[0] if form[1] == "float32" else np.random.default_rng(1).integers(0, 127, (9, 16, 16, 3))
    np.testing.assert_array_equal(run(content, samples), run(without, samples))
    assert Interpreter(model_content=content).get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["colour"]}
    }


def test_the_metadata_starts_at_a_multiple_of_16_bytes(exported: dict[tuple[str, str], Report]) -> None:
    content = Path(exported["int8", "int8"].path).read_bytes()
    model = schema.Model.GetRootAs(content)
    (index,) = (
        entry.Buffer()
        for entry in map(model.Metadata, range(model.MetadataLength()))
        if entry.Name() == metadata.NAME.encode()
    )
    buffer = model.Buffers(index)
    start = buffer._tab.Vector(buffer._tab.Offset(4))
    assert start % 16 == 0
    assert content[start + 4 : start + 8] == b"M001"


def test_the_same_model_gives_the_same_bytes(
    exported: dict[tuple[str, str], Report], worker: Worker, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"input_range": (0, 1), "class_names": NAMES, "worker": worker}
    again = export_tflite(colours(), tmp_path / "again.tflite", **arguments)
    assert again.sha256 == exported["float32", "float32"].sha256


def test_each_channel_can_have_its_own_normalization(worker: Worker, tmp_path: Path) -> None:
    preprocessing = kc.preprocessing_for("mobilenet_v2")
    report = export_tflite(colours(), tmp_path / "a.tflite", normalization=preprocessing, worker=worker)
    found = metadata.normalization(report.path)
    assert found is not None
    np.testing.assert_allclose(found.mean, 255 * np.array(preprocessing.mean), rtol=1e-6)
    np.testing.assert_allclose(found.std, 255 * np.array(preprocessing.std), rtol=1e-6)
    assert metadata.class_names(report.path) is None
    assert not zipfile.is_zipfile(report.path)


def test_names_that_fit_no_output_are_refused(worker: Worker, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 class names and the outputs have 3 values"):
        export_tflite(colours(), tmp_path / "a.tflite", class_names=["a", "b"], worker=worker)
    with pytest.raises(InputError, match=r"normalization= is 'imagenet'; it takes \(mean, std\)"):
        export_tflite(colours(), tmp_path / "a.tflite", normalization="imagenet", worker=worker)
    assert list(tmp_path.iterdir()) == []


def test_tables_come_back_as_they_were_and_refuse_fields_that_they_lack() -> None:
    fields = {"name": "a", "type": 2}
    content = packed(metadata.SCHEMA, "AssociatedFile", fields, b"M001")
    assert unpacked(metadata.SCHEMA, "AssociatedFile", content) == fields
    assert struct.unpack_from("<I", content)[0] < len(content)
    with pytest.raises(KeyError, match="has no field nmae"):
        packed(metadata.SCHEMA, "AssociatedFile", {"nmae": "a"})


MEDIAPIPE = Path(__file__).parents[3] / ".venv-mediapipe" / "bin" / "python"
SCRIPT = """
import json, sys
import mediapipe, numpy
from mediapipe.tasks import python as tasks
from mediapipe.tasks.python import vision
options = vision.ImageClassifierOptions(base_options=tasks.BaseOptions(model_asset_path=sys.argv[1]), max_results=3)
with vision.ImageClassifier.create_from_options(options) as classifier:
    found = []
    for pixels in numpy.load(sys.argv[2]):
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
        found.append([[c.category_name, c.score] for c in classifier.classify(image).classifications[0].categories])
print(json.dumps(found))
"""


@pytest.mark.skipif(not MEDIAPIPE.exists(), reason="`make .venv-mediapipe` installs MediaPipe")
@pytest.mark.parametrize("form", [("float32", "float32"), ("int8", "uint8")], ids="-".join)
def test_mediapipe_names_the_classes(
    form: tuple[str, str], exported: dict[tuple[str, str], Report], tmp_path: Path
) -> None:
    images, labels = photos(9)
    pixels = (images * 255).round().astype(np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    result = subprocess.run(
        [str(MEDIAPIPE), "-c", SCRIPT, exported[form].path, str(tmp_path / "pixels.npy")],
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    found = json.loads(result.stdout)
    assert [rows[0][0] for rows in found] == [NAMES[label] for label in labels]
    ours = kc.load_classifier(exported[form].path).predict(list(pixels), top=3)
    for theirs, mine in zip(found, ours, strict=True):
        assert dict(theirs) == pytest.approx({each.name: each.probability for each in mine}, abs=1e-5)
