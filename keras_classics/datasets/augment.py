"""Random rotations, shifts, zooms and flips of training images, in NumPy and SciPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class Augmentation:
    """A random affine change of each image, drawn anew each time.

    Attributes:
        rotation_degrees: rotation by an angle drawn from ± this.
        shift: move along each axis by a distance drawn from ± this fraction of the side.
        zoom: magnification drawn from 1 ± this.
        horizontal_flip: mirror half of the images left to right.
        fill: what comes in from outside: "constant" (zeros) or the "nearest" pixel.
    """

    rotation_degrees: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    horizontal_flip: bool = False
    fill: Literal["constant", "nearest"] = "constant"

    def __call__(self, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Changed copies of `images`, float32 (n, height, width, channels)."""
        return self.apply(images, self.draw(len(images), random))

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """For each of `count` images four numbers in [-1, 1], and whether it is mirrored."""
        draws = random.uniform(-1, 1, (count, 4))
        return draws, random.random(count) < 0.5 if self.horizontal_flip else np.zeros(count, bool)

    def apply(self, images: np.ndarray, drawn: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Copies of `images`, float32 (n, height, width, channels), changed as was drawn."""
        draws, flipped = drawn
        if self.horizontal_flip:
            images = np.where(flipped[:, None, None, None], images[:, :, ::-1], images)
        if not (self.rotation_degrees or self.shift or self.zoom):
            return images
        return np.stack([self._warp(image, draw) for image, draw in zip(images, draws, strict=True)])

    def _warp(self, image: np.ndarray, draw: np.ndarray) -> np.ndarray:
        """`image` under the affine map that `draw`, four numbers in [-1, 1], picks."""
        angle = np.deg2rad(self.rotation_degrees) * draw[0]
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / (1 + self.zoom * draw[1])
        size = np.array(image.shape[:2])
        center = (size - 1) / 2
        offset = center - matrix @ (center + self.shift * size * draw[2:])
        warped = np.empty_like(image)
        for channel in range(image.shape[2]):
            ndimage.affine_transform(
                image[..., channel], matrix, offset, output=warped[..., channel], order=1, mode=self.fill
            )
        return warped
