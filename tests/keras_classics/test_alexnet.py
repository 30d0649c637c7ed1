"""AlexNet against its papers' sizes and the counts of both variants."""

from __future__ import annotations

from collections.abc import Callable

import keras
import pytest

import keras_classics as kc
from keras_classics.cost import LayerCost
from keras_classics.layers import GroupedConv2D, LocalResponseNormalization


def rows(model: keras.Model) -> dict[str, LayerCost]:
    return {row.name: row for row in kc.model_cost(model).layers}


def test_layers_have_the_sizes_of_the_source_text(abstract_model: Callable[..., keras.Model]) -> None:
    shapes = {name: row.output_shape for name, row in rows(abstract_model("alexnet")).items()}
    expected = {
        "conv1": (55, 55, 96),
        "conv1_pool": (27, 27, 96),
        "conv2": (27, 27, 256),
        "conv2_pool": (13, 13, 256),
        "conv3": (13, 13, 384),
        "conv4": (13, 13, 384),
        "conv5": (13, 13, 256),
        "conv5_pool": (6, 6, 256),
        "flatten": (9216,),
        "fc6": (4096,),
        "fc7": (4096,),
        "predictions": (1000,),
    }
    assert {name: shapes[name] for name in expected} == expected


def test_2012_has_two_groups_and_normalizes_twice(abstract_model: Callable[..., keras.Model]) -> None:
    model = abstract_model("alexnet")
    groups = {layer.name: layer.groups for layer in model.layers if isinstance(layer, GroupedConv2D)}
    assert groups == {"conv1": 1, "conv2": 2, "conv3": 1, "conv4": 2, "conv5": 2}
    norms = [layer for layer in model.layers if isinstance(layer, LocalResponseNormalization)]
    assert [layer.name for layer in norms] == ["conv1_norm", "conv2_norm"]
    assert {(norm.size, norm.alpha, norm.beta, norm.k) for norm in norms} == {(5, 1e-4, 0.75, 2.0)}


def test_one_weird_trick(abstract_model: Callable[..., keras.Model]) -> None:
    model = abstract_model("alexnet", variant="one_weird_trick")
    assert model.input_shape == (None, 224, 224, 3)
    assert model.get_layer("conv1").output.shape[1:] == (55, 55, 64)
    assert model.get_layer("conv5_pool").output.shape[1:] == (6, 6, 256)


def test_each_variant_and_stride_has_its_own_smallest_size(abstract_model: Callable[..., keras.Model]) -> None:
    for least, arguments in ((67, {}), (63, {"variant": "one_weird_trick"}), (25, {"stem_stride": 1})):
        features = abstract_model("alexnet", input_shape=(least, least, 3), include_top=False, **arguments)
        assert features.output_shape == (None, 1, 1, 256)
        with pytest.raises(ValueError, match=f"at least {least}×{least}"):
            kc.AlexNet(input_shape=(least - 1, least - 1, 3), **arguments)


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ValueError, match="'2012' or 'one_weird_trick'"):
        kc.AlexNet(variant="2013")
