"""Fine-tuning: a classifier on a network that knows images already, then more of the network at a lower rate.

The first phase needs what the frozen network says of each image only once: its features are kept,
those of a few changed copies of each training image among them where the images are few.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_classics.arguments import channel_axis
from keras_classics.datasets.parts import Dataset, Part
from keras_classics.errors import InputError
from keras_classics.features import features
from keras_classics.pretrained.conversion import CLASSIFIER
from keras_classics.training.batches import Changes
from keras_classics.training.checkpoint import Checkpoint, History
from keras_classics.training.defaults import (
    CHECKPOINT_MINUTES,
    CLASSIFIER_LEARNING_RATE,
    FINE_TUNING_BATCH_SIZE,
    UNFROZEN_LEARNING_RATE,
)
from keras_classics.training.devices import HalfPrecision, all_layers
from keras_classics.training.fitting import fit
from keras_classics.training.measuring import outputs_of

BACKBONE, NOTHING = "backbone", "none"
"""What can be frozen beside the stages of a network: all but the classifier, or nothing."""

MOST_VIEWS, VIEWED_IMAGES = 8, 2000
"""Few training images are seen in up to so many changed copies while the backbone is frozen; so many in one."""

DROPOUT = 0.2
"""Before a new classifier on feature maps, as in MobileNetV2."""


@dataclass(frozen=True)
class FineTuning:
    """How to fine-tune.

    Attributes:
        freeze: "backbone", or the stage up to which the network stays frozen in the second phase, too.
        unfreeze_epochs: of the second phase.
        unfreeze_learning_rate: its peak.
        layer_decay: in the second phase each layer's rate is this much of that of the next one towards
            the output.
    """

    freeze: str = BACKBONE
    unfreeze_epochs: int = 0
    unfreeze_learning_rate: float = UNFROZEN_LEARNING_RATE
    layer_decay: float = 1.0


def with_preprocessing(model: keras.Model, layer: keras.layers.Layer) -> keras.Model:
    """A copy of a model of one image that does to it first what `layer` does; all other layers keep their names."""
    image = layers.Input(model.inputs[0].shape[1:], name="image")
    before: dict[int, keras.KerasTensor] = {}

    def call(operation: Any, *arguments: Any, **keywords: Any) -> Any:
        def seen(value: Any) -> Any:
            if value is not image:
                return value
            if not before:
                before[id(image)] = layer(image)
            return before[id(image)]

        return operation(*keras.tree.map_structure(seen, arguments), **keywords)

    plain = keras.Model(
        model.inputs[0], model.outputs[0] if len(model.outputs) == 1 else model.outputs, name=model.name
    )
    copy = keras.models.clone_model(plain, input_tensors=image, call_function=call)
    copy.set_weights(model.get_weights())
    return copy


def with_classifier(model: keras.Model, classes: int) -> keras.Model:
    """`model` with a fresh softmax of `classes` outputs in place of its classifier, or after its feature maps.

    All other layers are shared.

    Raises:
        ValueError: the model ends in neither.
    """
    end = model.outputs[0]
    if len(model.outputs) == 1 and len(end.shape) == 4:
        x = layers.GlobalAveragePooling2D(name="pool")(end)
        x = layers.Dropout(DROPOUT, name="dropout")(x)
    else:
        x = _classifier(model).input
    return keras.Model(model.inputs[0], layers.Dense(classes, "softmax", name=CLASSIFIER)(x), name=model.name)


def recorded_preprocessing(path: Path) -> keras.layers.Layer | None:
    """What brings images in [0, 1] to the range that `STEM.preprocess.json` beside a `.keras` file records, if needed.

    Raises:
        ValueError: the file is there and cannot be understood.
    """
    path = path.with_name(f"{path.stem}.preprocess.json")
    if not path.is_file():
        return None
    try:
        content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if "mean" in content:
            mean, std = (np.asarray(content[key], float) for key in ("mean", "std"))
            scale, offset = 1 / std, -mean / std
        else:
            low, high = map(float, content["input_range"])
            if (low, high) == (0, 1):
                return None
            scale, offset = np.asarray(high - low), np.asarray(low)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} does not say an input_range; write it as [low, high], or remove the file") from error
    if scale.ndim and channel_axis() == 1:
        scale, offset = (each.reshape(-1, 1, 1) for each in (scale, offset))
    return layers.Rescaling(scale.tolist(), offset.tolist(), name="normalization")


def fine_tune(
    model: keras.Model,
    dataset: Dataset,
    tuning: FineTuning,
    *,
    epochs: int,
    seed: int = 0,
    batch_size: int = FINE_TUNING_BATCH_SIZE,
    learning_rate: float | None = None,
    augmentation: bool = True,
    mixed_precision: HalfPrecision | None = None,
    keep_best: bool = False,
    patience: int | None = None,
    checkpoint: Checkpoint | None = None,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train a model's classifier, and then, if `tuning` asks for it, more of it; in place.

    In the first phase everything before the classifier, and the dropout before that, is frozen and
    runs as in inference. In the second phase batch normalization keeps its statistics, scales and
    shifts, which batches of a few images would spoil.

    Args:
        model: of one image and one output, whose last layer with weights is Dense.
        dataset: its training part is learned from.
        tuning: what is frozen, for how long, and at what rates the rest then learns.
        epochs: of the first phase.
        learning_rate: its peak; `CLASSIFIER_LEARNING_RATE` if None.
        seed, batch_size, augmentation, mixed_precision, progress: as `fit` has them.
        keep_best, patience: as `fit` has them, for each phase.
        checkpoint, checkpoint_minutes, resume: as `fit` has them.

    Returns:
        The history of both phases.

    Raises:
        ValueError: as `fit`, or the model has no classifier or no such stage.
    """
    frozen = frozen_layers(model, tuning.freeze)
    classifier = _classifier(model)
    train = functools.partial(
        fit,
        seed=seed,
        batch_size=batch_size,
        mixed_precision=mixed_precision,
        keep_best=keep_best,
        patience=patience,
        checkpoint_minutes=checkpoint_minutes,
        resume=resume,
        progress=progress,
    )
    second = replace(checkpoint, phase="unfrozen") if checkpoint else None
    history: History | None = None
    if not (resume and second and second.is_of_this_phase()):
        first = replace(checkpoint, phase="classifier") if checkpoint else None
        head, few = _head(model, classifier, seed), VIEWED_IMAGES // len(dataset.train)
        views = _Views(max(1, min(MOST_VIEWS, few)) if augmentation else 1)
        history = train(
            head,
            _features(model, dataset, views, seed),
            epochs=epochs,
            learning_rate=learning_rate or CLASSIFIER_LEARNING_RATE,
            changes=views,
            checkpoint=first,
        )
        classifier.set_weights(head.get_layer(classifier.name).get_weights())
    if not tuning.unfreeze_epochs:
        return history or {}
    everything = list(all_layers(model))
    before = [layer.trainable for layer in everything]
    try:
        for layer in everything:
            layer.trainable = not (layer.name in frozen or isinstance(layer, layers.BatchNormalization))
        return train(
            model,
            dataset,
            epochs=tuning.unfreeze_epochs,
            augmentation=augmentation,
            learning_rate=tuning.unfreeze_learning_rate,
            layer_rates=_rates(model, tuning.layer_decay),
            checkpoint=second,
            earlier=history,
        )
    finally:
        for layer, trainable in zip(everything, before, strict=True):
            layer.trainable = trainable


