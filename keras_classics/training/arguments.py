"""What `python -m keras_classics.train` and `keras-classics train` take, apart from all that training imports."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_classics.errors import ArgumentParser
from keras_classics.training.defaults import (
    BATCH_NORM_LEARNING_RATE,
    BATCH_SIZE,
    CHECKPOINT_MINUTES,
    CLASSIFIER_LEARNING_RATE,
    FINE_TUNING_BATCH_SIZE,
    LEARNING_RATE,
    UNFROZEN_LEARNING_RATE,
)


def parser(prog: str = "python -m keras_classics.train") -> argparse.ArgumentParser:
    """The command line."""
    result = ArgumentParser(
        prog=prog,
        description="Train a model on a dataset. The backend is KERAS_BACKEND's.",
    )
    result.add_argument("model", help="a name of keras_classics.list_models(), or a .keras file to train on")
    result.add_argument(
        "--data", default="mnist", help="mnist (default), fashion-mnist, digits, or a folder of class folders"
    )
    result.add_argument("--skip-unreadable", action="store_true", help="leave out images that cannot be read")
    result.add_argument("--epochs", type=int, default=15, metavar="N", help="default 15")
    result.add_argument("--output", type=Path, metavar="DIR", help="folder for the results (default runs/MODEL)")
    result.add_argument("--seed", type=_seed, default=0, metavar="N", help="of weights, shuffles and image changes")
    result.add_argument("--resume", action="store_true", help="go on where an interrupted training stopped")
    result.add_argument(
        "--checkpoint-minutes",
        type=float,
        default=CHECKPOINT_MINUTES,
        metavar="N",
        help=f"write one when the last one is older, besides after each epoch (default {CHECKPOINT_MINUTES:g})",
    )
    shape = result.add_argument_group("model")
    shape.add_argument("--input-shape", type=int, nargs=3, metavar=("H", "W", "C"), help="resize the images to this")
    shape.add_argument("--classes", type=int, metavar="N", help="only checked: the data has the last word")
    shape.add_argument("--weights", metavar="W", help="a checkpoint's name or a file, instead of random weights")
    shape.add_argument(
        "--model-argument",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the constructor, such as alpha=0.5; may be repeated",
    )
    shape.add_argument("--import", dest="module", metavar="MODULE", help="a module that registers custom layers")
    tuning = result.add_argument_group("fine-tuning")
    tuning.add_argument(
        "--freeze",
        metavar="backbone|none|STAGE",
        help="train the classifier alone for --epochs; with a STAGE, such as stage5, all up to it stays frozen after "
        "that too (default backbone with published weights or a new classifier, else none)",
    )
    tuning.add_argument(
        "--unfreeze-epochs",
        type=int,
        default=0,
        metavar="N",
        help="then train all after STAGE for N epochs (default 0)",
    )
    tuning.add_argument(
        "--unfreeze-learning-rate",
        type=float,
        default=UNFROZEN_LEARNING_RATE,
        metavar="RATE",
        help=f"the peak there (default {UNFROZEN_LEARNING_RATE})",
    )
    tuning.add_argument(
        "--layer-decay",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="there, the rate of each layer is this much of the next one's (default 1)",
    )
    recipe = result.add_argument_group("recipe")
    recipe.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help=f"default {BATCH_SIZE}, for fine-tuning {FINE_TUNING_BATCH_SIZE}",
    )
    recipe.add_argument(
        "--learning-rate",
        type=float,
        metavar="RATE",
        help=f"the peak (default {LEARNING_RATE}, with batch normalization {BATCH_NORM_LEARNING_RATE}, "
        f"of a classifier alone {CLASSIFIER_LEARNING_RATE})",
    )
    recipe.add_argument("--no-augmentation", action="store_true", help="train on the images as they are")
    recipe.add_argument(
        "--mixed-precision",
        nargs="?",
        const="bfloat16",
        choices=("bfloat16", "float16"),
        help="compute in 16 bits; bfloat16 if nothing follows",
    )
    recipe.add_argument(
        "--keep-best", action="store_true", help="end with the weights of the epoch of best validation accuracy"
    )
    recipe.add_argument(
        "--early-stopping",
        type=int,
        metavar="N",
        help="end after N epochs without a better validation accuracy, with the best weights",
    )
    result.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    result.add_argument("--verbose", action="store_true", help="let the backend say what it has to say")
    return result


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2³² - 1")
    return int(text)
