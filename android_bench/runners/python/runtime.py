"""Loading one of the TFLite runtimes, and a model in it."""

from __future__ import annotations

from importlib import metadata
from typing import Any, NamedTuple, Protocol

import numpy as np

from android_bench.runners.python.errors import RunnerError


class Interpreter(Protocol):
    """What the interpreters of all runtimes have in common, as far as it is used here."""

    def allocate_tensors(self) -> None:
        """Plan the memory of all tensors."""

    def invoke(self) -> None:
        """Run one inference."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """Return index, name, shape, dtype and quantization of each input."""

    def get_output_details(self) -> list[dict[str, Any]]:
        """Return the same of each output."""

    def get_tensor_details(self) -> list[dict[str, Any]]:
        """Return the same of each tensor."""

    def get_tensor(self, index: int) -> np.ndarray:
        """Return a copy of a tensor's values."""

    def set_tensor(self, index: int, value: np.ndarray) -> None:
        """Copy values into a tensor."""

    def _get_ops_details(self) -> list[dict[str, Any]]:
        """Return index, name, inputs and outputs of each node."""


class Runtime(NamedTuple):
    """A runtime that was imported.

    Attributes:
        interpreter: the class of its interpreters.
        resolvers: the enumeration of its operator resolvers.
        version: its release.
    """

    interpreter: Any
    resolvers: Any
    version: str


def import_runtime(name: str) -> Runtime:
    """Import a runtime.

    Args:
        name: "litert", "tflite-runtime" or "tensorflow".

    Returns:
        The runtime.

    Raises:
        RunnerError: of kind "runtime", where it cannot be imported.
    """
    try:
        if name == "litert":
            from ai_edge_litert.interpreter import Interpreter, OpResolverType

            return Runtime(Interpreter, OpResolverType, metadata.version("ai-edge-litert"))
        if name == "tflite-runtime":
            from tflite_runtime.interpreter import Interpreter, OpResolverType

            return Runtime(Interpreter, OpResolverType, metadata.version("tflite-runtime"))
        import tensorflow

        resolvers = tensorflow.lite.experimental.OpResolverType
        return Runtime(tensorflow.lite.Interpreter, resolvers, tensorflow.__version__)
    except (ImportError, AttributeError) as error:
        raise RunnerError("runtime", str(error)) from error


def load(runtime: Runtime, model: str, delegate: str, threads: int) -> Interpreter:
    """Load a model and plan its memory.

    Args:
        runtime: the runtime to load it in.
        model: path of the .tflite file.
        delegate: "xnnpack" for the runtime's default delegate, "none" for its built-in kernels alone.
        threads: threads of one inference.

    Returns:
        An interpreter that is ready for input.

    Raises:
        RunnerError: of kind "model", where the runtime refuses the file.
    """
    arguments = {"model_path": model, "num_threads": threads}
    if delegate == "none":
        arguments["experimental_op_resolver_type"] = runtime.resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        interpreter: Interpreter = runtime.interpreter(**arguments)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise RunnerError("model", str(error)) from error
    return interpreter
