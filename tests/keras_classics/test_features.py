"""Features by stage and stride, and models without auxiliary heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import keras_classics as kc


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("alexnet", [(55, 55, 96), (27, 27, 256), (13, 13, 256), (6, 6, 256)]),
        ("vgg16", [(112, 112, 128), (56, 56, 256), (28, 28, 512), (14, 14, 512), (7, 7, 512)]),
        ("resnet50", [(112, 112, 64), (56, 56, 256), (28, 28, 512), (14, 14, 1024), (7, 7, 2048)]),
        ("googlenet", [(112, 112, 64), (56, 56, 192), (28, 28, 480), (14, 14, 832), (7, 7, 1024)]),
        ("mobilenet_v1", [(112, 112, 64), (56, 56, 128), (28, 28, 256), (14, 14, 512), (7, 7, 1024)]),
        ("mobilenet_v2", [(112, 112, 16), (56, 56, 24), (28, 28, 32), (14, 14, 96), (7, 7, 1280)]),
        ("resnet20", [(16, 16, 32), (8, 8, 64)]),
    ],
)
def test_the_last_map_of_every_stride(name: str, shapes: Any, abstract_model: Callable[..., keras.Model]) -> None:
    assert [output.shape[1:] for output in kc.features(abstract_model(name)).outputs] == shapes


def test_strides_in_the_order_asked_for(abstract_model: Callable[..., keras.Model]) -> None:
    model = kc.features(abstract_model("resnet18"), strides=(32, 8))
    assert [output.shape[1:] for output in model.outputs] == [(7, 7, 512), (28, 28, 128)]


def test_stages_by_name(abstract_model: Callable[..., keras.Model]) -> None:
    model = kc.features(abstract_model("googlenet"), stages=("inception_3a", "inception_4e"))
    assert [output.shape[1:] for output in model.outputs] == [(28, 28, 256), (14, 14, 832)]
    model = kc.features(abstract_model("mobilenet_v1"), stages=("block1",))
    assert model.output_shape == (None, 112, 112, 64)


def test_features_share_the_models_weights_and_values() -> None:
    model = kc.create_model("resnet20", include_top=False)
    images = np.random.default_rng(0).random((1, 32, 32, 3), "float32")
    last = kc.features(model)(images)[-1]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(last), keras.ops.convert_to_numpy(model(images)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stages": ("stage9",)}, "'stage9'"),
        ({"strides": (3,)}, "stride 3; it has 2, 4"),
        ({"stages": ("stage1",), "strides": (2,)}, "leave one out"),
    ],
)
def test_features_that_are_not_there_are_refused(
    arguments: Any, message: str, abstract_model: Callable[..., keras.Model]
) -> None:
    with pytest.raises(ValueError, match=message):
        kc.features(abstract_model("resnet20"), **arguments)


def test_auxiliary_heads_come_last_and_are_dropped_for_inference() -> None:
    model = kc.GoogLeNet(input_shape=(79, 79, 3), classes=4, auxiliary_heads=True)
    assert model.output_names == ["predictions", "auxiliary_1", "auxiliary_2"]
    lean = kc.inference_model(model)
    assert lean.output_shape == (None, 4)
    assert lean.count_params() == kc.GoogLeNet(input_shape=(79, 79, 3), classes=4).count_params()
    assert not [layer.name for layer in lean.layers if layer.name.startswith("auxiliary")]
    images = np.random.default_rng(0).random((1, 79, 79, 3), "float32")
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(lean(images)), keras.ops.convert_to_numpy(model(images)[0])
    )


def test_a_model_without_heads_stays_itself() -> None:
    model = kc.LeNet5()
    assert kc.inference_model(model) is model
