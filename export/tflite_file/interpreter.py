"""Running a TFLite file here, in the LiteRT interpreter, on float arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import InputError
from export.tflite_file.logits import softmax_inputs, with_outputs
from keras_classics.quiet import quiet_stderr


@dataclass(frozen=True)
class Port:
    """One input or output of a file. `scale` is 0 where the tensor is not quantized."""

    index: int
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Real numbers as the tensor stores them."""
        if not self.scale:
            return values.astype(self.dtype)
        limits = np.iinfo(self.dtype)
        return np.clip(np.round(values / self.scale) + self.zero_point, limits.min, limits.max).astype(self.dtype)

    def decode(self, values: np.ndarray) -> np.ndarray:
        """What the tensor stores as real numbers."""
        if not self.scale:
            return values.astype(np.float32)
        return (values.astype(np.float32) - self.zero_point) * np.float32(self.scale)


class Interpreter:
    """A loaded file.

    Attributes:
        inputs, outputs: its ports.
        logits: for each output of the file the position in `outputs` of what its softmax takes, or its own.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        inspect: bool = False,
        with_logits: bool = False,
        delegate: bool = True,
    ) -> None:
        """Load a file.

        Args:
            inspect: every tensor can be read, at the price of speed (no delegate).
            with_logits: what a softmax at the end takes is one more output.
            delegate: XNNPACK takes over what it can; else the built-in kernels run all.

        Raises:
            InputError: it is missing, is not a TFLite file, or uses what the runtime cannot run.
        """
        from ai_edge_litert import interpreter

        with Path(path).open("rb") as file:
            if file.read(8)[4:] != b"TFL3":
                raise InputError(f"{path} is not a TFLite file; export it again")
        model, logits = _with_logits(Path(path)) if with_logits else ({"model_path": os.fspath(path)}, {})
        resolvers = interpreter.OpResolverType
        resolver = resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES if inspect or not delegate else resolvers.AUTO
        try:
            with quiet_stderr():  # it says which delegate it made
                self._interpreter = interpreter.Interpreter(
                    **model,
                    experimental_op_resolver_type=resolver,
                    experimental_preserve_all_tensors=inspect,
                )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise InputError(f"{path} cannot be loaded by LiteRT: {' '.join(str(error).split())}") from error
        self.inputs = [_port(details) for details in self._interpreter.get_input_details()]
        self.outputs = [_port(details) for details in self._interpreter.get_output_details()]
        positions = {port.index: position for position, port in enumerate(self.outputs)}
        own = self.outputs[: len(self.outputs) - len(logits)]
        self.logits = [positions[logits.get(port.index, port.index)] for port in own]

    def run(self, samples: Sequence[np.ndarray], tensors: Sequence[int] | None = None) -> list[np.ndarray]:
        """Outputs, dequantized, for samples given one after the other.

        Args:
            samples: (N, …) for each input, real numbers.
            tensors: indices of other tensors to return instead of the outputs; needs `inspect`.
        """
        ports = self.outputs if tensors is None else [self._port_of(index) for index in tensors]
        collected: list[list[np.ndarray]] = [[] for _ in ports]
        for position in range(len(samples[0])):
            for port, array in zip(self.inputs, samples, strict=True):
                self._interpreter.set_tensor(port.index, port.encode(array[position : position + 1]))
            self.invoke()
            for port, values in zip(ports, collected, strict=True):
                values.append(port.decode(self._interpreter.get_tensor(port.index)))
        return [np.concatenate(values) for values in collected]

    def invoke(self) -> None:
        """Run once, on what the inputs hold."""
        self._interpreter.invoke()

    @property
    def output_names(self) -> list[str]:
        """What the output tensors are called."""
        return [details["name"] for details in self._interpreter.get_output_details()]

    def computed(self) -> list[tuple[str, int, str, tuple[int, ...]]]:
        """For each operator, in order of execution: its kind, and its first output's index, name and shape."""
        tensors = {details["index"]: details for details in self._interpreter.get_tensor_details()}
        found = []
        for operator in self._interpreter._get_ops_details():
            output = tensors[operator["outputs"][0]]
            shape = tuple(int(size) for size in output["shape"])
            found.append((operator["op_name"], int(output["index"]), output["name"], shape))
        return found

    def _port_of(self, index: int) -> Port:
        details = next(row for row in self._interpreter.get_tensor_details() if row["index"] == index)
        return _port(details)


def _with_logits(path: Path) -> tuple[dict[str, Any], Mapping[int, int]]:
    """The model as LiteRT takes it, with what its softmaxes take as outputs; and these by the softmax's output."""
    content = path.read_bytes()
    logits = softmax_inputs(content)
    if not logits:
        return {"model_path": os.fspath(path)}, logits
    return {"model_content": with_outputs(content, list(logits.values()))}, logits


def _port(details: dict[str, Any]) -> Port:
    scale, zero_point = details["quantization"]
    shape = tuple(int(size) for size in details["shape"])
    return Port(int(details["index"]), shape, np.dtype(details["dtype"]).name, float(scale), int(zero_point))
