"""Fit a model to a dataset: the recipe of all our trainings."""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping
from typing import Any

import keras

from keras_classics import registry
from keras_classics.datasets.parts import Dataset
from keras_classics.errors import FailedPartError, InputError
from keras_classics.googlenet import LOSS_WEIGHTS
from keras_classics.layers import EuclideanRadialBasisFunction
from keras_classics.training import devices
from keras_classics.training.batches import Changes, TrainingBatches
from keras_classics.training.checkpoint import Checkpoint, History, State
from keras_classics.training.defaults import BATCH_NORM_LEARNING_RATE, BATCH_SIZE, CHECKPOINT_MINUTES, LEARNING_RATE
from keras_classics.training.following import Follower, empty_history
from keras_classics.training.losses import MaximumAPosteriori
from keras_classics.training.optimizers import LayerwiseAdamW
from keras_classics.training.progress import TrainingProgress

WEIGHT_DECAY = 0.01
"""What AdamW takes away from each weight in a step, as a share of it and times the learning rate."""

WARM_UP_SHARE = 0.1
"""The share of all steps in which the learning rate rises from zero to its peak."""

AUXILIARY_LOSS_WEIGHT = LOSS_WEIGHTS[1]
"""The loss of each auxiliary output counts this much beside that of the first, as in GoogLeNet's paper."""


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
    changes: Changes | None = None,
    mixed_precision: devices.HalfPrecision | None = None,
    layer_rates: Mapping[str, float] | None = None,
    keep_best: bool = False,
    patience: int | None = None,
    checkpoint: Checkpoint | None = None,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    resume: bool = False,
    earlier: History | None = None,
    progress: bool = True,
) -> History:
    """Train `model` in place on `dataset.train`, with AdamW, a warm-up and a cosine to zero.

    Shuffles and changes of images depend on `seed` and the step only; so does what layers draw on
    PyTorch, whose global generator is seeded for each epoch. The last epoch's weights are the
    result unless `keep_best` is set; the validation part is only measured on.

    Args:
        model: from an image like the dataset's to one score or probability for each class, or to
            several such outputs: all but the first are auxiliary and count with GoogLeNet's 0.3.
            The radial basis functions of LeNet-5 are trained with `losses.MaximumAPosteriori`.
        dataset: its training part is learned from.
        epochs: how often every training image is seen.
        seed: of shuffles and image changes.
        batch_size: images a step; what is left over of an epoch waits for the next.
        learning_rate: the peak, after the warm-up; `default_learning_rate(model)` if None.
        augmentation: change the training images as `changes` says, or else `dataset.augmentation`.
        changes: what to do to the training images instead.
        mixed_precision: what to compute in instead of float32.
        layer_rates: factors of the learning rate by names of layers, 1 for all others.
        keep_best: end with the weights of the epoch with the best validation accuracy.
        patience: epochs without a better validation accuracy after which to end; None for never.
        checkpoint: is written after each epoch, when the last one is older than `checkpoint_minutes`,
            and on Ctrl-C and SIGTERM.
        resume: go on from `checkpoint` if it exists, to the result of one whole training; else an
            earlier checkpoint is removed.
        earlier: what came before in the history, of other phases of a training.
        progress: show a bar and a line for each epoch.

    Returns:
        `loss` (of all outputs), `accuracy`, `val_loss` and `val_accuracy` (of the first), a number
        for each epoch.

    Raises:
        ValueError: model, dataset and arguments do not go together, or the loss became infinite.
        FailedPartError: fewer steps were made than planned.
        KeyboardInterrupt: Ctrl-C came; the batch at hand was finished.
        TerminationError: the same of SIGTERM, where the program has a handler of it.
    """
    learning_rate = default_learning_rate(model) if learning_rate is None else learning_rate
    _check(model, dataset, epochs, batch_size, learning_rate, patience)
    batch_size = devices.shareable(min(batch_size, len(dataset.train)))
    steps = len(dataset.train) // batch_size if batch_size else 0
    if steps == 0:
        raise InputError(f"{dataset.name} has too few training images, {len(dataset.train)}; add some")
    changes = (changes or dataset.augmentation) if augmentation else None
    with devices.mixed_precision(model, mixed_precision):
        compile_for_training(model, epochs * steps, learning_rate, layer_rates)
        state = State({name: list(values) for name, values in (earlier or empty_history()).items()})
        if checkpoint and resume and checkpoint.is_of_this_phase():
            state = checkpoint.restore(model)
        elif checkpoint and not resume and earlier is None:
            checkpoint.path.unlink(missing_ok=True)
        heads = len(model.outputs)
        left = TrainingBatches(dataset.train, batch_size, seed, changes, epochs, state.position, heads)
        if len(left):
            all_epochs = len(state.history["loss"]) + epochs - state.position // steps
            _follow(
                model,
                left,
                Follower(
                    state,
                    epochs=epochs,
                    steps=steps,
                    seed=seed,
                    validation=dataset.validation,
                    checkpoint=checkpoint,
                    minutes=checkpoint_minutes,
                    keep_best=keep_best,
                    patience=patience,
                    progress=TrainingProgress(all_epochs, epochs * steps, state.position, progress),
                ),
            )
        if state.best:
            for variable, value in zip(model.variables, state.best, strict=True):
                variable.assign(value)
    return state.history


