"""One TFLite file by one producer, in a process of its own, and what that cost: the other benchmarks call it.

    python benchmarks/produce.py PRODUCER MODEL MODE OUTPUT.tflite [--weights FILE] [--calibration SAMPLES.npy]
        [--evaluation SAMPLES.npy] [--training SAMPLES.npy]

prints one line of JSON: seconds of the imports, of building the model and of the export itself, and the model's
multiply-accumulates. The model ends in logits; those of the float model for the evaluation samples are saved beside
the file (.npy). Weights that are not given are random; where there are evaluation samples, the statistics of batch
normalizations then come from the calibration samples. Where there are training samples, "ours" distills on these and
the calibration samples.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

started = time.perf_counter()
os.environ["KERAS_BACKEND"] = "tensorflow"  # the one backend that every producer takes
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from random_weights import live_in  # noqa: E402

import keras_classics as kc  # noqa: E402
from export import FineTuning, PostTraining, Worker, export_tflite  # noqa: E402
from export.quantization.ptq import CALIBRATION_ALONE  # noqa: E402

LIVED_IN = 32
WITHOUT_PYTORCH = ("mobilenet_v1",)  # torchvision has no such model
OTHER_IN_TORCHVISION = ("googlenet", "alexnet")  # 3×3 for the paper's 5×5; no groups and other widths


def ours(ptq: Any) -> Callable[..., None]:
    """This library, distilling where there are training samples; a started worker is part of the imports."""
    worker = Worker()

    def produce(
        model: keras.Model, mode: str, samples: np.ndarray, output: Path, training: np.ndarray | None = None
    ) -> None:
        qat = None if training is None else FineTuning.on_photos(np.concatenate([samples, training]))
        calibration = samples if len(samples) else None
        export_tflite(model, output, mode, calibration=calibration, ptq=ptq, qat=qat, gate=False, worker=worker)

    return produce


def stock(model: keras.Model, mode: str, samples: np.ndarray, output: Path) -> None:
    """`TFLiteConverter.from_keras_model` as TensorFlow's guide has it."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if mode != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "int8":
        converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    output.write_bytes(converter.convert())


def keras_export(model: keras.Model, mode: str, samples: np.ndarray, output: Path) -> None:
    """Keras's own `model.export(format="litert")`."""
    settings: dict[str, Any] = {} if mode == "float32" else {"optimizations": [tf.lite.Optimize.DEFAULT]}
    if mode == "int8":
        settings |= {
            "representative_dataset": lambda: ([sample[None]] for sample in samples),
            "target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
            "inference_input_type": tf.int8,
            "inference_output_type": tf.int8,
        }
    model.export(output, format="litert", verbose=False, **settings)


def quantizer(
    model: keras.Model, mode: str, samples: np.ndarray, output: Path, depthwise_in_float: bool = False
) -> None:
    """The LiteRT (AI Edge) quantizer's own recipe, on the converter's float32 file."""
    from litert_quantizer import algorithm_manager, qtyping, recipe
    from litert_quantizer.quantizer import Quantizer

    stock(model, "float32", samples, output)
    found = Quantizer(bytearray(output.read_bytes()))
    if mode == "dynamic":
        found.load_quantization_recipe(recipe.dynamic_wi8_afp32())
        if depthwise_in_float:
            found.update_quantization_recipe(
                regex=".*",
                operation_name=qtyping.TFLOperationName.DEPTHWISE_CONV_2D,
                algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE,
            )
        result = found.quantize(enable_progress_bar=False, enable_progress_report=False)
    else:
        found.load_quantization_recipe(recipe.static_wi8_ai8())
        key, name = _signature(output)
        ranges = found.calibrate({key: [{name: sample[None]} for sample in samples]}, num_threads=1)
        result = found.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    output.write_bytes(bytes(result.quantized_model))


def _signature(path: Path) -> tuple[str, str]:
    from ai_edge_litert.interpreter import Interpreter

    ((key, names),) = Interpreter(str(path)).get_signature_list().items()
    return key, names["inputs"][0]


PRODUCERS: dict[str, Callable[[], Callable[..., None]]] = {
    "ours": lambda: ours("tuned"),
    "ours, plain": lambda: ours("plain"),
    "ours, calibration alone": lambda: ours(CALIBRATION_ALONE),
    "ours, not equalized": lambda: ours(PostTraining(equalize=False)),
    "ours, not centered": lambda: ours(PostTraining(center=False)),
    "ours, not rounded": lambda: ours(PostTraining(round_weights=False)),
    "ours, not learned": lambda: ours(PostTraining(learn=False)),
    "converter": lambda: stock,
    "Keras": lambda: keras_export,
    "LiteRT quantizer": lambda: quantizer,
    "LiteRT quantizer, depthwise in float": lambda: partial(quantizer, depthwise_in_float=True),
    "applications": lambda: stock,
}
APPLICATIONS = {
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "resnet50": "ResNet50",
    "resnet101": "ResNet101",
    "resnet152": "ResNet152",
    "mobilenet_v1": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
}


def build(name: str, weights: Path | None, producer: str = "ours") -> keras.Model:
    """The model that ends in logits: ours, or keras.applications' of the same architecture for that producer."""
    keras.utils.set_random_seed(0)
    if producer == "applications":
        return getattr(keras.applications, APPLICATIONS[name])(weights=None, classifier_activation=None)
    return kc.create_model(name, input_shape=(224, 224, 3), weights=weights, classifier_activation=None)


def main() -> None:
    """Produce the file and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("producer", choices=PRODUCERS)
    parser.add_argument("model")
    parser.add_argument("mode", choices=("float32", "dynamic", "int8"))
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--evaluation", type=Path)
    parser.add_argument("--training", type=Path)
    options = parser.parse_args()
    samples = np.load(options.calibration) if options.calibration else np.empty(0)
    produce = PRODUCERS[options.producer]()
    imported = time.perf_counter()
    model = build(options.model, options.weights, options.producer)
    if options.evaluation and not options.weights:
        live_in(model, samples[:LIVED_IN])
    built = time.perf_counter()
    more = {"training": np.load(options.training)} if options.training else {}
    produce(model, options.mode, samples, options.output, **more)
    done = time.perf_counter()
    if options.evaluation:
        np.save(options.output.with_suffix(".npy"), model.predict(np.load(options.evaluation), batch_size=8, verbose=0))
    figures = {"imports": imported - started, "build": built - imported, "export": done - built}
    rounded = {name: round(seconds, 3) for name, seconds in figures.items()}
    print(json.dumps(rounded | {"macs": kc.model_cost(model).macs}))


if __name__ == "__main__":
    main()
