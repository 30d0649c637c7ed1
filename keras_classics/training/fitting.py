"""Fit a model to a dataset: the recipe of all our trainings."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_classics import registry
from keras_classics.datasets.augment import Augmentation
from keras_classics.datasets.parts import Dataset, Part
from keras_classics.errors import InputError
from keras_classics.googlenet import LOSS_WEIGHTS
from keras_classics.layers import EuclideanRadialBasisFunction
from keras_classics.training import devices
from keras_classics.training.checkpoint import Checkpoint, History
from keras_classics.training.defaults import BATCH_NORM_LEARNING_RATE, BATCH_SIZE, LEARNING_RATE
from keras_classics.training.interruption import Interruption
from keras_classics.training.losses import MaximumAPosteriori
from keras_classics.training.progress import TrainingProgress

WEIGHT_DECAY = 0.01
"""What AdamW takes away from each weight in a step, as a share of it and times the learning rate."""

WARM_UP_SHARE = 0.1
"""The share of all steps in which the learning rate rises from zero to its peak."""

PREDICTION_BATCH_SIZE = 256
"""Images that are predicted at once; only speed and memory depend on it."""

AUXILIARY_LOSS_WEIGHT = LOSS_WEIGHTS[1]
"""The loss of each auxiliary output counts this much beside that of the first, as in GoogLeNet's paper."""

FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy")
"""The columns of a history, each with one number an epoch."""


def build(name: str, dataset: Dataset, /, *, seed: int = 0, **arguments: Any) -> keras.Model:
    """The model `name` for the images and classes of `dataset`, as our recipes build it.

    Sets the seeds of Python, NumPy and the backend, from which the initial weights are drawn.
    `arguments` go to the constructor and override the recipe's.
    """
    keras.utils.set_random_seed(seed)
    fitting = dict(input_shape=dataset.image_shape, classes=len(dataset.class_names))
    return registry.create_model(name, **fitting | registry.recipe_arguments(name, dataset.image_shape) | arguments)


