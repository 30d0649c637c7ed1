"""Several devices: every planned step is made, and the loss is that of one device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import keras
import pytest

from keras_classics.datasets.parts import Dataset
from keras_classics.errors import FailedPartError
from keras_classics.training import fitting
from keras_classics.training.batches import TrainingBatches

# Trains on as many logical devices as the argument says, and prints the history and the steps that were made.
TRAINING = """
import json, sys
import tensorflow as tf

count = int(sys.argv[1])
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)

import contextlib, keras
from keras_classics.datasets import data
from keras_classics.training import fitting

devices = [f"CPU:{i}" for i in range(count)]
with tf.distribute.MirroredStrategy(devices).scope() if count > 1 else contextlib.nullcontext():
    keras.utils.set_random_seed(0)
    digits = data.load("digits", (8, 8, 1))
    layers = [keras.layers.Input((8, 8, 1)), keras.layers.Conv2D(8, 3, activation="relu")]
    model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(10, "softmax")])
    history = fitting.fit(model, digits, epochs=2, progress=False)
    print(json.dumps([history, int(keras.ops.convert_to_numpy(model.optimizer.iterations))]))
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="MirroredStrategy is TensorFlow's")
def test_two_devices_of_tensorflow_make_every_step_and_learn_as_one() -> None:
    results = []
    for count in (1, 2):
        command = [sys.executable, "-c", TRAINING, str(count)]
        environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
        output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        results.append(json.loads(output.splitlines()[-1]))
    (one, steps), (two, steps_of_two) = results
    assert steps == steps_of_two == 2 * (1237 // 64)
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
    assert two["val_loss"] == pytest.approx(one["val_loss"], rel=1e-4)


def test_a_training_that_loses_batches_fails(
    few_digits: Dataset, network: Callable[..., keras.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingBatches, "__len__", lambda self: self.epochs * self.steps - self.first - 1)
    with pytest.raises(FailedPartError, match="7 of 8 planned steps were made, so batches were lost"):
        fitting.fit(network(), few_digits, epochs=2, progress=False)
