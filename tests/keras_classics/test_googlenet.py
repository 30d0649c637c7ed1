"""GoogLeNet against its paper's Table 1."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

import keras_classics as kc
from keras_classics.googlenet import LOSS_WEIGHTS


def test_modules_have_the_sizes_of_table_1(abstract_model: Callable[..., keras.Model]) -> None:
    model = abstract_model("googlenet")
    modules = {
        layer.name.split("_")[1]: layer.output.shape[1:] for layer in model.layers if layer.name.endswith("_concat")
    }
    assert modules == {
        "3a": (28, 28, 256),
        "3b": (28, 28, 480),
        "4a": (14, 14, 512),
        "4b": (14, 14, 512),
        "4c": (14, 14, 512),
        "4d": (14, 14, 528),
        "4e": (14, 14, 832),
        "5a": (7, 7, 832),
        "5b": (7, 7, 1024),
    }


def test_that_of_torchvision_costs_what_it_publishes(abstract_model: Callable[..., keras.Model]) -> None:
    """Its published count is of trainable parameters."""
    result = kc.model_cost(abstract_model("googlenet", batch_norm=True, large_kernel_size=3, last_pool_size=2))
    assert (result.trainable_parameters, result.macs) == (6_624_904, 1_498_376_192)


def test_heads_read_4a_and_4d_over_4_by_4_positions(abstract_model: Callable[..., keras.Model]) -> None:
    model = abstract_model("googlenet", auxiliary_heads=True)
    for head, module in (("auxiliary_1", "inception_4a_concat"), ("auxiliary_2", "inception_4d_concat")):
        pool = model.get_layer(f"{head}_pool")
        assert pool.input is model.get_layer(module).output
        assert pool.output.shape[1:3] == (4, 4)
        assert model.get_layer(f"{head}_reduce_conv").filters == 128
        assert model.get_layer(f"{head}_fc").units == 1024


@pytest.mark.backends
def test_heads_train_together_and_count_three_tenths() -> None:
    model = kc.GoogLeNet(input_shape=(79, 79, 3), classes=3, auxiliary_heads=True)
    losses = ["sparse_categorical_crossentropy"] * 3
    model.compile("sgd", loss=losses, loss_weights=LOSS_WEIGHTS, run_eagerly=True)
    total, *each = model.train_on_batch(np.ones((2, 79, 79, 3), "float32"), [np.array([0, 1])] * 3)
    assert LOSS_WEIGHTS == (1.0, 0.3, 0.3)
    assert total == pytest.approx(each[0] + 0.3 * each[1] + 0.3 * each[2], rel=1e-5)
    keras.backend.clear_session()


def test_normalization_is_local_response_or_batch(abstract_model: Callable[..., keras.Model]) -> None:
    plain = {type(layer).__name__ for layer in abstract_model("googlenet").layers}
    batch = {type(layer).__name__ for layer in abstract_model("googlenet", batch_norm=True).layers}
    assert "LocalResponseNormalization" in plain - batch
    assert "BatchNormalization" in batch - plain


def test_heads_need_a_top_and_room() -> None:
    with pytest.raises(ValueError, match="auxiliary_heads needs a top"):
        kc.GoogLeNet(include_top=False, auxiliary_heads=True)
    with pytest.raises(ValueError, match="at least 79×79"):
        kc.GoogLeNet(input_shape=(78, 78, 3), auxiliary_heads=True)
    with pytest.raises(ValueError, match="at least 40×40"):
        kc.GoogLeNet(input_shape=(39, 39, 3), auxiliary_heads=True, stem_stride=1)
