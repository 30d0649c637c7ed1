"""Train a model: `python -m keras_classics.train MODEL --data DATA --epochs N --output DIR`."""

from __future__ import annotations

import argparse
import ast
import importlib
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_classics import data, devices, registry, run_folder, weights
from keras_classics.augment import Augmentation
from keras_classics.checkpoint import Checkpoint, History
from keras_classics.errors import ArgumentParser, InputError, command_line
from keras_classics.parts import Dataset, Part, Shape
from keras_classics.progress import TrainingProgress

BATCH_SIZE = 64
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 1e-3
WARM_UP = 0.1  # of all steps
EVALUATION_BATCH = 256
FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy")


def build(name: str, dataset: Dataset, *, seed: int = 0, **arguments: Any) -> keras.Model:
    """The model `name` for the images and classes of `dataset`, as our recipes build it.

    Sets the seeds of Python, NumPy and the backend, from which the initial weights are drawn.
    `arguments` go to the constructor and come before the recipe's.
    """
    keras.utils.set_random_seed(seed)
    fixed = dict(input_shape=dataset.image_shape, classes=len(dataset.class_names))
    return registry.create_model(name, **registry.recipe_arguments(name, dataset.image_shape) | arguments | fixed)


def fit(
    model: keras.Model,
    dataset: Dataset,
    *,
    epochs: int,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    learning_rate: float = LEARNING_RATE,
    augmentation: bool = True,
    mixed_precision: devices.HalfPrecision | None = None,
    checkpoint: Checkpoint | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train `model` in place on `dataset.train`, with AdamW, a warm-up and a cosine to zero.

    Every shuffle and change of an image depends on `seed` and the epoch only. The last epoch's
    weights are the result; the validation part is only measured on.

    Args:
        model: from an image like the dataset's to one score or probability for each class.
        learning_rate: the peak, after the warm-up.
        augmentation: change the training images as `dataset.augmentation` says.
        mixed_precision: what to compute in instead of float32.
        checkpoint: is written after each epoch.
        resume: go on from `checkpoint` if it exists; the result is that of one whole training.
        progress: show a bar and a line for each epoch.

    Returns:
        `loss`, `accuracy`, `val_loss` and `val_accuracy`, a number for each epoch.

    Raises:
        ValueError: model, dataset and arguments do not go together, or the loss became infinite.
    """
    _check(model, dataset, epochs, batch_size, learning_rate)
    batch_size = devices.shareable(min(batch_size, len(dataset.train)))
    steps = len(dataset.train) // batch_size
    if steps == 0:
        raise InputError(f"{dataset.name} has too few training images, {len(dataset.train)}; add some")
    changes = dataset.augmentation if augmentation else None
    with devices.mixed_precision(model, mixed_precision):
        compile_for_training(model, epochs * steps, learning_rate)
        history: History = {name: [] for name in FIGURES}
        if resume and checkpoint and checkpoint.path.exists():
            history = checkpoint.restore(model)
        first_epoch = len(history["loss"])

        def stream() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for epoch in range(first_epoch, epochs):
                yield from batches(dataset.train, batch_size, [seed, epoch], changes)

        each_epoch = _EachEpoch(dataset.validation, history, checkpoint)
        with closing(TrainingProgress(history, epochs, steps)) if progress else nullcontext() as shown:
            model.fit(
                stream(),
                initial_epoch=first_epoch,
                epochs=epochs,
                steps_per_epoch=steps,
                callbacks=[each_epoch, shown] if shown else [each_epoch],
                shuffle=False,
                verbose=0,
            )
    return history


def compile_for_training(model: keras.Model, steps: int, learning_rate: float) -> None:
    """Give `model` its loss, metrics and an optimizer for `steps` steps."""
    warm_up = int(WARM_UP * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=steps - warm_up, warmup_target=learning_rate, warmup_steps=warm_up
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=not _gives_probabilities(model)),
        metrics=["accuracy"],
        jit_compile=keras.backend.backend() == "jax",  # XLA on CPU has very slow depthwise gradients
    )


def batches(
    part: Part, batch_size: int, seed: int | Sequence[int], augmentation: Augmentation | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One epoch of `part` in random order: float32 images in [0, 1] and int64 labels.

    Every batch has `batch_size` examples; what is left over waits for another epoch's shuffle.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(part))
    for start in range(0, len(part) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size]
        images = part.images(chosen)
        yield augmentation(images, random) if augmentation else images, part.labels[chosen]


def accuracy(model: keras.Model, part: Part) -> float:
    """Share of the whole `part` that `model` classifies right, in [0, 1]."""
    return float(np.mean(predict(model, part).argmax(axis=-1) == part.labels))


def predict(model: keras.Model, part: Part) -> np.ndarray:
    """What `model` makes of every image of `part`, in its order: (len(part), classes)."""
    return model.predict(_InOrder(part), verbose=0)[: len(part)]


class _InOrder(keras.utils.PyDataset):
    """The images of a part in batches of one size, which compiled code and several devices ask for.

    The last batch is filled up from the beginning of the part.
    """

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part, self.size = part, devices.shareable(min(EVALUATION_BATCH, len(part)), round_up=True)

    def __len__(self) -> int:
        return math.ceil(len(self.part) / self.size)

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        chosen = np.arange(index * self.size, (index + 1) * self.size)
        return (self.part.images(chosen % len(self.part)),)


class _EachEpoch(keras.callbacks.Callback):
    """Stops a training that diverges, measures on the validation part and writes the checkpoint."""

    def __init__(self, validation: Part, history: History, checkpoint: Checkpoint | None) -> None:
        super().__init__()
        self.validation, self.history, self.checkpoint = validation, history, checkpoint

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        figures = dict(logs or {})
        if not math.isfinite(figures["loss"]):
            raise InputError(f"the loss is {figures['loss']} in epoch {epoch + 1}; use a lower learning rate")
        scores, labels = predict(self.model, self.validation), self.validation.labels
        figures["val_loss"] = float(self.model.loss(labels, scores))
        figures["val_accuracy"] = float(np.mean(scores.argmax(axis=-1) == labels))
        for name in FIGURES:
            self.history[name].append(figures[name])
        if self.checkpoint:
            self.checkpoint.save(self.model, self.history)


def _check(model: keras.Model, dataset: Dataset, epochs: int, batch_size: int, learning_rate: float) -> None:
    for name, value in (("epochs", epochs), ("batch size", batch_size)):
        if value < 1:
            raise InputError(f"{name} is {value}; it takes a whole number of at least 1")
    if not 0 < learning_rate < math.inf:
        raise InputError(f"learning rate is {learning_rate}; it takes a number above 0")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            f"{model.name} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
            "training takes a model with one image as input and one output"
        )
    takes, gives = tuple(model.inputs[0].shape[1:]), model.outputs[0].shape[-1]
    has = dataset.image_shape
    if len(takes) != len(has) or any(a not in (None, b) for a, b in zip(takes, has, strict=True)):
        raise InputError(f"{model.name} takes images of shape {takes} and {dataset.name} has {has}; make them agree")
    if gives != len(dataset.class_names):
        raise InputError(
            f"{model.name} has {gives} outputs and {dataset.name} {len(dataset.class_names)} classes; "
            "use the data it was made for or a model with as many outputs"
        )


def _gives_probabilities(model: keras.Model) -> bool:
    last = next(layer for layer in reversed(model.layers) if layer.output is model.outputs[0])
    softmax = keras.activations.softmax
    return isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is softmax


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
    result.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, shuffles and image changes")
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
        "--learning-rate", type=float, default=LEARNING_RATE, metavar="RATE", help=f"the peak, default {LEARNING_RATE}"
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


@command_line
def main(argv: Sequence[str] | None = None) -> None:
    """Read the data, build or load the model, train, measure once on the test part, write the folder."""
    options = parser().parse_args(argv)
    if options.module:
        _import(options.module)
    output = options.output or Path("runs") / Path(options.model).stem
    run_folder.prepare(output)
    with devices.every_device():
        model, dataset = _model_and_data(options)
        recipe = dict(
            epochs=options.epochs,
            seed=options.seed,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
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
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "stopped by Ctrl-C; nothing half-written is left"
                + (", and --resume goes on after the last whole epoch" if checkpoint.path.exists() else "")
            ) from None
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
