"""Batches: their order, their size, and what augmentation leaves alone."""

from __future__ import annotations

import threading
from collections.abc import Callable

import keras
import numpy as np

from keras_classics.datasets.augment import Augmentation
from keras_classics.datasets.parts import Dataset, Part
from keras_classics.training import fitting
from keras_classics.training.batches import TrainingBatches, batches


def test_an_epoch_has_every_image_once_in_an_order_that_the_seed_decides(digits: Dataset) -> None:
    def labels_and_means(seed: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(images.mean((1, 2, 3)), labels) for images, labels in batches(digits.validation, 20, seed)]

    means = np.concatenate([mean for mean, _ in labels_and_means([0, 0])])
    np.testing.assert_allclose(np.sort(means), np.sort(digits.validation.images().mean((1, 2, 3))))
    again = np.concatenate([mean for mean, _ in labels_and_means([0, 0])])
    other = np.concatenate([mean for mean, _ in labels_and_means([0, 1])])
    np.testing.assert_array_equal(means, again)
    assert not np.array_equal(means, other)


def test_images_and_labels_stay_together(digits: Dataset) -> None:
    found = {
        image.tobytes(): label
        for images, labels in batches(digits.validation, 10, 0)
        for image, label in zip(images, labels, strict=True)
    }
    for image, label in zip(digits.validation.images(), digits.validation.labels, strict=True):
        assert found[image.tobytes()] == label


def test_all_batches_have_one_size_and_the_rest_waits(digits: Dataset) -> None:
    sizes = [(len(images), len(labels)) for images, labels in batches(digits.validation, 32, 0)]
    assert sizes == [(32, 32)] * 3


def test_augmentation_changes_images_and_not_labels(digits: Dataset) -> None:
    plain = list(batches(digits.validation, 50, 3))
    changed = list(batches(digits.validation, 50, 3, Augmentation(shift=0.2)))
    for (images, labels), (new_images, new_labels) in zip(plain, changed, strict=True):
        np.testing.assert_array_equal(labels, new_labels)
        assert not np.array_equal(images, new_images)


def test_batches_are_those_of_the_epochs_from_any_step_on_and_in_any_order(digits: Dataset) -> None:
    changes = Augmentation(shift=0.2)
    whole = TrainingBatches(digits.validation, 32, 5, changes, epochs=3)
    expected = [batch for epoch in range(3) for batch in batches(digits.validation, 32, [5, epoch], changes)]
    assert len(whole) == len(expected) == 9
    for index in (*range(9), 4, 0, 8):
        for one, other in zip(whole[index], expected[index], strict=True):
            np.testing.assert_array_equal(one, other)
    rest = TrainingBatches(digits.validation, 32, 5, changes, epochs=3, first=4)
    assert len(rest) == 5
    np.testing.assert_array_equal(rest[0][0], expected[4][0])


def test_the_next_batch_is_read_while_the_last_one_is_used(digits: Dataset) -> None:
    class Recording:
        reads = 0
        second = threading.Event()

        def pixels(self, indices: np.ndarray) -> np.ndarray:
            self.reads += 1
            if self.reads == 2:
                self.second.set()
            return digits.validation.source.pixels(indices)

    source = Recording()
    several = TrainingBatches(Part(digits.validation.labels, source), 32, 0, None, epochs=1)
    several[0]
    assert source.second.wait(60)
    several[1]
    several[2]
    assert source.reads == 3


def test_a_training_leaves_no_thread_that_reads(few_digits: Dataset, network: Callable[..., keras.Model]) -> None:
    fitting.fit(network(seed=0), few_digits, epochs=1, progress=False)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("batches")]
