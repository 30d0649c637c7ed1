"""Random changes of images: what moves, what stays, and that a seed repeats them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from keras_classics.datasets.augment import Augmentation


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def dot(row: int, column: int, side: int = 21, channels: int = 1) -> np.ndarray:
    image = np.zeros((side, side, channels), np.float32)
    image[row, column] = 1
    return image


def center_of_mass(image: np.ndarray) -> np.ndarray:
    weights = image[..., 0] / image[..., 0].sum()
    return np.array([(weights * axis).sum() for axis in np.indices(weights.shape)])


def test_nothing_asked_for_changes_nothing() -> None:
    images = rng().random((3, 8, 8, 2), np.float32)
    np.testing.assert_array_equal(Augmentation()(images, rng()), images)


def test_the_same_generator_state_repeats_the_changes_and_another_does_not() -> None:
    images, change = rng().random((4, 12, 12, 3), np.float32), Augmentation(20, 0.2, 0.2, horizontal_flip=True)
    np.testing.assert_array_equal(change(images, rng(1)), change(images, rng(1)))
    assert not np.array_equal(change(images, rng(1)), change(images, rng(2)))


def test_the_batch_given_is_left_as_it_was() -> None:
    images = rng().random((4, 12, 12, 1), np.float32)
    before = images.copy()
    Augmentation(20, 0.2, 0.2, horizontal_flip=True)(images, rng())
    np.testing.assert_array_equal(images, before)


def test_shifts_fill_the_range_asked_for_and_no_more() -> None:
    images = np.stack([dot(10, 10)] * 200)
    moved = [center_of_mass(image) - 10 for image in Augmentation(shift=0.1)(images, rng())]
    assert 1.9 < np.abs(moved).max() <= 2.1 + 1e-5
    assert np.abs(np.mean(moved, axis=0)).max() < 0.3


def test_rotations_turn_about_the_center_within_the_range() -> None:
    images = np.stack([dot(10, 18)] * 200)
    row, column = np.transpose(
        [center_of_mass(image) - 10 for image in Augmentation(rotation_degrees=30)(images, rng())]
    )
    angles = np.rad2deg(np.arctan2(row, column))
    assert 28 < np.abs(angles).max() < 31
    np.testing.assert_allclose(np.hypot(row, column), 8, atol=0.5)


def test_zooms_move_away_from_the_center_within_the_range() -> None:
    images = np.stack([dot(10, 15)] * 200)
    distances = [center_of_mass(image)[1] - 10 for image in Augmentation(zoom=0.2)(images, rng())]
    assert min(distances) == pytest.approx(5 * 0.8, abs=0.15)
    assert max(distances) == pytest.approx(5 * 1.2, abs=0.15)


def test_about_half_of_the_images_are_mirrored_and_the_others_are_not() -> None:
    images = np.stack([dot(3, 5)] * 200)
    flipped = Augmentation(horizontal_flip=True)(images, rng())
    mirrored, same = (flipped == dot(3, 15)).all((1, 2, 3)), (flipped == dot(3, 5)).all((1, 2, 3))
    assert (mirrored ^ same).all()
    assert 70 < mirrored.sum() < 130


def test_channels_move_together_and_values_stay_in_range() -> None:
    images = np.repeat(rng().random((5, 16, 24, 1), np.float32), 3, axis=3)
    changed = Augmentation(15, 0.1, 0.1)(images, rng())
    assert changed.shape == images.shape
    assert changed.dtype == np.float32
    np.testing.assert_array_equal(changed[..., 0], changed[..., 2])
    assert changed.min() >= 0
    assert changed.max() <= 1


@pytest.mark.parametrize(("fill", "darkest"), [("constant", 0.0), ("nearest", 1.0)])
def test_what_comes_in_from_outside_is_black_or_the_edge(fill: Any, darkest: float) -> None:
    white = np.ones((20, 9, 9, 1), np.float32)
    assert Augmentation(shift=0.4, fill=fill)(white, rng()).min() == darkest
