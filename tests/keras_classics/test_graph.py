"""Walking a functional model."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers, ops

from keras_classics import graph


def test_calls_come_in_order_of_execution() -> None:
    image = keras.Input((4,), name="image")
    left = layers.Dense(3, name="left")(image)
    right = layers.Dense(3, name="right")(left)
    model = keras.Model(image, layers.Add(name="add")([left, right]))
    walk = graph.walk(model)
    assert [call.operation.name for call in walk.calls] == ["left", "right", "add"]
    left, right, add = walk.calls
    assert left.inputs == walk.inputs
    assert add.inputs == (left.outputs[0], right.outputs[0])
    assert walk.outputs == add.outputs
    assert add.args == ([left.outputs[0], right.outputs[0]],)


def test_nested_models_carry_their_scope_and_are_wired_to_the_outer_graph() -> None:
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="dense")], name="inner")
    middle_input = keras.Input((4,))
    middle = keras.Model(middle_input, inner(inner(middle_input)), name="middle")
    image = keras.Input((4,))
    walk = graph.walk(keras.Model(image, middle(image)))
    first, second = walk.calls
    assert first.scope == second.scope == ("middle", "inner")
    assert first.operation is second.operation
    assert first.inputs == walk.inputs
    assert second.inputs == first.outputs
    assert walk.outputs == second.outputs


def test_several_inputs_outputs_and_plain_operations() -> None:
    first, second = keras.Input((2,)), keras.Input((2,))
    total = ops.add(first, second)
    walk = graph.walk(keras.Model([first, second], [total, ops.multiply(total, 2.0)]))
    assert len(walk.inputs) == 2
    assert len(walk.outputs) == 2
    assert walk.calls[1].args[1] == 2.0
    assert walk.calls[0].outputs[0].shape == (None, 2)


def test_a_truncated_model_is_walked_from_its_own_inputs_only() -> None:
    image = keras.Input((4,))
    hidden = layers.Dense(3, name="before")(image)
    model = keras.Model(hidden, layers.Dense(2, name="after")(hidden))
    assert [call.operation.name for call in graph.walk(model).calls] == ["after"]


def test_models_without_a_graph_are_refused() -> None:
    class Subclassed(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs

    for model in (Subclassed(), keras.Sequential([layers.Dense(2)])):
        with pytest.raises(ValueError, match="has no graph"):
            graph.walk(model)
