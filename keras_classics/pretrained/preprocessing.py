"""From photos to the numbers that published weights were trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_classics.arguments import channel_axis


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop and normalization of one set of published weights; channels are R, G, B.

    Attributes:
        resize: the shorter side after resizing, in pixels.
        crop: height and width of the square cut from the centre, in pixels.
        mean, std: of each channel, for pixels in [0, 1]: the model's input is (x - mean) / std.
        interpolation: of the resizing, which is always antialiased.
    """

    resize: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bilinear"

    def model(self) -> keras.Model:
        """All of it as a Keras model.

        It takes RGB images of any one size with pixels in 0…255, (batch, height, width, 3), and
        gives float32 (batch, crop, crop, 3). The central square is cut out before it is resized,
        which spares pixels that are cut off later; torchvision resizes first and so may lie half a
        pixel beside this.
        """
        image = layers.Input((None, None, 3) if channel_axis() == 3 else (3, None, None), name="photo")
        x = layers.Resizing(
            self.resize,
            self.resize,
            interpolation=self.interpolation,
            crop_to_aspect_ratio=True,
            antialias=True,
            name="resize",
        )(image)
        x = layers.CenterCrop(self.crop, self.crop, name="crop")(x)
        return keras.Model(image, self.normalization(pixel_maximum=255)(x), name="preprocessing")

    def normalization(self, pixel_maximum: float = 1.0) -> keras.layers.Layer:
        """The normalization alone, for pixels in 0…`pixel_maximum`.

        In front of a model it makes one that takes such pixels, and that exports as it is.
        """
        shape = (3,) if channel_axis() == 3 else (3, 1, 1)
        mean, std = np.reshape(self.mean, shape), np.reshape(self.std, shape)
        return layers.Rescaling((1 / (pixel_maximum * std)).tolist(), (-mean / std).tolist(), name="normalization")

    def sized(self, side: int) -> Preprocessing:
        """The same for models that take `side`×`side` images, with the same share of the photo."""
        return replace(self, resize=round(self.resize * side / self.crop), crop=side)

    def description(self) -> dict[str, Any]:
        """All of it as JSON knows it, with `minimum` and `maximum` of each channel of the model's input."""
        return asdict(self) | {
            "minimum": [-mean / std for mean, std in zip(self.mean, self.std, strict=True)],
            "maximum": [(1 - mean) / std for mean, std in zip(self.mean, self.std, strict=True)],
        }
