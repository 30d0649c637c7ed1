"""The trainings of a job: what `--qat`, `--prune` and `--cluster` learn from, and for how long."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from export.cli.samples import ARRAY_FILES, image_shape, images_of_folder
from export.data.array_files import read_arrays
from export.data.input_range import InputRange
from export.quantization.qat import DISTILLATION_BATCH, FineTuning
from export.quantization.sparsity import Clustering, Pruning
from export.vocabulary import DISTILLATION_STEPS
from keras_classics import train
from keras_classics.datasets.parts import Dataset

FINE_TUNING_SEED = 1000  # epochs of fine-tuning must not repeat the shuffles and changes of training
PRUNING_EPOCHS = 4
PRUNING_LEARNING_RATE = 2e-3  # chosen on Fashion-MNIST's validation part: what is left must take over
QAT_EPOCHS = 2
CLUSTERING_EPOCHS = 2


def pruning(chosen: argparse.Namespace, dataset: Dataset | None, input_range: InputRange | None) -> Pruning:
    """What `--prune` asks for."""
    training = _training(chosen, dataset, input_range, PRUNING_EPOCHS, learning_rate=PRUNING_LEARNING_RATE)
    block = tuple(chosen.prune_block) if chosen.prune_block else None
    return Pruning(training, **chosen.prune, block=block, schedule=chosen.prune_schedule)


def clustering(chosen: argparse.Namespace, dataset: Dataset | None, input_range: InputRange | None) -> Clustering:
    """What `--cluster` asks for."""
    return Clustering(_training(chosen, dataset, input_range, CLUSTERING_EPOCHS), chosen.cluster)


def quantized_training(
    chosen: argparse.Namespace, model: keras.Model, dataset: Dataset | None, input_range: InputRange | None
) -> FineTuning:
    """What `--qat` learns from: the dataset, or with `--distill` a calibration folder or file too."""
    if dataset is not None:
        training = _training(chosen, dataset, input_range, chosen.qat_epochs or QAT_EPOCHS)
        return replace(training, distill=chosen.distill)
    if Path(chosen.calibration).suffix in ARRAY_FILES:
        arrays = read_arrays(Path(chosen.calibration))
        inputs = [arrays[each.name] for each in model.inputs] if isinstance(arrays, dict) else arrays
        training = FineTuning.on_arrays(inputs, None, DISTILLATION_BATCH, chosen.seed, distill=True)
        training = replace(training, epochs=math.ceil(DISTILLATION_STEPS / training.steps_per_epoch))
    else:
        photos = images_of_folder(Path(chosen.calibration), image_shape(model), skip_unreadable=chosen.skip_unreadable)
        assert input_range is not None  # photos have made it known
        training = FineTuning.on_photos(input_range.scale(photos), seed=chosen.seed)
    return replace(training, epochs=chosen.qat_epochs or training.epochs)


def _training(
    chosen: argparse.Namespace,
    dataset: Dataset | None,
    input_range: InputRange | None,
    epochs: int,
    learning_rate: float | None = None,
) -> FineTuning:
    assert dataset is not None  # _check_sources has seen to it
    assert input_range is not None
    size = min(train.BATCH_SIZE, len(dataset.train))

    def batches(epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        seed = [chosen.seed, FINE_TUNING_SEED + epoch]
        for images, labels in train.batches(dataset.train, size, seed, dataset.augmentation):
            yield input_range.scale(images), labels

    return FineTuning(batches, len(dataset.train) // size, epochs, learning_rate)
