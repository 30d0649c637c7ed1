"""Random graphs: each becomes a float file that computes the same, and an int8 file or a refusal in one line."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers

from export.client import Worker
from export.errors import GateError, InputError
from export.pipeline import export_tflite

Draw = Callable[[st.SearchStrategy[Any]], Any]
pytestmark = pytest.mark.filterwarnings("ignore::export.errors.CalibrationWarning")  # of normalizations drawn
SETTINGS = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.fixture(scope="module")
def running() -> Iterator[Worker]:
    with Worker() as worker:
        yield worker


def channels_of(x: Any) -> int:
    return int(x.shape[-1])


def branched(x: Any, draw: Draw) -> Any:
    """Two ways that are joined again."""
    other = layers.Conv2D(channels_of(x), draw(st.sampled_from([1, 3])), padding="same")(x)
    join = draw(st.sampled_from([layers.Add, layers.Concatenate, layers.Maximum, layers.Subtract, layers.Multiply]))
    return join()([x, other])


STEPS: dict[str, Callable[[Any, Draw], Any]] = {
    "conv": lambda x, draw: layers.Conv2D(
        draw(st.integers(1, 9)),
        draw(st.sampled_from([1, 2, 3, (1, 3)])),
        strides=draw(st.sampled_from([1, 2])),
        padding=draw(st.sampled_from(["same", "valid"])),
        use_bias=draw(st.booleans()),
        activation=draw(st.sampled_from([None, "relu", "relu6"])),
    )(x),
    "depthwise": lambda x, draw: layers.DepthwiseConv2D(
        draw(st.sampled_from([2, 3])), padding="same", depth_multiplier=draw(st.sampled_from([1, 2]))
    )(x),
    "separable": lambda x, draw: layers.SeparableConv2D(draw(st.integers(1, 6)), 3, padding="same")(x),
    "transposed": lambda x, draw: layers.Conv2DTranspose(draw(st.integers(1, 4)), 2, strides=2)(x),
    "norm": lambda x, draw: layers.BatchNormalization(scale=draw(st.booleans()))(x),
    "activation": lambda x, draw: layers.Activation(
        draw(st.sampled_from(["relu", "relu6", "sigmoid", "tanh", "swish", "hard_sigmoid", "elu", "leaky_relu"]))
    )(x),
    "max": lambda x, draw: layers.MaxPooling2D(2, padding=draw(st.sampled_from(["same", "valid"])))(x),
    "average": lambda x, draw: layers.AveragePooling2D(2, padding="same")(x),
    "pad": lambda x, draw: layers.ZeroPadding2D(draw(st.integers(0, 2)))(x),
    "upsample": lambda x, draw: layers.UpSampling2D(2)(x),
    "branch": branched,
}


@st.composite
def models(draw: Draw) -> keras.Model:
    """A network of up to six steps for a small image."""
    shape = (draw(st.integers(5, 13)), draw(st.integers(5, 13)), draw(st.integers(1, 4)))
    x = image = layers.Input(shape, name="image")
    for name in draw(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=6)):
        if min(x.shape[1:3]) >= 4 and max(x.shape[1:3]) <= 40:
            x = STEPS[name](x, draw)
    x = draw(st.sampled_from([layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D, layers.Flatten]))()(x)
    x = layers.Dense(draw(st.integers(1, 12)))(x)
    model = keras.Model(image, x, name="random")
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    for each in model.weights:
        spread = 1 / np.sqrt(max(1, np.prod(each.shape[:-1])))
        values = generator.normal(size=each.shape) * spread
        each.assign(np.abs(values) + 0.5 if "variance" in each.name else values)
    return model


def images_for(model: keras.Model) -> np.ndarray:
    """Smooth ones that differ, (24, height, width, channels) in [0, 1]."""
    height, width, channels = model.input_shape[1:]
    phases = np.random.default_rng(0).random((24, 1, 1, channels)) * 6
    waves = np.linspace(0, 2, height)[:, None, None] + np.linspace(0, 3, width)[:, None] * np.linspace(
        0.5, 1.5, channels
    )
    return (0.5 + 0.5 * np.sin(phases + waves)).astype(np.float32)


names = itertools.count()


def check_float(model: keras.Model, folder: Path, worker: Worker) -> None:
    report = export_tflite(model, folder / f"{next(names)}.tflite", "float32", worker=worker)
    assert report.parity["relative_rms"] <= 1e-4


def check_int8(model: keras.Model, folder: Path, worker: Worker) -> None:
    path = folder / f"{next(names)}.tflite"
    message = refusal(model, path, worker)
    if message:
        assert "\n" not in message
        assert not path.exists()
        return
    assert path.exists()


def refusal(model: keras.Model, path: Path, worker: Worker) -> str:
    """Why a graph of random weights is not shipped in 8 bits; empty if it is."""
    try:
        images = images_for(model)
        report = export_tflite(model, path, "int8", calibration=images, ptq="plain", gate=False, worker=worker)
    except (GateError, InputError) as error:
        return str(error)
    assert report.fully_integer
    return ""


@settings(max_examples=10, derandomize=True, **SETTINGS)
@given(model=models())
def test_float(model: keras.Model, tmp_path_factory: pytest.TempPathFactory, running: Worker) -> None:
    check_float(model, tmp_path_factory.mktemp("float"), running)


@settings(max_examples=8, derandomize=True, **SETTINGS)
@given(model=models())
def test_int8(model: keras.Model, tmp_path_factory: pytest.TempPathFactory, running: Worker) -> None:
    check_int8(model, tmp_path_factory.mktemp("int8"), running)


@pytest.mark.slow
@settings(max_examples=300, **SETTINGS)
@given(model=models())
def test_many_graphs(model: keras.Model, tmp_path_factory: pytest.TempPathFactory, running: Worker) -> None:
    folder = tmp_path_factory.mktemp("both")
    check_float(model, folder, running)
    check_int8(model, folder, running)
