"""What `python -m keras_classics.train` does: read the data, train, measure once, write the folder."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from keras_classics import registry, weights
from keras_classics.datasets import data
from keras_classics.datasets.parts import Dataset, Shape
from keras_classics.errors import InputError, Terminated
from keras_classics.training import devices, run_folder
from keras_classics.training.fitting import build, default_learning_rate, fit
from keras_classics.training.measuring import accuracy


def run(options: argparse.Namespace) -> None:
    """Read the data, build or load the model, train, measure once on the test part, write the folder.

    Args:
        options: what `keras_classics.training.arguments.parser` gives.
    """
    if options.module:
        _import(options.module)
    output = options.output or Path("runs") / Path(options.model).stem
    if options.dry_run:
        _tell(options, output)
        return
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
        except (KeyboardInterrupt, Terminated) as error:
            by = "SIGTERM" if isinstance(error, Terminated) else "Ctrl-C"
            rest = ", and --resume goes on where it stopped" if checkpoint.path.exists() else ""
            raise type(error)(f"stopped by {by}; nothing half-written is left{rest}") from None
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
            "skipped": len(dataset.skipped),
            "test_accuracy": test_accuracy,
            "validation_accuracy": history["val_accuracy"][-1],
            "seconds": round(seconds, 1),
        },
    )
    checkpoint.path.unlink()
    print(f"{test_accuracy:.2%} of {len(dataset.test)} test images; {output / 'model.keras'}")


def _tell(options: argparse.Namespace, output: Path) -> None:
    """Say what would be trained, on what, and how long it took last time."""
    model, dataset = _model_and_data(options)
    parts = ", ".join(f"{len(part):,} {name}" for name, part in dataset.parts.items())
    steps = options.epochs * (len(dataset.train) // min(options.batch_size, len(dataset.train)))
    print(f"model      {options.model}, {model.count_params():,} parameters, images {dataset.image_shape}")
    print(f"data       {dataset.name}: {parts}; {len(dataset.class_names)} classes")
    print(f"training   {options.epochs} epochs, {steps:,} steps of {options.batch_size} images")
    print(f"output     {output}{', where a training stands' if (output / 'run.json').exists() else ''}")
    try:
        seconds = json.loads((output / "run.json").read_text(encoding="utf-8"))["seconds"]
        print(f"last time  {seconds:.0f} s")
    except (OSError, ValueError, KeyError, TypeError):
        print("last time  not known: there is no run.json")


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
    dataset = data.load(options.data, shape, default_size, options.skip_unreadable)
    for skipped in dataset.skipped:
        print(f"skipped: {skipped.partition('; ')[0]}", file=sys.stderr)
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
