"""The MobileNets against their papers' tables."""

import pytest

import keras_classics as kc
from keras_classics import blocks


def test_v2_stages_have_the_shapes_of_table_2(abstract_model):
    model = abstract_model("mobilenet_v2")
    ends = [
        model.get_layer(f"stage{stage}_block{repeats}_project_norm")
        for stage, repeats in zip(range(1, 8), (1, 2, 3, 4, 3, 3, 1), strict=True)
    ]
    assert [layer.output.shape[1:] for layer in ends] == [
        (112, 112, 16),
        (56, 56, 24),
        (28, 28, 32),
        (14, 14, 64),
        (14, 14, 96),
        (7, 7, 160),
        (7, 7, 320),
    ]


def test_v2_adds_where_stride_is_one_and_channels_agree(abstract_model):
    added = [layer.name for layer in abstract_model("mobilenet_v2").layers if layer.name.endswith("_add")]
    assert len(added) == 10
    assert not any(name.startswith(("stage1_", "stage7_")) or "_block1_" in name for name in added)


def test_v2_bottlenecks_are_linear(abstract_model):
    names = {layer.name for layer in abstract_model("mobilenet_v2").layers}
    assert not any(name.endswith("_project_relu") for name in names)


def test_v2_slim_for_small_images():
    model = kc.MobileNetV2(input_shape=(32, 32, 1), classes=10, alpha=0.35, stem_stride=1)
    assert kc.model_cost(model).parameters == 422_730


@pytest.mark.parametrize("alpha", [0, -1, float("nan"), "1"])
def test_a_senseless_width_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        kc.MobileNetV2(input_shape=(32, 32, 3), alpha=alpha)


def test_channels_round_to_eight_and_never_lose_a_tenth():
    assert [blocks.make_divisible(count) for count in (8, 11, 12, 24 * 0.35, 90, 32 * 0.35, 3)] == [
        8,
        16,
        16,
        8,
        88,
        16,
        8,
    ]
