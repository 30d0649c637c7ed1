"""The arguments of `python -m export.tflite`."""

from __future__ import annotations

import argparse
import contextlib
import re
from typing import Any

from export.vocabulary import DESTINATIONS, DISTILLATION_STEPS, IO_TYPES, PRUNING_SCHEDULES, PTQ_WAYS, SNIPPETS
from keras_classics.errors import ArgumentParser

DEFAULT_MODEL = "mobilenet_v2"
DEFAULT_EPOCHS = 15
MODES = {
    "float32": "32-bit floats (the default)",
    "float16": "weights stored in 16 bits",
    "dynamic": "8-bit weights, float in and out; needs no data",
    "int8": "integer arithmetic throughout",
    "int16x8": "the same with 16-bit activations; slow",
}


def parser(prog: str = "python -m export.tflite") -> argparse.ArgumentParser:
    """The command line."""
    result = ArgumentParser(
        prog=prog,
        description="From a model's name or a .keras file to a verified TFLite file and its report.",
    )
    result.add_argument(
        "model", nargs="?", default=DEFAULT_MODEL, help="a name of keras_classics.list_models(), or a .keras file"
    )
    result.set_defaults(mode="float32")
    modes = result.add_mutually_exclusive_group()
    for mode, text in MODES.items():
        modes.add_argument(f"--{mode}", dest="mode", action="store_const", const=mode, help=text)
    quantization = result.add_argument_group("quantization")
    quantization.add_argument("--qat", action="store_true", help="fine-tune under simulated int8 (TF-MOT) first")
    quantization.add_argument(
        "--distill", action="store_true", help="with --qat: learn from the float model's outputs; needs no labels"
    )
    quantization.add_argument(
        "--qat-epochs",
        type=_positive,
        metavar="N",
        help=f"default 2, or as many as {DISTILLATION_STEPS} steps take on --calibration",
    )
    quantization.add_argument(
        "--prune", type=_pruning, metavar="SPARSITY", help="train this share of the weights to zero, or 2:4 of them"
    )
    quantization.add_argument(
        "--prune-block",
        type=_positive,
        nargs=2,
        metavar=("INPUTS", "OUTPUTS"),
        help="prune dense kernels in blocks of this size",
    )
    quantization.add_argument(
        "--prune-schedule",
        choices=PRUNING_SCHEDULES,
        default=PRUNING_SCHEDULES[0],
        help="let the zeros grow, or have all of them from the start",
    )
    quantization.add_argument(
        "--cluster", type=_positive, metavar="N", help="train each kernel to N different values, which compress well"
    )
    quantization.add_argument(
        "--ptq",
        choices=PTQ_WAYS,
        default="tuned",
        help="how int8 is made: weights and ranges tuned, or only measured",
    )
    quantization.add_argument(
        "--keep-float",
        nargs="+",
        action="extend",
        default=[],
        metavar="LAYER",
        help="layers that stay in float in an int8 file: names, or wildcards such as 'block1_*'",
    )
    quantization.add_argument(
        "--mixed", action="store_true", help="leave those layers in float that mend an int8 file at the least latency"
    )
    quantization.add_argument(
        "--min-sqnr", type=float, metavar="DB", help="what the logits' SQNR must reach (default 10 without labels)"
    )
    quantization.add_argument("--io", choices=IO_TYPES, help="type of in- and output of an int8 file (default int8)")
    quantization.add_argument(
        "--for",
        dest="destination",
        choices=DESTINATIONS,
        help="where the file will run, which sets --io: " + ", ".join(f"{k} {v}" for k, v in DESTINATIONS.items()),
    )
    quantization.add_argument("--logits", action="store_true", help="cut off a softmax at the end")
    quantization.add_argument(
        "--metric", metavar="NAME", help="what counts of a model, of keras.metrics (default as labels and outputs say)"
    )
    quantization.add_argument(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="accuracy that int8 may lose (default 1.0 points), or so much of another metric in its own unit",
    )
    quantization.add_argument("--no-gate", action="store_true", help="ship a file that lost more, and say so")
    quantization.add_argument("--layers", action="store_true", help="show the error of each layer, worst marked")
    source = result.add_argument_group("model and data")
    source.add_argument("--weights", metavar="W", help="a checkpoint's name, a file, or 'random'; else it is trained")
    source.add_argument(
        "--data", help="mnist (default for training), fashion-mnist, digits, tfds:NAME, or a folder of classes"
    )
    source.add_argument("--skip-unreadable", action="store_true", help="leave out images that cannot be read")
    source.add_argument("--calibration", metavar="PATH", help="a folder of images, or .npz/.npy in the model's range")
    source.add_argument(
        "--input-range", metavar="LOW,HIGH", help="of the model's input: 0,1 or -1,1 or 0,255 or imagenet"
    )
    source.add_argument(
        "--epochs", type=_positive, default=DEFAULT_EPOCHS, metavar="N", help="of training (default 15)"
    )
    source.add_argument("--seed", type=int, default=0, metavar="N")
    source.add_argument("--input-shape", type=_positive, nargs=3, metavar=("H", "W", "C"))
    source.add_argument(
        "--streaming", action="store_true", help="one step of a model of sequences, whose states go in and come out"
    )
    source.add_argument("--classes", type=_positive, metavar="N")
    source.add_argument(
        "--import", dest="import_module", metavar="MODULE", help="a module that registers custom layers"
    )
    result.add_argument("--output", default="exports", metavar="DIR", help="folder for the results (default exports)")
    result.add_argument(
        "--snippet",
        nargs="+",
        action="extend",
        default=[],
        choices=SNIPPETS,
        help="write code for an app beside the file",
    )
    result.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    result.add_argument("--benchmark", action="store_true", help="then time the file on this CPU")
    result.add_argument("--verbose", action="store_true", help="show the converter's messages")
    return result


def needed(chosen: argparse.Namespace) -> list[str]:
    """The packages, beside Keras and its backend, without which what was chosen cannot be done."""
    trained = chosen.qat or chosen.prune or chosen.cluster
    return [
        "tensorflow",  # its converter, whatever the backend is
        "ai_edge_litert",
        *(["litert_quantizer"] if chosen.mode == "dynamic" else []),
        *(["tf_keras", "tensorflow_model_optimization"] if trained else []),
    ]


def _pruning(text: str) -> dict[str, Any]:
    """What `export.quantization.sparsity.Pruning` takes besides the training."""
    if pattern := re.fullmatch(r"(\d+):(\d+)", text):
        zeros, group = int(pattern[1]), int(pattern[2])
        if 0 < zeros < group:
            return {"pattern": (zeros, group)}
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 1:
            return {"sparsity": float(text)}
    raise argparse.ArgumentTypeError(f"{text!r} is no share between 0 and 1, such as 0.7, nor a pattern such as 2:4")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
