"""Train a model: `python -m keras_classics.train MODEL --data DATA --epochs N --output DIR`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_classics import registry
from keras_classics.augment import Augmentation
from keras_classics.checkpoint import History
from keras_classics.parts import Dataset, Part

BATCH_SIZE = 32
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-3
WARM_UP = 0.1  # of all steps
EVALUATION_BATCH = 250


def build(name: str, dataset: Dataset, *, seed: int = 0, **arguments: Any) -> keras.Model:
    """The model `name` for the images and classes of `dataset`, as our recipes build it.

    Sets the seeds of Python, NumPy and the backend, from which the initial weights are drawn.
    `arguments` go to the constructor and override the recipe's.
    """
    keras.utils.set_random_seed(seed)
    recipe = registry.recipe_arguments(name, dataset.image_shape)
    shape = dict(input_shape=dataset.image_shape, classes=len(dataset.class_names))
    return registry.create_model(name, **shape | recipe | arguments)


def fit(
    model: keras.Model,
    dataset: Dataset,
    *,
    epochs: int,
    seed: int = 0,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    augmentation: bool = True,
    progress: bool = True,
) -> History:
    """Train `model` in place on `dataset.train`; return loss and accuracy after each epoch."""
    batch_size = min(batch_size or BATCH_SIZE, len(dataset.train))
    steps = len(dataset.train) // batch_size
    compile_for_training(model, steps * epochs, learning_rate or LEARNING_RATE)

    def stream() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for epoch in range(epochs):
            changes = dataset.augmentation if augmentation else None
            yield from batches(dataset.train, batch_size, [seed, epoch], changes)

    result = model.fit(
        stream(),
        epochs=epochs,
        steps_per_epoch=steps,
        validation_data=InOrder(dataset.validation),
        verbose=2 if progress else 0,
    )
    return result.history


def compile_for_training(model: keras.Model, steps: int, learning_rate: float) -> None:
    """Give `model` its loss, metrics and optimizer for `steps` steps."""
    warm_up = int(WARM_UP * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=steps - warm_up, warmup_target=learning_rate, warmup_steps=warm_up
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
        jit_compile=keras.backend.backend() == "jax",
    )


def batches(
    part: Part, batch_size: int, seed: int | list[int], augmentation: Augmentation | None = None
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


class InOrder(keras.utils.PyDataset):
    """A whole part in its own order, read a batch at a time."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part = part

    def __len__(self) -> int:
        return math.ceil(len(self.part) / EVALUATION_BATCH)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = slice(index * EVALUATION_BATCH, (index + 1) * EVALUATION_BATCH)
        return self.part.images(chosen), self.part.labels[chosen]


def accuracy(model: keras.Model, part: Part) -> float:
    """Share of the whole part that `model`'s first output classifies right, in [0, 1]."""
    outputs = model.predict(InOrder(part), verbose=0)
    scores = outputs[0] if isinstance(outputs, list | tuple) else outputs
    return float(np.mean(scores.argmax(axis=-1) == part.labels))
