"""What `python -m keras_classics.train` does: read the data, train, measure once, write the folder."""

from __future__ import annotations

import argparse
import ast
import functools
import json
import math
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from keras_classics import registry, weights
from keras_classics.datasets import data
from keras_classics.datasets.parts import Dataset, Shape
from keras_classics.errors import InputError, TerminationError
from keras_classics.pretrained import catalog
from keras_classics.pretrained.imagenet import preprocessing_for
from keras_classics.registration import import_of_user
from keras_classics.training import devices, run_folder, transfer
from keras_classics.training.defaults import BATCH_SIZE, CLASSIFIER_LEARNING_RATE, FINE_TUNING_BATCH_SIZE
from keras_classics.training.fitting import build, default_learning_rate, fit
from keras_classics.training.measuring import accuracy, largest_share


def run(options: argparse.Namespace) -> None:
    """Read the data, build or load the model, train, measure once on the test part, write the folder.

    Args:
        options: what `keras_classics.training.arguments.parser` gives.
    """
    if options.module:
        import_of_user(options.module)
    output = options.output or Path("runs") / Path(options.model).stem
    if options.dry_run:
        _tell(options, output)
        return
    with run_folder.reserved(output):
        _train(options, output)


def _train(options: argparse.Namespace, output: Path) -> None:
    with devices.every_device():
        model, dataset, freeze = _model_and_data(options)
        tuning = _tuning(options, freeze)
        recipe: dict[str, Any] = dict(
            epochs=options.epochs,
            seed=options.seed,
            batch_size=_batch_size(options, tuning),
            learning_rate=options.learning_rate,
            augmentation=not options.no_augmentation,
            mixed_precision=options.mixed_precision,
            keep_best=options.keep_best or options.early_stopping is not None,
            patience=options.early_stopping,
        )
        if recipe["learning_rate"] is None:
            recipe["learning_rate"] = CLASSIFIER_LEARNING_RATE if tuning else default_learning_rate(model)
        settings = _settings(options, dataset, recipe, tuning)
        checkpoint = run_folder.checkpoint(output, settings)
        if options.resume and not checkpoint.path.exists() and run_folder.is_finished(output, settings):
            print(f"{output} holds this training's result already")
            return
        if not options.checkpoint_minutes >= 0:
            raise InputError(f"--checkpoint-minutes is {options.checkpoint_minutes}; it takes 0 or more")
        fitted = functools.partial(
            functools.partial(transfer.fine_tune, tuning=tuning) if tuning else fit,
            checkpoint=checkpoint,
            checkpoint_minutes=options.checkpoint_minutes,
            resume=options.resume,
        )
        start = time.perf_counter()
        try:
            history = fitted(model, dataset, **recipe)
        except (KeyboardInterrupt, TerminationError) as error:
            resumable = ", and --resume goes on where it stopped" if checkpoint.path.exists() else ""
            left = f"nothing half-written is left{resumable}"
            if isinstance(error, TerminationError):
                raise TerminationError(error.number, left) from None
            raise KeyboardInterrupt(f"stopped by Ctrl-C; {left}") from None
        seconds = time.perf_counter() - start
        test_accuracy = accuracy(model, dataset.test)
        last = history["val_accuracy"][-1]
        validation_accuracy = accuracy(model, dataset.validation) if recipe["keep_best"] else last
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
            "validation_accuracy": validation_accuracy,
            "seconds": round(seconds, 1),
        },
    )
    checkpoint.path.unlink()
    share = largest_share(dataset.validation)
    if share == validation_accuracy:
        print(
            f"warning: the validation accuracy, {share:.2%}, is the share of the largest class: the model may answer "
            "that class alone; train for more epochs, on more images, or from --weights",
            file=sys.stderr,
        )
    print(f"{test_accuracy:.2%} of {len(dataset.test)} test images; {output / 'model.keras'}")


def _batch_size(options: argparse.Namespace, tuning: transfer.FineTuning | None) -> int:
    """Images of one step: what was asked for, or what is usual."""
    size: int = options.batch_size or (FINE_TUNING_BATCH_SIZE if tuning else BATCH_SIZE)
    return size


