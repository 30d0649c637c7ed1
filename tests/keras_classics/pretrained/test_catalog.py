"""The table of published weights, and what each asks of a constructor."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import keras_classics as kc
from keras_classics import registry
from keras_classics.errors import InputError
from keras_classics.pretrained.catalog import CHECKPOINTS, Checkpoint, conventions, names
from keras_classics.pretrained.selection import select


def one_line(caught: pytest.ExceptionInfo[BaseException]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


def defaults(model: str) -> dict[str, Any]:
    parameters = inspect.signature(registry.constructor(model)).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def chosen(model: str, weights: str = "imagenet", **given: Any) -> Checkpoint:
    """What `create_model(model, weights=…, **given)` takes."""
    return select(model, weights, given, defaults(model))


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda checkpoint: checkpoint.file_name)
def test_every_row_names_arguments_that_exist_and_is_reached_by_them(checkpoint: Checkpoint) -> None:
    assert set(checkpoint.arguments) <= set(defaults(checkpoint.model))
    size = checkpoint.preprocessing.crop
    assert chosen(checkpoint.model, checkpoint.name, **checkpoint.arguments, input_shape=(size, size, 3)) == checkpoint


def test_hashes_are_those_of_the_publishers() -> None:
    assert len({checkpoint.url for checkpoint in CHECKPOINTS}) == len(CHECKPOINTS)
    for checkpoint in CHECKPOINTS:
        if checkpoint.publisher == "torchvision":
            assert re.fullmatch("[0-9a-f]{8}", checkpoint.sha256_prefix)
            assert checkpoint.md5 is None
        else:
            assert checkpoint.sha256_prefix == ""
            assert bool(checkpoint.md5) is not checkpoint.model.startswith("mobilenet")


ASK_KERAS = """
import io, json, sys, urllib.request
import keras
from keras_classics.pretrained.applications import NETWORKS

class EmptyAnswer(io.BytesIO):
    def info(self):
        return {"Content-Length": "0"}

def urlopen(url, *_, **__):
    print("asked", url, file=sys.stderr)
    return EmptyAnswer()

urllib.request.urlopen = urlopen
for model, size, options in json.loads(sys.argv[1]):
    with keras.StatelessScope(initialize_variables=False):
        try:
            NETWORKS[model](weights="imagenet", input_shape=(size, size, 3), **options)
        except (ValueError, OSError) as error:
            print("refused", " ".join(str(error).split()), file=sys.stderr)
