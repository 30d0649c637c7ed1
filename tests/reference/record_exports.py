"""Record the SHA-256 of a small set of exports, or compare with an earlier record of the same machine.

    export PYTHONPATH=.:benchmarks
    python tests/reference/record_exports.py before.json                        # on one version
    python tests/reference/record_exports.py after.json --compare before.json   # on another: exit code 1 if any differs

Bytes depend on the processor's floating-point kernels, so a record is for two versions on one machine and is not
committed. Weights are random with seeds of their own, so the gate is off.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from keras import layers
from random_weights import live_in

import keras_classics as kc
from export import Clustering, FineTuning, GateError, InputError, Pruning, Worker, export_tflite

CALIBRATION_SAMPLES = 48
BATCH = 16


def lenet() -> keras.Model:
    """LeNet-5 on 32×32×1."""
    return kc.LeNet5()


def mobilenet() -> keras.Model:
    """The slim MobileNetV2 of the small-image figures."""
    model = kc.MobileNetV2(input_shape=(32, 32, 1), classes=10, alpha=0.35, stem_stride=1)
    return live_in(model, images(0, BATCH))


def inception() -> keras.Model:
    """Branches of several kernel sizes, joined, and a residual sum over them."""
    inputs = keras.Input((32, 32, 1), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(layers.Rescaling(2.0, -1.0)(inputs))
    branches = [
        layers.Conv2D(8, size, padding="same", activation="relu", name=f"branch_{size}")(x) for size in (1, 3, 5)
    ]
    branches.append(layers.MaxPooling2D(3, strides=1, padding="same")(x))
    x = layers.Concatenate(name="joined")(branches)
    shortcut = x
    x = layers.BatchNormalization(name="normalized")(layers.Conv2D(32, 3, padding="same", name="residual")(x))
    x = layers.ReLU(name="activated")(layers.Add(name="sum")([x, shortcut]))
    x = layers.AveragePooling2D(2)(x)
    x = layers.GlobalAveragePooling2D()(layers.DepthwiseConv2D(3, activation="relu6", name="depthwise")(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax", name="predictions")(x), name="inception")


def images(seed: int, count: int) -> np.ndarray:
    """Smooth random images in [0, 1], (count, 32, 32, 1)."""
    coarse = np.random.default_rng(seed).random((count, 8, 8, 1), np.float32)
    return np.kron(coarse, np.ones((1, 4, 4, 1), np.float32))


def exports() -> Iterator[tuple[str, Callable[[], keras.Model], dict[str, Any]]]:
    """Each export of the set: its name, its model and the arguments of `export_tflite`."""
    calibration, labels = images(1, CALIBRATION_SAMPLES), np.arange(CALIBRATION_SAMPLES) % 10

    def training() -> FineTuning:
        return FineTuning.on_arrays(calibration, labels, BATCH, epochs=1)

    for name, build in (("lenet5", lenet), ("mobilenet_v2", mobilenet), ("inception", inception)):
        for mode in ("float32", "float16", "dynamic"):
            yield f"{name}-{mode}", build, {"mode": mode}
        integer = {"mode": "int8", "calibration": calibration}
        yield f"{name}-int8-tuned", build, integer
        yield f"{name}-int8-plain", build, integer | {"ptq": "plain"}
        yield f"{name}-int8-float-io-logits", build, integer | {"io": "float32", "logits": True}
        yield f"{name}-int8-kept-in-float", build, integer | {"keep_float": ["predictions"]}
        yield f"{name}-int8-qat", build, integer | {"qat": training()}
        yield (
            f"{name}-int8-distilled",
            build,
            integer | {"qat": FineTuning.on_arrays(calibration, None, BATCH, epochs=2, distill=True)},
        )
        yield f"{name}-int16x8", build, integer | {"mode": "int16x8"}
    compressed = {"mode": "int8", "calibration": calibration}
    yield "lenet5-pruned", lenet, compressed | {"prune": Pruning(training(), 0.5)}
    clustered = {"cluster": Clustering(training(), 16), "qat": training()}
    yield "lenet5-pruned-clustered-qat", lenet, compressed | {"prune": Pruning(training(), 0.5)} | clustered


def record() -> dict[str, str]:
    """SHA-256 by the export's name."""
    digests = {}
    with tempfile.TemporaryDirectory() as folder, Worker() as worker:
        for name, build, arguments in exports():
            keras.utils.set_random_seed(7)
            try:
                report = export_tflite(build(), Path(folder) / "model.tflite", gate=False, worker=worker, **arguments)
                digests[name] = report.sha256
            except (InputError, GateError) as error:
                digests[name] = f"refused: {error}".replace(folder, "")
            print(name, digests[name][:12], flush=True)
    return digests


def main() -> int:
    """Write the record; 1 if it differs from the one to compare with."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path)
    parser.add_argument("--compare", type=Path)
    options = parser.parse_args()
    digests = record()
    options.record.write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")
    if options.compare is None:
        return 0
    before = json.loads(options.compare.read_text(encoding="utf-8"))
    different = [name for name in {**before, **digests} if before.get(name) != digests.get(name)]
    print(f"{len(different)} of {len(digests)} exports differ: {', '.join(different) or 'none'}")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
