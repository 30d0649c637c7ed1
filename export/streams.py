"""A stream under way: the samples of a one-step model, and its file run step by step beside the model of sequences."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from export.data.samples import InputRanges, Inputs, first
from export.data.sources import MOST_CALIBRATION_SAMPLES, read
from export.errors import GateError, InputError
from export.frontend.streaming import Stream, streamed
from export.record import Record
from export.tflite_file.interpreter import Interpreter
from export.verification.gate import FLOAT_PARITY, LEAST_SQNR_DB
from export.verification.parity import keras_outputs, relative_noise, relative_rms

MOST_SEQUENCES = 64
"""Steps are taken of at most so many sequences: the states between them are computed in Keras, one step at a time."""
COMPARED_SEQUENCES = 8
"""The file is run step by step over so many sequences."""
STEPS_WITHOUT_DATA = 8
"""Of a model of any number of steps, where no data is given."""


@dataclass(frozen=True, eq=False)
class StreamParity(Record):
    """How the file, run step by step, differs from the model of sequences.

    Attributes:
        sequences, steps: how many sequences it was run over, from states of zero, and how many steps each had.
        relative_rms: of the difference of the outputs, of those that are no sequences after the last step.
        sqnr_db: signal to noise of the same, the signal being what varies about the mean; None without noise.
    """

    sequences: int
    steps: int
    relative_rms: float
    sqnr_db: float | None


@dataclass(frozen=True)
class OneStep:
    """An export of a one-step model.

    Attributes:
        stream: that model.
        whole: the model of sequences.
        calibration: all steps of the sequences that were given, with the states before them; None without any.
        sequences: some to run the file over, (N, steps, …) for each input of `whole`.
        input_range: by input, if known.
    """

    stream: Stream
    whole: keras.Model
    calibration: list[np.ndarray] | None
    sequences: Inputs
    input_range: Mapping[str, tuple[float, float]] | None

    @classmethod
    def of(cls, model: keras.Model, input_shape: Any, calibration: Any, input_range: InputRanges) -> OneStep:
        """The one-step model, and its samples from sequences.

        Args:
            calibration: sequences, as `export.export_tflite` takes samples; None for none.

        Raises:
            InputError: the model has no steps that can be taken one by one, or the data does not fit it.
            GateError: run step by step, the model does not give what it gives for the sequence.
        """
        stream, whole = streamed(model, input_shape)
        shapes = [tuple(each.shape[1:]) for each in whole.inputs]
        steps: list[np.ndarray] | None = None
        if calibration is None:
            random = np.random.default_rng(0)
            sequences = [_noise(each, random) for each in whole.inputs]
        else:
            given, _ = read(calibration, stream.sequences, shapes, "calibration", MOST_SEQUENCES)
            taken = first(given, MOST_SEQUENCES)
            sequences, steps = first(taken, COMPARED_SEQUENCES), _some(stream.samples(taken))
        one_step = cls(stream, whole, steps, sequences, _by_name(input_range, stream.sequences))
        _, found = stream.run(sequences)
        different = relative_rms(keras_outputs(whole, sequences), one_step._joined(found))
        if different > FLOAT_PARITY["float32"]:
            raise GateError(
                f"model {model.name!r} run step by step differs from itself run over sequences (relative RMS "
                f"{different:.2g}); export it without streaming"
            )
        return one_step

    def compared(self, path: str | os.PathLike[str], names: Sequence[str], outputs: Sequence[str]) -> StreamParity:
        """Run a file step by step over the sequences.

        Args:
            names, outputs: of the file's inputs and outputs, in their order.
        """
        file = Interpreter(path)
        results: list[list[list[np.ndarray]]] = []
        for number in range(len(self.sequences[0])):
            values = {name: np.zeros((1, *port.shape[1:])) for name, port in zip(names, file.inputs, strict=True)}
            results.append([])
            for step in range(self.sequences[0].shape[1]):
                for name, array in zip(self.stream.sequences, self.sequences, strict=True):
                    values[name] = array[number : number + 1, step : step + 1]
                found = dict(zip(outputs, file.run([values[name] for name in names]), strict=True))
                values |= {name: found[after] for name, after in self.stream.carried}
                results[-1].append([found[name] for name in self.stream.outputs])
        by_step = zip(*results, strict=True)
        found_by_step = [[np.concatenate(each) for each in zip(*samples, strict=True)] for samples in by_step]
        expected, values_found = keras_outputs(self.whole, self.sequences), self._joined(found_by_step)
        noise = relative_noise(expected, values_found)
        return StreamParity(
            sequences=len(self.sequences[0]),
            steps=self.sequences[0].shape[1],
            relative_rms=relative_rms(expected, values_found),
            sqnr_db=-20 * math.log10(noise) if 0 < noise < math.inf else None,
        )

    def _joined(self, steps: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
        """Outputs by step as the model of sequences gives them: of those that are no sequences, the last."""
        together = zip(self.stream.in_steps, zip(*steps, strict=True), strict=True)
        return [np.concatenate(each, axis=1) if in_steps else each[-1] for in_steps, each in together]


def stream_faults(parity: StreamParity, mode: str, min_sqnr: float | None) -> list[str]:
    """What speaks against a file that gives this, run step by step."""
    if mode in FLOAT_PARITY:
        if parity.relative_rms <= FLOAT_PARITY[mode]:
            return []
        return [f"run step by step the file differs from the model (relative RMS {parity.relative_rms:.2g})"]
    least = LEAST_SQNR_DB if min_sqnr is None else min_sqnr
    if parity.sqnr_db is None or parity.sqnr_db >= least:
        return []
    return [f"over {parity.steps} steps the file's outputs have an SQNR of {parity.sqnr_db:.1f} dB (least {least:g})"]


def _some(samples: list[np.ndarray]) -> list[np.ndarray]:
    """At most as many as calibration takes, of all sequences and steps, in no order."""
    chosen = np.random.default_rng(0).permutation(len(samples[0]))[:MOST_CALIBRATION_SAMPLES]
    return [array[chosen] for array in samples]


def _noise(tensor: keras.KerasTensor, random: np.random.Generator) -> np.ndarray:
    shape = (2, *(STEPS_WITHOUT_DATA if size is None else size for size in tensor.shape[1:]))
    values = random.normal(size=shape)
    return np.asarray(values if "float" in str(tensor.dtype) else values > 0, np.float32)


def _by_name(input_range: InputRanges, names: Sequence[str]) -> Mapping[str, tuple[float, float]] | None:
    """States have no range that is known."""
    if input_range is None or isinstance(input_range, Mapping):
        return input_range
    if len(names) > 1:
        raise InputError(f"input_range is one range and the model has the inputs {', '.join(names)}; give a dict")
    return {names[0]: input_range}
