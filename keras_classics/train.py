"""Train a model: `python -m keras_classics.train MODEL --data DATA --epochs N --output DIR`."""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from keras_classics import registry, weights
from keras_classics.datasets import data
from keras_classics.datasets.parts import Dataset, Shape
from keras_classics.errors import ArgumentParser, InputError, TerminationError, command_line
from keras_classics.training import devices, run_folder
from keras_classics.training.fitting import (
    BATCH_NORM_LEARNING_RATE,
    BATCH_SIZE,
    LEARNING_RATE,
    accuracy,
    batches,
    build,
    default_learning_rate,
    fit,
)

__all__ = ["BATCH_SIZE", "accuracy", "batches", "build", "fit", "main"]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = ArgumentParser(
        prog="python -m keras_classics.train",
        description="Train a model on a dataset. The backend is KERAS_BACKEND's.",
    )
    result.add_argument("model", help="a name of keras_classics.list_models(), or a .keras file to train on")
    result.add_argument(
        "--data", default="mnist", help="mnist (default), fashion-mnist, digits, or a folder of class folders"
    )
    result.add_argument("--epochs", type=int, default=15, metavar="N", help="default 15")
    result.add_argument("--output", type=Path, metavar="DIR", help="folder for the results (default runs/MODEL)")
    result.add_argument("--seed", type=_seed, default=0, metavar="N", help="of weights, shuffles and image changes")
    result.add_argument("--resume", action="store_true", help="go on where an interrupted training stopped")
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
    recipe = result.add_argument_group("recipe")
    recipe.add_argument("--batch-size", type=int, default=BATCH_SIZE, metavar="N", help=f"default {BATCH_SIZE}")
    recipe.add_argument(
        "--learning-rate",
        type=float,
        metavar="RATE",
        help=f"the peak (default {LEARNING_RATE}, with batch normalization {BATCH_NORM_LEARNING_RATE})",
    )
    recipe.add_argument("--no-augmentation", action="store_true", help="train on the images as they are")
    recipe.add_argument(
        "--mixed-precision",
        nargs="?",
        const="bfloat16",
        choices=("bfloat16", "float16"),
        help="compute in 16 bits; bfloat16 if nothing follows",
    )
    return result


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2³² - 1")
    return int(text)


@command_line
def main(argv: Sequence[str] | None = None) -> None:
    """Read the data, build or load the model, train, measure once on the test part, write the folder."""
    options = parser().parse_args(argv)
    if options.module:
        _import(options.module)
    output = options.output or Path("runs") / Path(options.model).stem
    with run_folder.reserved(output):
        _train(options, output)


def _train(options: argparse.Namespace, output: Path) -> None:
    with devices.every_device():
        model, dataset = _model_and_data(options)
        recipe = dict(
            epochs=options.epochs,
            seed=options.seed,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate if options.learning_rate is not None else default_learning_rate(model),
            augmentation=not options.no_augmentation,
            mixed_precision=options.mixed_precision,
        )
        settings = _settings(options, dataset, recipe)
        checkpoint = run_folder.checkpoint(output, settings)
        if options.resume and not checkpoint.path.exists() and run_folder.is_finished(output, settings):
            print(f"{output} holds this training's result already")
            return
        start = time.perf_counter()
        try:
            history = fit(model, dataset, checkpoint=checkpoint, resume=options.resume, **recipe)
        except (KeyboardInterrupt, TerminationError) as error:
            resumable = ", and --resume goes on after the last whole epoch" if checkpoint.path.exists() else ""
            left = f"nothing half-written is left{resumable}"
            if isinstance(error, TerminationError):
                raise TerminationError(error.number, left) from None
            raise KeyboardInterrupt(f"stopped by Ctrl-C; {left}") from None
        seconds = time.perf_counter() - start
        test_accuracy = accuracy(model, dataset.test)
    run_folder.write(
        output,
        model,
        dataset,
        history,
        {
            "settings": settings,
            "images": {name: len(part) for name, part in dataset.parts.items()},
            "test_accuracy": test_accuracy,
            "validation_accuracy": history["val_accuracy"][-1],
            "seconds": round(seconds, 1),
        },
    )
    checkpoint.path.unlink()
    print(f"{test_accuracy:.2%} of {len(dataset.test)} test images; {output / 'model.keras'}")


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"--import {module}: {error}; put its folder on PYTHONPATH") from error


def _model_and_data(options: argparse.Namespace) -> tuple[keras.Model, Dataset]:
    shape: Shape | None = tuple(options.input_shape) if options.input_shape else None
    if options.model.endswith(".keras"):
        if options.weights or options.model_argument:
            raise InputError("--weights and --model-argument go with a model's name; a .keras file has its own")
        model = weights.load_model(options.model)
        takes = tuple(model.inputs[0].shape[1:])
        keras.utils.set_random_seed(options.seed)
        return model, _read(options, shape or (takes if len(takes) == 3 and None not in takes else None))
    dataset = _read(options, shape, max(registry.entry(options.model).input_shape[:2]))
    arguments = dict(_model_argument(text) for text in options.model_argument)
    if "seed" in arguments:
        raise InputError("--model-argument seed is not one of the model's; use --seed")
    if options.weights:
        arguments["weights"] = options.weights
    return build(options.model, dataset, seed=options.seed, **arguments), dataset


def _read(options: argparse.Namespace, shape: Shape | None, default_size: int | None = None) -> Dataset:
    dataset = data.load(options.data, shape, default_size)
    if options.classes not in (None, len(dataset.class_names)):
        raise InputError(
            f"--classes is {options.classes} and {dataset.name} has {len(dataset.class_names)} classes; leave it out"
        )
    return dataset


def _model_argument(text: str) -> tuple[str, Any]:
    """`alpha=0.5` as ("alpha", 0.5); what is no Python literal is a string."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise InputError(f"--model-argument {text!r}: it takes KEY=VALUE, such as alpha=0.5")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def _settings(options: argparse.Namespace, dataset: Dataset, recipe: dict[str, Any]) -> dict[str, Any]:
    """All that decides a training's result, as far as the backend lets it."""
    return {
        "model": options.model,
        "model_arguments": options.model_argument,
        "weights": options.weights,
        "data": dataset.name,
        "image_shape": dataset.image_shape,
        "data_digests": {name: part.digest() for name, part in dataset.parts.items()},
        **recipe,
        "augmentation": asdict(dataset.augmentation) if recipe["augmentation"] else None,
        "backend": keras.backend.backend(),
    }


if __name__ == "__main__":
    sys.exit(main())
