"""How a model is to be exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from export.errors import InputError
from export.quantization.ptq import PostTraining
from export.quantization.qat import Clustering, FineTuning, Pruning
from export.verification.gate import INTEGER_MODES

Mode = Literal["float32", "float16", "dynamic", "int8", "int16x8"]
MODES: tuple[Mode, ...] = ("float32", "float16", "dynamic", "int8", "int16x8")
IO_TYPES = ("int8", "uint8", "float32")
PTQ_WAYS = ("tuned", "plain")


@dataclass(frozen=True)
class Options:
    """What `export.export_tflite` was asked for; its arguments of these names are described there."""

    mode: Mode
    io: str
    qat: FineTuning | None
    prune: Pruning | None
    cluster: Clustering | None
    ptq: Literal["tuned", "plain"] | PostTraining
    keep_float: Sequence[str]
    logits: bool
    input_range: tuple[float, float] | None
    max_drop: float
    min_sqnr: float | None
    mixed: bool
    layers: bool
    gate: bool
    name: str | None

    def check(self, calibrated: bool) -> None:
        """Refuse what does not go together; `calibrated` says whether there is calibration data.

        Raises:
            InputError: with what to change.
        """
        for what, value, known in (("mode", self.mode, MODES), ("io", self.io, IO_TYPES), ("ptq", self.ptq, PTQ_WAYS)):
            if value not in known and not isinstance(value, PostTraining):
                raise InputError(f"{what} is {value!r}; it takes {', '.join(known)}")
        if self.mode in INTEGER_MODES and not calibrated:
            raise InputError(f"{self.mode} needs representative data for its ranges; give calibration=")
        if self.qat and self.mode != "int8":
            raise InputError(f"quantization-aware training is for int8, not {self.mode}")
        if isinstance(self.keep_float, str):
            raise InputError(f"keep_float is the text {self.keep_float!r}; give a list of layers")
        if self.keep_float and not self.sets_ranges:
            raise InputError(f"layers can be kept in float in int8 files, not in {self.mode}; leave out keep_float")

        if self.mixed and not self.can_mix:
            raise InputError(
                "mixed precision is for int8 that is tuned and not trained; find the layers so, and name them with "
                "keep_float for training"
            )

    @property
    def can_mix(self) -> bool:
        """Whether layers that are worth it can be found and left in float."""
        return self.mode == "int8" and self.ptq != "plain" and not self.qat

    @property
    def sets_ranges(self) -> bool:
        """Whether the ranges of activations are ours, not the converter's."""
        return self.mode == "int8"

    @property
    def file_io(self) -> str:
        """The type of the file's inputs and outputs."""
        if self.mode == "int16x8" and self.io != "float32":
            return "int16"
        return self.io if self.mode == "int8" else "float32"
