"""The same model, data, seed and versions give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from export.client import Worker
from export.pipeline import export_tflite
from export.quantization.qat import FineTuning


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = layers.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(image)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu6", name="depthwise")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(4, name="scores")(x), name="small")


def images() -> np.ndarray:
    phases = np.random.default_rng(0).random((40, 1, 1, 3)) * 6
    waves = np.linspace(0, 2, 12)[:, None, None] + np.linspace(0, 3, 12)[:, None] * np.linspace(0.5, 1.5, 3)
    return (0.5 + 0.5 * np.sin(phases + waves)).astype(np.float32)


def exported(path: Path, worker: Worker, **options: Any) -> bytes:
    export_tflite(model(), path, "int8", calibration=images(), gate=False, worker=worker, **options)
    return path.read_bytes()


def test_tuned_int8_gives_the_same_bytes_from_another_process(worker: Worker, tmp_path: Path) -> None:
    with Worker() as other:
        assert exported(tmp_path / "a.tflite", worker) == exported(tmp_path / "b.tflite", other)


@pytest.mark.slow
def test_quantization_aware_training_gives_the_same_bytes_from_another_process(tmp_path: Path) -> None:
    def trained(name: str) -> bytes:
        with Worker() as worker:
            training = FineTuning.on_arrays(images(), None, 8, seed=3, distill=True)
            return exported(tmp_path / name, worker, qat=training)

    assert trained("a.tflite") == trained("b.tflite")