def _tell(options: argparse.Namespace, output: Path) -> None:
    """Say what would be trained, on what, and how long it took last time."""
    model, dataset, freeze = _model_and_data(options)
    tuning = _tuning(options, freeze)
    batch_size = _batch_size(options, tuning)
    parts = ", ".join(f"{len(part):,} {name}" for name, part in dataset.parts.items())
    steps = options.epochs * (len(dataset.train) // min(batch_size, len(dataset.train)))
    print(f"model      {options.model}, {model.count_params():,} parameters, images {dataset.image_shape}")
    print(f"data       {dataset.name}: {parts}; {len(dataset.class_names)} classes")
    print(f"training   {options.epochs} epochs, {steps:,} steps of {batch_size} images")
    if tuning:
        print(f"frozen     {tuning.freeze}; then {tuning.unfreeze_epochs} epochs of what is after it")
    print(f"output     {output}{', where a training stands' if (output / 'run.json').exists() else ''}")
    try:
        seconds = json.loads((output / "run.json").read_text(encoding="utf-8"))["seconds"]
        print(f"last time  {seconds:.0f} s")
    except (OSError, ValueError, KeyError, TypeError):
        print("last time  not known: there is no run.json")


def _model_and_data(options: argparse.Namespace) -> tuple[keras.Model, Dataset, str]:
    """The model for images in [0, 1], the data, and what of the model is frozen if the user does not say."""
    shape: Shape | None = tuple(options.input_shape) if options.input_shape else None
    if options.model.endswith(weights.MODEL_SUFFIXES):
        return _loaded(options, shape)
    entry = registry.entry(options.model)
    published = bool(options.weights) and weights.publisher_of(entry.name, options.weights) is not None
    if published and shape is None and not data.is_embedded(options.data):
        size = preprocessing_for(entry.name, _published_name(entry.name, options.weights)).crop
        shape = (size, size, 3)
    dataset = _read(options, shape, max(entry.input_shape[:2]))
    arguments = dict(_model_argument(text) for text in options.model_argument)
    if "seed" in arguments:
        raise InputError("--model-argument seed is not one of the model's; use --seed")
    if not options.weights:
        return build(options.model, dataset, seed=options.seed, **arguments), dataset, transfer.NOTHING
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", weights.FreshClassifierWarning)  # it is trained here
        model = build(options.model, dataset, seed=options.seed, weights=options.weights, **arguments)
    if published:
        name = _published_name(entry.name, options.weights)
        model = transfer.with_preprocessing(model, preprocessing_for(entry.name, name).normalization())
    return model, dataset, transfer.BACKBONE if published else transfer.NOTHING


def _published_name(model: str, given: str) -> str:
    """The published weights whose preprocessing goes with a name or a file: for a file the first of its publisher."""
    if given in catalog.names(model):
        return given
    publisher = weights.publisher_of(model, given)
    return next(each.name for each in catalog.published_weights(model) if each.publisher == publisher)


def _loaded(options: argparse.Namespace, shape: Shape | None) -> tuple[keras.Model, Dataset, str]:
    """A `.keras` file, with a new classifier where the data has other classes than it."""
    if options.weights or options.model_argument:
        raise InputError("--weights and --model-argument go with a model's name; a .keras file has its own")
    model = weights.load_model(options.model)
    takes = tuple(model.inputs[0].shape[1:])
    keras.utils.set_random_seed(options.seed)
    dataset = _read(options, shape or (takes if len(takes) == 3 and None not in takes else None))
    if (normalization := transfer.recorded_preprocessing(Path(options.model))) is not None:
        model = transfer.with_preprocessing(model, normalization)
    classes = len(dataset.class_names)
    if len(model.outputs[0].shape) == 2 and model.outputs[0].shape[-1] == classes:
        return model, dataset, transfer.NOTHING
    print(f"{options.model} tells other classes apart than {dataset.name}: it gets a new classifier of {classes}")
    return transfer.with_classifier(model, classes), dataset, transfer.BACKBONE


def _tuning(options: argparse.Namespace, freeze: str) -> transfer.FineTuning | None:
    """How to fine-tune, or None where the whole network is trained at once."""
    freeze = options.freeze or freeze
    if options.unfreeze_epochs < 0:
        raise InputError(f"--unfreeze-epochs is {options.unfreeze_epochs}; it takes 0 or more")
    if freeze == transfer.NOTHING:
        if options.unfreeze_epochs:
            raise InputError("--unfreeze-epochs follows a training with something frozen; give --freeze backbone")
        return None
    if not (options.weights or options.model.endswith(weights.MODEL_SUFFIXES)):
        raise InputError(f"--freeze keeps weights as they are, and those of {options.model} are random; give --weights")
    for flag, value in (
        ("unfreeze-learning-rate", options.unfreeze_learning_rate),
        ("layer-decay", options.layer_decay),
    ):
        if not 0 < value < math.inf:
            raise InputError(f"--{flag} is {value}; it takes a number above 0")
    return transfer.FineTuning(freeze, options.unfreeze_epochs, options.unfreeze_learning_rate, options.layer_decay)


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


def _settings(
    options: argparse.Namespace, dataset: Dataset, recipe: dict[str, Any], tuning: transfer.FineTuning | None
) -> dict[str, Any]:
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
        "fine_tuning": asdict(tuning) if tuning else None,
        "backend": keras.backend.backend(),
    }