def _follow(model: keras.Model, left: TrainingBatches, follower: Follower) -> None:
    """Make the steps that are left, and say in one error of ours what came in between."""
    if follower.state.metrics:  # Keras makes the means' variables when they are first needed
        images, labels = left[0]
        model.test_on_batch(images, labels)
    with follower.progress, follower.interruption.awaited():
        try:
            model.fit(left, epochs=1, callbacks=[follower.watch, follower], shuffle=False, verbose=0)
        except Exception:
            if left.failure is None:
                raise
        finally:
            if follower.stopped:
                gc.collect()  # TensorFlow complains on stderr if its reader of an unfinished dataset outlives Python
            left.close()
    if left.failure is not None:  # not as TensorFlow reports it, as an error of its own
        raise left.failure
    if follower.watch.found:
        batch, loss = follower.watch.found
        epoch, step = divmod(left.first + batch, left.steps)
        raise InputError(
            f"the loss is {loss} at step {step + 1} of epoch {epoch + 1}; use a lower learning rate, "
            "or float32 where it is computed in 16 bits"
        )
    made, planned = int(keras.ops.convert_to_numpy(model.optimizer.iterations)), left.epochs * left.steps
    skips = hasattr(model.optimizer, "inner_optimizer")  # loss scaling leaves out steps whose gradients overflow
    if not follower.stopped and (follower.state.position < planned or (made != planned and not skips)):
        raise FailedPartError(
            f"{made} of {planned} planned steps were made, so batches were lost; report this with the backend, "
            "its version and its devices"
        )
    follower.interruption.raise_if_came()


def default_learning_rate(model: keras.Model) -> float:
    """What our recipe takes for `model`: more if it has batch normalization."""
    normalized = any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    return BATCH_NORM_LEARNING_RATE if normalized else LEARNING_RATE


def compile_for_training(
    model: keras.Model, steps: int, learning_rate: float, layer_rates: Mapping[str, float] | None = None
) -> None:
    """Give `model` its loss, metrics and an optimizer for `steps` steps.

    `layer_rates` are factors of the learning rate by names of layers.
    """
    warm_up = int(WARM_UP_SHARE * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=steps - warm_up, warmup_target=learning_rate, warmup_steps=warm_up
    )
    heads = len(model.outputs)
    model.compile(
        optimizer=_optimizer(model, schedule, layer_rates),
        loss=[_loss(model) for _ in range(heads)],
        loss_weights=[1.0] + [AUXILIARY_LOSS_WEIGHT] * (heads - 1),
        metrics=[["accuracy"]] + [[]] * (heads - 1),
        jit_compile=keras.backend.backend() == "jax",  # XLA on CPU has very slow depthwise gradients
    )


def _optimizer(
    model: keras.Model,
    schedule: keras.optimizers.schedules.LearningRateSchedule,
    layer_rates: Mapping[str, float] | None,
) -> keras.optimizers.Optimizer:
    if not layer_rates:
        return keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY)
    rates = {
        variable.path: layer_rates[layer.name]
        for layer in model.layers
        if layer.name in layer_rates
        for variable in layer.trainable_variables
    }
    return LayerwiseAdamW(schedule, weight_decay=WEIGHT_DECAY, rates=rates)


def _loss(model: keras.Model) -> keras.losses.Loss:
    if isinstance(_last_layer(model), EuclideanRadialBasisFunction):
        return MaximumAPosteriori()
    return keras.losses.SparseCategoricalCrossentropy(from_logits=not _gives_probabilities(model))


def _check(
    model: keras.Model,
    dataset: Dataset,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    patience: int | None,
) -> None:
    for name, value in (("epochs", epochs), ("batch size", batch_size), ("early stopping", patience)):
        if value is not None and value < 1:
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
