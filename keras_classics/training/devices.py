"""What a training runs on: every accelerator there is, and fewer bits where they are asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import keras

HalfPrecision = Literal["bfloat16", "float16"]


@contextlib.contextmanager
def every_device() -> Iterator[None]:
    """Build and train inside this, and each batch is shared out among all devices.

    `keras.distribution.DataParallel` on JAX, `tf.distribute.MirroredStrategy` on TensorFlow; Keras
    has nothing alike for PyTorch. Tried with simulated devices on one CPU only, never on several
    real accelerators.
    """
    backend = keras.backend.backend()
    if backend == "jax" and len(keras.distribution.list_devices()) > 1:
        with keras.distribution.DataParallel().scope():
            yield
    elif backend == "tensorflow" and len(_tensorflow_gpus()) > 1:
        import tensorflow as tf

        with tf.distribute.MirroredStrategy().scope():
            yield
    else:
        yield


def shareable(count: int, round_up: bool = False) -> int:
    """The multiple of the number of devices, at most (or at least) `count`, that JAX wants a batch to be."""
    distribution = keras.distribution.distribution()
    replicas = distribution.num_model_replicas if distribution else 1
    return (count + (replicas - 1) * round_up) // replicas * replicas


def _tensorflow_gpus() -> list[Any]:
    import tensorflow as tf

    return list(tf.config.list_logical_devices("GPU"))


@contextlib.contextmanager
def mixed_precision(model: keras.Model, dtype: HalfPrecision | None) -> Iterator[None]:
    """Within this, all layers of `model` but the outputs compute in `dtype`; weights stay float32.

    Enter it before `compile`, which adds loss scaling for float16.
    """
    if dtype is None:
        yield
        return
    layers = [model, *(layer for layer in all_layers(model) if not any(layer.output is x for x in model.outputs))]
    before = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = keras.DTypePolicy(f"mixed_{dtype}")
        yield
    finally:
        for layer, policy in zip(layers, before, strict=True):
            layer.dtype_policy = policy
        model.make_predict_function(force=True)  # the one compiled so far computes in `dtype`


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a model, a nested model before its own."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
