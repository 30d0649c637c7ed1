"""Write the .tflite files that the bench's tests measure; run as `python make_models.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

SHAPE = (24, 24, 3)


def network() -> tf_keras.Model:
    layers = tf_keras.layers
    return tf_keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
            layers.DepthwiseConv2D(3, padding="same", activation=layers.ReLU(6.0)),
            layers.Conv2D(32, 1, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )


def main(folder: Path) -> None:
    tf_keras.utils.set_random_seed(0)
    model = network()

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (folder / "float32.tflite").write_bytes(converter.convert())

    dense = tf_keras.Sequential([tf_keras.layers.Input((64,)), tf_keras.layers.Dense(64)])
    converter = tf.lite.TFLiteConverter.from_keras_model(dense)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    (folder / "dynamic.tflite").write_bytes(converter.convert())

    # Inputs and outputs whose names sort otherwise than their places, and a batch axis that is not fixed.
    image, numbers = tf_keras.layers.Input((8, 8, 3), name="z_image"), tf_keras.layers.Input((5,), name="a_numbers")
    joined = tf_keras.layers.Concatenate()([tf_keras.layers.Flatten()(image), tf_keras.layers.Dense(7)(numbers)])
    outputs = [tf_keras.layers.Dense(3, name="z_three")(joined), tf_keras.layers.Dense(2, name="a_two")(joined)]
    converter = tf.lite.TFLiteConverter.from_keras_model(tf_keras.Model([image, numbers], outputs))
    (folder / "several.tflite").write_bytes(converter.convert())

    generator = np.random.default_rng(0)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([generator.random((1, *SHAPE), dtype=np.float32)] for _ in range(16))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (folder / "int8.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