def frozen_layers(model: keras.Model, freeze: str) -> set[str]:
    """Names of the layers that stay frozen in the second phase: those up to a stage, or none.

    Raises:
        ValueError: the model has no such stage.
    """
    if freeze == BACKBONE:
        return set()
    return {layer.name for layer in features(model, stages=[freeze]).layers}


@dataclass(frozen=True)
class _Views:
    """Picks one of the changed copies that were made of each image; the first is the image itself."""

    count: int

    def draw(self, count: int, random: np.random.Generator) -> np.ndarray:
        return random.integers(self.count, size=count)

    def apply(self, images: np.ndarray, draws: np.ndarray) -> np.ndarray:
        chosen: np.ndarray = images[np.arange(len(images)), draws]
        return chosen


@dataclass(frozen=True)
class _Features(Part):
    """What a frozen network says of each image, (N, …), or of each of its copies, (N, views, …)."""

    values: np.ndarray

    def images(self, indices: np.ndarray | slice | None = None) -> np.ndarray:
        return self.values if indices is None else self.values[indices]


def _features(model: keras.Model, dataset: Dataset, views: _Views, seed: int) -> Dataset:
    """The dataset with the input of the classifier's head in place of the training and validation images."""
    frozen = keras.Model(model.inputs[0], _head_input(_classifier(model)))

    def of(part: Part, changes: Changes | None = None, view: int = 0) -> np.ndarray:
        return outputs_of(frozen, part, changes, [seed, view])

    copies = [of(dataset.train)]
    copies += [of(dataset.train, dataset.augmentation, view) for view in range(1, views.count)]
    train = _Features(dataset.train.labels, dataset.train.source, np.stack(copies, axis=1))
    validation = _Features(dataset.validation.labels, dataset.validation.source, of(dataset.validation))
    shape = validation.values.shape[1:]
    return replace(dataset, image_shape=shape, train=train, validation=validation)


