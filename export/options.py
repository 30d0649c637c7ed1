"""What an export is asked for, and which of that goes together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from export.data.input_range import InputRange
from export.data.samples import InputRanges
from export.errors import InputError
from export.quantization.ptq import PostTraining
from export.quantization.qat import FineTuning
from export.quantization.sparsity import Clustering, Pruning
from export.vocabulary import INTEGER_MODES, IO_TYPES, MODES, PTQ_WAYS, Mode

__all__ = ["INTEGER_MODES", "IO_TYPES", "MODES", "PTQ_WAYS", "Choices", "Mode", "Options", "flag", "keyword"]

Spelling = Callable[[str], str]


def keyword(option: str) -> str:
    """How an argument of `export_tflite` is written."""
    return f"{option}="


def flag(option: str) -> str:
    """How the same is written on the command line."""
    return f"--{option.replace('_', '-')}"


class Choices(Protocol):
    """The options that can contradict each other, as `Options` and a parsed command line have them.

    `qat` is the training, or whether there is to be one.
    """

    @property
    def mode(self) -> Any: ...
    @property
    def io(self) -> Any: ...
    @property
    def ptq(self) -> Any: ...
    @property
    def qat(self) -> Any: ...
    @property
    def keep_float(self) -> Any: ...
    @property
    def mixed(self) -> Any: ...
    @property
    def prune(self) -> Any: ...
    @property
    def cluster(self) -> Any: ...
    @property
    def streaming(self) -> Any: ...


def refuse_contradictions(choices: Choices, spelled: Spelling) -> None:
    """Refuse what is unknown or does not go together.

    Args:
        spelled: how the user wrote an option, for the message.

    Raises:
        InputError: with what to change.
    """
    for option, known in (("mode", MODES), ("io", IO_TYPES), ("ptq", PTQ_WAYS)):
        value = getattr(choices, option)
        if value not in known and not isinstance(value, PostTraining):
            raise InputError(f"{spelled(option)} is {value!r}; it takes {', '.join(known)}")
    if choices.qat and choices.mode != "int8":
        raise InputError(f"{spelled('qat')} trains for int8 and the mode is {choices.mode}; export as int8")
    if isinstance(choices.keep_float, str):
        raise InputError(f"{spelled('keep_float')} is the text {choices.keep_float!r}; give a list of layers")
    if choices.keep_float and choices.mode != "int8":
        raise InputError(
            f"{spelled('keep_float')} keeps layers of an int8 file in float and the mode is {choices.mode}; "
            "leave it out"
        )
    if choices.streaming:
        trained = next((option for option in ("qat", "prune", "cluster") if getattr(choices, option)), None)
        if trained:
            raise InputError(
                f"{spelled(trained)} trains on whole sequences; export the model so without {spelled('streaming')}, "
                "and then the .keras file beside it with that"
            )
    if choices.mixed and not _can_mix(choices):
        raise InputError(
            f"{spelled('mixed')} finds layers for int8 that is tuned and not trained; find them so first, and name "
            f"them with {spelled('keep_float')} for training"
        )


def _can_mix(choices: Choices) -> bool:
    return choices.mode == "int8" and choices.ptq != "plain" and not choices.qat


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `export.export_tflite` is asked for; its arguments of these names are described there.

    Raises:
        InputError: an option is unknown, or does not go with another.
    """

    mode: Mode
    io: str = "int8"
    qat: FineTuning | None = None
    prune: Pruning | None = None
    cluster: Clustering | None = None
    ptq: Literal["tuned", "plain"] | PostTraining = "tuned"
    keep_float: Sequence[str] = ()
    logits: bool = False
    input_range: InputRanges = None
    normalization: InputRange | None = None
    class_names: Sequence[str] | None = None
    input_shape: Any = None
    streaming: bool = False
    metric: Any = None
    max_drop: float | None = None
    min_sqnr: float | None = None
    mixed: bool = False
    layers: bool = False
    gate: bool = True
    name: str | None = None

    def __post_init__(self) -> None:
        refuse_contradictions(self, keyword)

    @property
    def can_mix(self) -> bool:
        """Whether layers that are worth it can be found and left in float."""
        return _can_mix(self)

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