"""


@pytest.mark.slow
def test_keras_itself_asks_for_the_same_files_and_hashes(tmp_path: Path) -> None:
    """Its downloads are answered with empty files, at which it tells the hashes that it expected."""
    rows = [checkpoint for checkpoint in CHECKPOINTS if checkpoint.publisher == "keras.applications"]
    cases = [
        (row.model, row.preprocessing.crop, {name: row.arguments[name] for name in ("alpha",) if name in row.arguments})
        for row in rows
    ]
    answer = subprocess.run(
        [sys.executable, "-c", ASK_KERAS, json.dumps(cases)],
        env={**os.environ, "KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stderr.splitlines()
    asked = [line.removeprefix("asked ") for line in answer if line.startswith("asked ")]
    refused = [line for line in answer if line.startswith("refused ")]
    assert asked == [row.url for row in rows]
    for row, refusal in zip(rows, refused, strict=True):
        assert ("hash does not match" in refusal) == bool(row.md5)
        assert (row.md5 or "") in refusal


@pytest.mark.parametrize(
    ("model", "given", "file"),
    [
        ("mobilenet_v2", {}, "mobilenet_v2-b0353104.pth"),
        ("mobilenet_v2", {"weights": "imagenet-torchvision-v2"}, "mobilenet_v2-7ebf99e0.pth"),
        ("mobilenet_v2", {"weights": "imagenet-keras"}, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"),
        (
            "mobilenet_v2",
            {"weights": "imagenet-keras", "alpha": 0.5, "input_shape": (100, 100, 3), "include_top": False},
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.5_96.h5",
        ),
        ("mobilenet_v1", {}, "mobilenet_1_0_224_tf.h5"),
        ("mobilenet_v1", {"alpha": 0.25, "input_shape": (128, 128, 3)}, "mobilenet_2_5_128_tf.h5"),
        ("vgg16", {}, "vgg16-397923af.pth"),
        ("vgg16", {"batch_norm": True}, "vgg16_bn-6c64b313.pth"),
        ("vgg19", {"weights": "imagenet-keras"}, "vgg19_weights_tf_dim_ordering_tf_kernels.h5"),
        ("resnet50", {"version": "v1.5"}, "resnet50-0676ba61.pth"),
        ("alexnet", {}, "alexnet-owt-7be5be79.pth"),
        ("googlenet", {}, "googlenet-1378be20.pth"),
    ],
)
def test_arguments_choose_the_file(model: str, given: Any, file: str) -> None:
    assert chosen(model, **given).file_name == file


@pytest.mark.parametrize(
    ("model", "given", "mend"),
    [
        ("mobilenet_v2", {"alpha": 0.5}, "create_model('mobilenet_v2', alpha=0.5, weights='imagenet-keras')"),
        ("mobilenet_v2", {"alpha": 0.6}, "create_model('mobilenet_v2', alpha=1.0, weights='imagenet')"),
        ("resnet50", {"version": "v1"}, "create_model('resnet50', version='v1', weights='imagenet-keras')"),
        ("resnet18", {"shortcut": "A"}, "create_model('resnet18', shortcut='B', weights='imagenet')"),
        ("alexnet", {"variant": "2012"}, "create_model('alexnet', variant='one_weird_trick', weights='imagenet')"),
        (
            "googlenet",
            {"auxiliary_heads": True},
            "create_model('googlenet', auxiliary_heads=False, weights='imagenet')",
        ),
        ("googlenet", {"batch_norm": False}, "create_model('googlenet', batch_norm=True, weights='imagenet')"),
        ("vgg16", {"weights": "imagenet-torchvision-features", "include_top": True}, "imagenet-torchvision-v1"),
        ("vgg16", {"input_shape": (224, 224, 1)}, "3 channels"),
        ("vgg16", {"weights": "imagenet-v1"}, "did you mean imagenet"),
        ("lenet5", {}, "nobody publishes weights of lenet5"),
    ],
)
def test_arguments_without_weights_name_a_call_that_works(model: str, given: Any, mend: str) -> None:
    with pytest.raises(InputError) as caught:
        chosen(model, **given)
    assert mend in one_line(caught)


def test_names_and_conventions() -> None:
    assert names("resnet50") == ["imagenet", "imagenet-torchvision-v1", "imagenet-torchvision-v2", "imagenet-keras"]
    assert names("lenet5") == names("resnet20") == []
    assert conventions("vgg16", "torchvision") == {}
    assert conventions("mobilenet_v2", "keras.applications")["padding"] == "same"
    assert "alpha" not in conventions("mobilenet_v2", "keras.applications")
    assert conventions("mobilenet_v1", "torchvision") == {}
    assert [weights.top1 for weights in kc.published_weights("resnet50")] == [76.130, 80.858, 74.9]


def test_the_documented_table_is_this_one() -> None:
    rows = (Path(__file__).parents[3] / "docs" / "weights.md").read_text(encoding="utf-8").splitlines()
    for checkpoint in CHECKPOINTS:
        if checkpoint.preprocessing.crop == 224:
            (row,) = [row for row in rows if row.startswith("|") and f"`{checkpoint.file_name}`" in row]
            model, name, _, _, top1, top5, licence = (cell.strip() for cell in row.strip("|").split("|"))
            assert (model, name.strip("`"), licence) == (checkpoint.model, checkpoint.name, checkpoint.licence)
            documented = [None if cell == "–" else float(cell) for cell in (top1, top5)]
            assert documented == [checkpoint.top1, checkpoint.top5]
