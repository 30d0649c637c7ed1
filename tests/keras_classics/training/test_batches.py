"""Batches: their order, their size, and what augmentation leaves alone."""

from __future__ import annotations

import numpy as np

from keras_classics.datasets.augment import Augmentation
from keras_classics.datasets.parts import Dataset
from keras_classics.training.batches import batches


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
