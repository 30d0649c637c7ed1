"""What numbers a model takes: from pixels in [0, 1], as datasets give them, to its input range."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import InputError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939, 116.779, 123.68)  # of blue, green and red, as keras.applications' `preprocess_input` has it


@dataclass(frozen=True)
class InputRange:
    """input = pixel · factor + offset, with one factor and offset or one for each channel.

    Attributes:
        reversed_channels: whether the model takes blue, green and red in this order.
    """

    factor: tuple[float, ...]
    offset: tuple[float, ...]
    reversed_channels: bool = False

    @classmethod
    def between(cls, low: float, high: float) -> InputRange:
        """Black is `low` and white is `high`."""
        return cls((high - low,), (low,))

    @classmethod
    def normalized(cls, mean: tuple[float, ...], std: tuple[float, ...]) -> InputRange:
        """(pixel − mean) / std by channel."""
        factor = tuple(1 / deviation for deviation in std)
        return cls(factor, tuple(-m / deviation for m, deviation in zip(mean, std, strict=True)))

    @classmethod
    def parse(cls, text: str) -> InputRange:
        """`imagenet` (torchvision's mean and deviation), `caffe` (keras.applications' VGG and ResNet) or `LOW,HIGH`."""
        if text == "imagenet":
            return cls.normalized(IMAGENET_MEAN, IMAGENET_STD)
        if text == "caffe":
            return cls((255.0,) * 3, tuple(-mean for mean in CAFFE_MEAN), reversed_channels=True)
        try:
            low, high = (float(number) for number in text.split(","))
        except ValueError:
            low = high = 0.0
        if not low < high:
            known = "LOW,HIGH such as 0,1 or -1,1 or 0,255, or imagenet or caffe"
            raise InputError(f"--input-range {text!r}: it takes {known}")
        return cls.between(low, high)

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest input."""
        ends = np.add.outer((0.0, 1.0), np.zeros(len(self.factor))) * self.factor + self.offset
        return float(ends.min()), float(ends.max())

    def scale(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels in [0, 1], (…, channels) from red to blue, as the model's input, float32."""
        pixels = pixels[..., ::-1] if self.reversed_channels else pixels
        return pixels * np.asarray(self.factor, np.float32) + np.asarray(self.offset, np.float32)


def recorded(model_path: Path) -> dict[str, Any]:
    """What stands beside a `.keras` file in `STEM.preprocess.json`; empty if there is none.

    Raises:
        InputError: the file is there and is no JSON object.
    """
    path = _beside(model_path)
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is no JSON object ({error}); write it anew, or remove the file") from error


def recorded_range(model_path: Path) -> InputRange | None:
    """The range recorded beside a `.keras` file; None if there is none.

    Training writes `input_range`; `preprocessing_for(…).description()` has `mean` and `std`.

    Raises:
        InputError: the record cannot be understood.
    """
    content = recorded(model_path)
    if not content:
        return None
    try:
        if "mean" in content:
            return InputRange.normalized(tuple(content["mean"]), tuple(content["std"]))
        value = content["input_range"]
        return InputRange.parse(value if isinstance(value, str) else "{},{}".format(*value))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        path = _beside(model_path)
        raise InputError(f"{path} does not say an input_range; write it as [low, high], or remove the file") from error


def recorded_class_names(model_path: Path) -> tuple[str, ...] | None:
    """The class names recorded beside a `.keras` file, in the order of its outputs; None if there are none."""
    names = recorded(model_path).get("class_names")
    return None if names is None else tuple(map(str, names))


def _beside(model_path: Path) -> Path:
    return model_path.with_name(f"{model_path.stem}.preprocess.json")
