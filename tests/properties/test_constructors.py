"""Whatever arguments a constructor is given: a model of what was asked for, or one line."""

from __future__ import annotations

import keras
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import keras_classics as kc

QUICK = ("lenet5", "mobilenet_v1", "mobilenet_v2", "resnet20", "vgg11")
SIDES = st.sampled_from([-1, 0, 1, 7, 8, 28, 31, 32, 33, 64, 97])
SHAPES = st.one_of(
    st.tuples(SIDES, SIDES, st.sampled_from([0, 1, 3, 4])),
    st.sampled_from([(), (32,), (32, 32), (32.0, 32, 3), "32", None, (32, 32, 3, 1)]),
)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "input_shape": SHAPES,
        "classes": st.sampled_from([-1, 0, 1, 2, 10, 1000, 2.5, "ten", None]),
        "include_top": st.booleans(),
        "pooling": st.sampled_from([None, "avg", "max", "median"]),
        "classifier_activation": st.sampled_from([None, "softmax", "sigmoid", "relu7"]),
        "name": st.sampled_from([None, "mine", "a b", "", "a/b"]),
        "alpha": st.sampled_from([-1.0, 0.0, 0.01, 0.35, 1.0, float("nan")]),
        "dropout": st.sampled_from([-0.1, 0.0, 0.5, 1.0]),
        "variant": st.sampled_from(["modern", "1998", "2012", "none"]),
        "weights": st.sampled_from([None, "none", "/no/such.keras"]),
        "colour": st.just(1),
    },
)
FEWER = [HealthCheck.too_slow, HealthCheck.data_too_large]


def made(name: str, arguments: dict[str, object]) -> tuple[keras.Model | None, str]:
    """The model, or what is said in its place: a TypeError, as Python's own, of an argument that is not there."""
    try:
        return kc.create_model(name, **arguments), ""
    except (ValueError, TypeError) as error:
        return None, str(error).strip()


def check(name: str, arguments: dict[str, object]) -> None:
    model, message = made(name, arguments)
    if model is None:
        assert message
        assert "\n" not in message
        return
    assert isinstance(model, keras.Model)
    if arguments.get("input_shape") is not None:
        assert model.input_shape[1:] == tuple(arguments["input_shape"])  # type: ignore[arg-type]
    if arguments.get("include_top", True) and "classes" in arguments:
        assert model.output_shape == (None, arguments["classes"])


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=FEWER)
@given(st.sampled_from(QUICK), ARGUMENTS)
def test_small_models(name: str, arguments: dict[str, object]) -> None:
    check(name, arguments)
    keras.backend.clear_session()


@pytest.mark.slow
@settings(max_examples=250, deadline=None, suppress_health_check=FEWER)
@given(st.sampled_from(kc.list_models()), ARGUMENTS)
def test_all_models(name: str, arguments: dict[str, object]) -> None:
    check(name, arguments)
    keras.backend.clear_session()
