"""The words of an export's options. The command tells them in `--help`, before anything heavy is imported."""

from __future__ import annotations

from typing import Literal

Mode = Literal["float32", "float16", "dynamic", "int8", "int16x8"]
MODES: tuple[Mode, ...] = ("float32", "float16", "dynamic", "int8", "int16x8")
INTEGER_MODES = ("int8", "int16x8")
IO_TYPES = ("int8", "uint8", "float32")
PTQ_WAYS = ("tuned", "plain")

DESTINATIONS = {"android": "int8", "litertjs": "float32", "mediapipe": "uint8", "python": "int8"}
"""Where a file is to run, and the type of in- and outputs that an integer file has there.

MediaPipe takes uint8 and float32, LiteRT.js (2.5.3) the same two, of which float32 spares a page the arithmetic.
"""

SNIPPETS = ("py", "js", "kt")

PRUNING_SCHEDULES = ("polynomial", "constant")
"""How the share of zeros grows: over two thirds of the training, or all at once."""

DISTILLATION_STEPS = 1800
"""Steps of distillation on images without labels, of which there are few."""