def fit(
    model: keras.Model,
    dataset: Dataset,
    *,
    epochs: int,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    learning_rate: float | None = None,
    augmentation: bool = True,
    mixed_precision: devices.HalfPrecision | None = None,
    checkpoint: Checkpoint | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train `model` in place on `dataset.train`, with AdamW, a warm-up and a cosine to zero.

    Shuffles and changes of images depend on `seed` and the epoch only; so does what layers draw on
    PyTorch, whose global generator is seeded for each epoch. The last epoch's weights are the
    result; the validation part is only measured on.

    Args:
        model: from an image like the dataset's to one score or probability for each class, or to
            several such outputs: all but the first are auxiliary and count with GoogLeNet's 0.3.
            The radial basis functions of LeNet-5 are trained with `losses.MaximumAPosteriori`.
        dataset: its training part is learned from.
        epochs: how often every training image is seen.
        seed: of shuffles and image changes.
        batch_size: images a step; what is left over of an epoch waits for the next.
        learning_rate: the peak, after the warm-up; `default_learning_rate(model)` if None.
        augmentation: change the training images as `dataset.augmentation` says.
        mixed_precision: what to compute in instead of float32.
        checkpoint: is written after each epoch.
        resume: go on from `checkpoint` if it exists, to the result of one whole training; else an
            earlier checkpoint is removed.
        progress: show a bar and a line for each epoch.

    Returns:
        `loss` (of all outputs), `accuracy`, `val_loss` and `val_accuracy` (of the first), a number
        for each epoch.

    Raises:
        ValueError: model, dataset and arguments do not go together, or the loss became infinite.
        KeyboardInterrupt: Ctrl-C came; the batch at hand was finished, the epoch was not.
        TerminationError: the same of SIGTERM, where the program has a handler of it.
    """
    learning_rate = default_learning_rate(model) if learning_rate is None else learning_rate
    _check(model, dataset, epochs, batch_size, learning_rate)
    batch_size = devices.shareable(min(batch_size, len(dataset.train)))
    steps = len(dataset.train) // batch_size
    if steps == 0:
        raise InputError(f"{dataset.name} has too few training images, {len(dataset.train)}; add some")
    changes = dataset.augmentation if augmentation else None
    with devices.mixed_precision(model, mixed_precision):
        compile_for_training(model, epochs * steps, learning_rate)
        history: History = {name: [] for name in FIGURES}
        if checkpoint and checkpoint.path.exists():
            if resume:
                history = checkpoint.restore(model)
            else:
                checkpoint.path.unlink()
        first_epoch = len(history["loss"])

        if first_epoch == epochs:
            return history
        interruption, failures, heads = Interruption(), [], len(model.outputs)
        with TrainingProgress(history, epochs, steps, shown=progress) as shown, interruption.awaited():

            def stream() -> Iterator[tuple[np.ndarray, Any]]:
                try:
                    for epoch in range(first_epoch, epochs):
                        for step, batch in enumerate(batches(dataset.train, batch_size, [seed, epoch], changes)):
                            if interruption.came and step > 0:  # Keras on JAX bears no epoch without a batch
                                return
                            shown.batch()
                            images, labels = batch
                            yield images, (labels,) * heads if heads > 1 else labels
                except Exception as error:
                    failures.append(error)
                    raise

            each_epoch = _EachEpoch(seed, dataset.validation, history, checkpoint, shown, interruption)
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "Your input ran out of data")  # as it does on Ctrl-C
                    model.fit(
                        stream(),
                        initial_epoch=first_epoch,
                        epochs=epochs,
                        steps_per_epoch=steps,
                        callbacks=[each_epoch],
                        shuffle=False,
                        verbose=0,
                    )
            except Exception:
                if not failures:
                    raise
        interruption.raise_if_came()
        if failures:  # not as TensorFlow reports it, as an error of its own
            raise failures[0]
    return history


def default_learning_rate(model: keras.Model) -> float:
    """What our recipe takes for `model`: more if it has batch normalization."""
    normalized = any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    return BATCH_NORM_LEARNING_RATE if normalized else LEARNING_RATE


def compile_for_training(model: keras.Model, steps: int, learning_rate: float) -> None:
    """Give `model` its loss, metrics and an optimizer for `steps` steps."""
    warm_up = int(WARM_UP_SHARE * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=steps - warm_up, warmup_target=learning_rate, warmup_steps=warm_up
    )
    heads = len(model.outputs)
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY),
        loss=[_loss(model) for _ in range(heads)],
        loss_weights=[1.0] + [AUXILIARY_LOSS_WEIGHT] * (heads - 1),
        metrics=[["accuracy"]] + [[]] * (heads - 1),
        jit_compile=keras.backend.backend() == "jax",  # XLA on CPU has very slow depthwise gradients
    )


def _loss(model: keras.Model) -> keras.losses.Loss:
    if isinstance(_last_layer(model), EuclideanRadialBasisFunction):
        return MaximumAPosteriori()
    return keras.losses.SparseCategoricalCrossentropy(from_logits=not _gives_probabilities(model))


def batches(
    part: Part, batch_size: int, seed: int | Sequence[int], augmentation: Augmentation | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One epoch of `part` in random order: float32 images in [0, 1] and int64 labels.

    Every batch has `batch_size` examples; what is left over waits for another epoch's shuffle.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(part))
    for start in range(0, len(part) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size]
        images = part.images(chosen)
        yield augmentation(images, generator) if augmentation else images, part.labels[chosen]


def accuracy(model: keras.Model, part: Part) -> float:
    """Share of the whole `part` that `model` classifies right, in [0, 1]."""
    return float(np.mean(predict(model, part).argmax(axis=-1) == part.labels))


def predict(model: keras.Model, part: Part) -> np.ndarray:
    """The first output of `model` for every image of `part`, in its order: (len(part), classes)."""
    outputs = model.predict(_InOrder(part), verbose=0)
    first: np.ndarray = outputs[0] if isinstance(outputs, list | tuple) else outputs
    return first[: len(part)]


class _InOrder(keras.utils.PyDataset):
    """The images of a part in batches of one size, which compiled code and several devices ask for.

    The last batch is filled up from the beginning of the part.
    """

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part, self.size = part, devices.shareable(min(PREDICTION_BATCH_SIZE, len(part)), round_up=True)

    def __len__(self) -> int:
        return math.ceil(len(self.part) / self.size)

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        chosen = np.arange(index * self.size, (index + 1) * self.size)
        return (self.part.images(chosen % len(self.part)),)


class _EachEpoch(keras.callbacks.Callback):
    """Seeds an epoch; at its end, measures on the validation part and writes the checkpoint."""

    def __init__(
        self,
        seed: int,
        validation: Part,
        history: History,
        checkpoint: Checkpoint | None,
        progress: TrainingProgress,
        interruption: Interruption,
    ) -> None:
        super().__init__()
        self.seed, self.validation, self.history = seed, validation, history
        self.checkpoint, self.progress, self.interruption = checkpoint, progress, interruption

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        # Keras's dropout on PyTorch draws from the global generator, elsewhere from a variable of
        # the layer. The first epoch's data loader draws too, but before the first batch.
        if batch == 0 and keras.backend.backend() == "torch":
            import torch

            epoch = len(self.history["loss"])
            torch.manual_seed(int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0]))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if not self.interruption.came:
            self._conclude(epoch, dict(logs or {}))
        self.model.stop_training = self.interruption.came

    def _conclude(self, epoch: int, figures: dict[str, float]) -> None:
        if not math.isfinite(figures["loss"]):
            raise InputError(f"the loss is {figures['loss']} in epoch {epoch + 1}; use a lower learning rate")
        scores, labels = predict(self.model, self.validation), self.validation.labels
        if len(self.model.outputs) > 1:
            figures["accuracy"] = figures[f"{self.model.output_names[0]}_accuracy"]
        # `call` and the mean, for a strategy of TensorFlow divides what a loss gives by its devices.
        losses = self.model.loss[0].call(keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(scores))
        figures["val_loss"] = float(keras.ops.mean(losses))
        figures["val_accuracy"] = float(np.mean(scores.argmax(axis=-1) == labels))
        for name in FIGURES:
            self.history[name].append(figures[name])
        if self.checkpoint:
            self.checkpoint.save(self.model, self.history)
        self.progress.epoch(self.history)


def _check(model: keras.Model, dataset: Dataset, epochs: int, batch_size: int, learning_rate: float) -> None:
    for name, value in (("epochs", epochs), ("batch size", batch_size)):
        if value < 1:
            raise InputError(f"{name} is {value}; it takes a whole number of at least 1")
    if not 0 < learning_rate < math.inf:
        raise InputError(f"learning rate is {learning_rate}; it takes a number above 0")
    if len(model.inputs) != 1 or len({output.shape for output in model.outputs}) != 1:
        raise InputError(
            f"{model.name} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
            "training takes one image and gives one output, or several alike, the first of which counts"
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


def _last_layer(model: keras.Model) -> keras.layers.Layer:
    return next(layer for layer in reversed(model.layers) if layer.output is model.outputs[0])


def _gives_probabilities(model: keras.Model) -> bool:
    last = _last_layer(model)
    softmax = keras.activations.softmax
    return isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is softmax
