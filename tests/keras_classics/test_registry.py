"""Names, arguments and the promises that every entry makes."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import keras_classics as kc
from keras_classics import arguments, registry
from keras_classics.pretrained import catalog
from keras_classics.published import Counts
from keras_classics.weights import FreshClassifierWarning

NAMES = kc.list_models()
# One of each family; its other members differ by a row of numbers.
FAMILIES = [
    "alexnet",
    "googlenet",
    "lenet5",
    "mobilenet_v1",
    "mobilenet_v2",
    "resnet18",
    "resnet20",
    "resnet50",
    "vgg11",
]


def small(name: str, /, **own: Any) -> keras.Model:
    return kc.create_model(name, **{"input_shape": registry.entry(name).small_input_shape, "classes": 3} | own)


def test_models_are_listed_by_wildcard() -> None:
    assert sorted(registry.MODELS) == NAMES
    assert kc.list_models("mobilenet_v?") == [name for name in NAMES if name.startswith("mobilenet_v")]
    assert kc.list_models("nothing*") == []


def test_an_unknown_name_brings_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean mobilenet_v2"):
        kc.create_model("mobilenetv2")


def test_an_unknown_argument_brings_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"argument of mobilenet_v2 'alhpa'; did you mean alpha"):
        kc.create_model("mobilenet_v2", alhpa=0.5)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_named_after_its_entry(name: str) -> None:
    assert inspect.signature(registry.constructor(name)).parameters["name"].default == name


def test_a_model_takes_another_name(abstract_model: Callable[..., keras.Model]) -> None:
    assert abstract_model("vgg11", name="mine").name == "mine"


@pytest.mark.parametrize("name", FAMILIES)
def test_outputs_are_probabilities_of_the_classes_asked_for(
    name: str, abstract_model: Callable[..., keras.Model]
) -> None:
    model = abstract_model(name, classes=3)
    assert model.name == name
    assert model.output_shape == (None, 3)
    assert model.get_layer("predictions").activation is keras.activations.softmax


@pytest.mark.parametrize("name", FAMILIES)
def test_the_smallest_size_works_and_one_less_says_so(name: str, abstract_model: Callable[..., keras.Model]) -> None:
    entry = registry.entry(name)
    least, channels = entry.minimum_size, entry.input_shape[-1]
    model = abstract_model(name, input_shape=(least, least, channels))
    assert 0 not in [size for layer in model.layers for size in layer.output.shape[1:]]
    for shape in ((least - 1, least, channels), (least, least - 1, channels)):
        with pytest.raises(ValueError, match=r"too small|positive integers"):
            small(name, input_shape=shape)


@pytest.mark.parametrize("name", FAMILIES)
def test_oblong_images_of_any_channels(name: str, abstract_model: Callable[..., keras.Model]) -> None:
    assert abstract_model(name, input_shape=(75, 90, 4), classes=7).output_shape == (None, 7)


@pytest.mark.parametrize("shape", [(32, 32), 32, None, (32, 32, 0), (32, -32, 3), (32.0, 32, 3), "32"])
def test_a_senseless_shape_is_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match=r"height, width, channels.*three positive integers"):
        kc.MobileNetV2(input_shape=shape)


@pytest.mark.parametrize(
    ("senseless", "message"),
    [
        ({"classes": 0}, "classes is 0"),
        ({"classes": 2.5}, "classes is 2.5"),
        ({"pooling": "mean", "include_top": False}, "pooling is 'mean'"),
        ({"input_shape": (None, None, 3)}, "include_top=False"),
        ({"input_shape": (64, 64, None), "include_top": False}, "input_shape"),
        ({"weights": "no/such/file.keras"}, "not a file"),
    ],
)
@pytest.mark.parametrize("name", FAMILIES)
def test_an_argument_that_cannot_be_used_is_refused(name: str, senseless: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(name, **senseless)


@pytest.mark.parametrize("name", FAMILIES)
def test_without_a_top_sizes_may_stay_open(name: str, abstract_model: Callable[..., keras.Model]) -> None:
    shape = (None, None, registry.entry(name).input_shape[-1])
    features = abstract_model(name, input_shape=shape, include_top=False)
    assert features.output_shape[:3] == (None, None, None)
    depth = features.output_shape[-1]
    for pooling in ("avg", "max"):
        assert abstract_model(name, include_top=False, pooling=pooling).output_shape == (None, depth)


def test_weights_of_other_classes_leave_the_classifier_fresh_or_are_refused(tmp_path: Path) -> None:
    model = small("lenet5")
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    for file in ("model.keras", "model.weights.h5"):
        again = small("lenet5", weights=tmp_path / file)
        np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])
    with pytest.warns(FreshClassifierWarning):
        small("lenet5", classes=5, weights=tmp_path / "model.keras")
    with pytest.raises(ValueError, match="does not fit"):
        small("lenet5", classes=5, weights=tmp_path / "model.weights.h5")


def test_recipe_arguments_are_for_small_images_only() -> None:
    assert registry.recipe_arguments("mobilenet_v2", (32, 32, 1)) == {"alpha": 0.35, "stem_stride": 1}
    assert registry.recipe_arguments("mobilenet_v2", (224, 224, 3)) == {}


@pytest.mark.parametrize("name", FAMILIES)
def test_recipe_arguments_make_a_model_of_small_images(name: str, abstract_model: Callable[..., keras.Model]) -> None:
    channels = registry.entry(name).input_shape[-1]
    shape = (32, 32, channels)
    recipe = registry.recipe_arguments(name, shape)
    assert abstract_model(name, input_shape=shape, classes=10, **recipe).output_shape == (None, 10)


@pytest.mark.parametrize("name", NAMES)
def test_golden_counts(name: str, abstract_model: Callable[..., keras.Model]) -> None:
    entry = registry.entry(name)
    model = abstract_model(name)
    result = kc.model_cost(model)
    assert model.input_shape == (None, *entry.input_shape)
    assert model.output_shape == (None, entry.classes)
    assert (result.parameters, result.trainable_parameters, result.macs) == entry.counts


@pytest.mark.parametrize(
    ("name", "argument", "value", "counts"),
    [(name, *form, counts) for name in NAMES for form, counts in registry.entry(name).variants.items()],
)
def test_golden_counts_of_variants(
    name: str, argument: str, value: Any, counts: Counts, abstract_model: Callable[..., keras.Model]
) -> None:
    result = kc.model_cost(abstract_model(name, **{argument: value}))
    assert (result.parameters, result.trainable_parameters, result.macs) == counts


def test_importing_brings_in_no_backend_and_no_tool() -> None:
    script = (
        "import sys, keras; before = set(sys.modules); import keras_classics;"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"tensorflow", "jax", "torch", "rich", "matplotlib", "PIL", "scipy", "sklearn", "h5py"}
    assert "keras_classics" in result.stdout.split()
    assert not heavy & set(result.stdout.split())


def test_members_of_a_family_carry_their_own_name_and_signature() -> None:
    parameters = inspect.signature(kc.ResNet50).parameters
    assert kc.ResNet50.__name__ == "ResNet50"
    assert parameters["name"].default == "resnet50"
    assert "depth" not in parameters
    assert list(parameters)[:7] == list(inspect.signature(kc.MobileNetV2).parameters)[:7]


def test_the_documented_counts_are_these() -> None:
    lines = (Path(__file__).parents[2] / "docs" / "architectures.md").read_text(encoding="utf-8").splitlines()
    documented = {line for line in lines if re.match(r"\| `\w+`.*\| [\d,]+ \| [\d,]+ \| [\d,]+ \|$", line)}
    expected = set()
    for name in NAMES:
        entry = registry.entry(name)
        rows = {f"`{name}`": entry.counts}
        for (argument, value), counts in entry.variants.items():
            text = f'"{value}"' if isinstance(value, str) else value
            rows[f"`{name}`, `{argument}={text}`"] = counts
        expected |= {f"| {label} | {' | '.join(f'{count:,}' for count in counts)} |" for label, counts in rows.items()}
    assert documented == expected


def documented_arguments(docstring: str) -> dict[str, str]:
    """The names in the section Args of a docstring, in order, and the text of each."""
    section = docstring.split("\nArgs:\n")[1].split("\n\n")[0]
    return dict(re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE))


@pytest.mark.parametrize("name", NAMES)
def test_a_docstring_names_all_arguments_weights_and_counts(name: str) -> None:
    constructor, entry = registry.constructor(name), registry.entry(name)
    docstring = inspect.getdoc(constructor)
    described = documented_arguments(docstring)
    assert list(described) == list(inspect.signature(constructor).parameters)
    assert "$" not in docstring
    assert max(map(len, docstring.splitlines())) <= 104
    assert re.findall('"(.+?)"', described["weights"]) == catalog.names(name)
    weights_text = " ".join(described["weights"].split())
    assert "None for random weights" in weights_text
    assert "`.keras`" in weights_text
    assert "`.weights.h5`" in weights_text
    assert ("`.pth`" in weights_text) == entry.layer_names.of_pytorch
    assert ("`.h5`" in weights_text) == (entry.layer_names.keras_applications is not None)
    text = " ".join(docstring.split())
    for counts in (entry.counts, *entry.variants.values()):
        for count in counts:
            assert f"{count:,}" in text


def test_a_docstring_that_asks_for_an_unknown_text_is_refused() -> None:
    with pytest.raises(KeyError, match="nothing"):
        arguments.documented("Args:\n    x: $nothing", {})