def _head(model: keras.Model, classifier: keras.layers.Dense, seed: int) -> keras.Model:
    """A copy of what follows the frozen features: dropout, if any, the classifier and its activation."""
    start = _head_input(classifier)
    x = image = layers.Input(start.shape[1:], name="features")
    chain: list[keras.layers.Layer] = []
    tensor = model.outputs[0]
    while tensor is not start:
        layer = _maker(tensor)
        chain.insert(0, layer)
        tensor = layer.input
    for layer in chain:
        drawn = {"seed": seed} if isinstance(layer, layers.Dropout) else {}
        x = type(layer).from_config(layer.get_config() | drawn)(x)
    head = keras.Model(image, x, name=model.name)
    head.get_layer(classifier.name).set_weights(classifier.get_weights())
    return head


def _head_input(classifier: keras.layers.Dense) -> keras.KerasTensor:
    """What the classifier reads, before dropout, which draws anew each time."""
    tensor = classifier.input
    while isinstance(_maker(tensor), layers.Dropout):
        tensor = _maker(tensor).input
    return tensor


def _classifier(model: keras.Model) -> keras.layers.Dense:
    """The Dense layer that the model ends in, apart from activations. Raises ValueError where there is none."""
    layer = _maker(model.outputs[0])
    while isinstance(layer, layers.Softmax | layers.Activation):
        layer = _maker(layer.input)
    if len(model.inputs) != 1 or len(model.outputs) != 1 or not isinstance(layer, layers.Dense):
        raise InputError(
            f"{model.name} does not go from one image to one Dense layer, which fine-tuning begins with; "
            "use --freeze none, or a model without a top"
        )
    return layer


def _maker(tensor: keras.KerasTensor) -> keras.layers.Layer:
    """The layer whose output a tensor is."""
    return tensor._keras_history.operation


def _rates(model: keras.Model, decay: float) -> dict[str, float] | None:
    """Factors of the learning rate: 1 for the last layer with a kernel, `decay` for the one before, and so on."""
    if decay == 1:
        return None
    rates, depth = {}, 0
    for layer in reversed(model.layers):
        if layer.weights:
            rates[layer.name] = decay**depth
            depth += any(len(variable.shape) > 1 for variable in layer.weights)
    return rates
