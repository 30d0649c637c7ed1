"""What the parent can ask of the worker. Each call takes (connection, header, arrays) and returns a pair."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np

from export.ir.graph import Graph
from export.worker import execute
from export.worker.wire import Arrays

Result = tuple[dict[str, Any], Arrays]


def versions() -> dict[str, str]:
    """Versions of what converts and trains here; tf_keras and TF-MOT are imported when training needs them."""
    return {name: version(name) for name in ("tensorflow", "tf_keras", "tensorflow-model-optimization")}


def convert(connection: Any, header: dict[str, Any], arrays: Arrays) -> Result:
    """A TFLite file: `execute.convert` of the graph with the header's mode, io, ranges and keep_float."""
    graph = Graph.from_header(header["graph"], arrays)
    options = {name: header[name] for name in ("ranges", "keep_float") if name in header}
    content = execute.convert(graph, header["mode"], header["io"], samples=_samples(graph, arrays), **options)
    return {}, {"file": np.frombuffer(content, np.uint8)}


def evaluate(connection: Any, header: dict[str, Any], arrays: Arrays) -> Result:
    """The outputs of the header's `names` for the samples, in float or with its `ranges` and `keep_float`."""
    graph = Graph.from_header(header["graph"], arrays)
    settings = (header["ranges"], header["keep_float"])
    outputs = execute.evaluate(graph, header["names"], _samples(graph, arrays), *settings)
    return {}, {str(index): array for index, array in enumerate(outputs)}


def layer_errors(connection: Any, header: dict[str, Any], arrays: Arrays) -> Result:
    """How far the file's values of the header's `names`, `found:0`, …, are from the graph's."""
    graph = Graph.from_header(header["graph"], arrays)
    found = {name: arrays[f"found:{index}"] for index, name in enumerate(header["names"])}
    return {}, {"powers": execute.layer_errors(graph, _samples(graph, arrays), found)}


def noise_powers(connection: Any, header: dict[str, Any], arrays: Arrays) -> Result:
    """What each tensor of the header's `ranges`, and each kernel of the arrays `rounded/…`, does to its `names`."""
    from export.worker import sensitivity

    graph = Graph.from_header(header["graph"], arrays)
    rounded = graph.copy()
    rounded.set_weights(_prefixed(arrays, "rounded/"))
    settings = (header["ranges"], header["names"], _samples(graph, arrays))
    signal, tensors, kernels = sensitivity.noise_powers(graph, rounded, *settings)
    return {"signal": signal}, {"tensors": tensors, "kernels": kernels}


def observe(connection: Any, header: dict[str, Any], arrays: Arrays) -> Result:
    """Minimum and maximum of each of the header's `names` for each sample."""
    graph = Graph.from_header(header["graph"], arrays)
    low, high = execute.observe(graph, header["names"], _samples(graph, arrays))
    return {}, {"low": low, "high": high}


def observe_channels(connection: Any, header: dict[str, Any], arrays: Arrays) -> Result:
    """Minimum and maximum in each channel of each of the header's `names` for each sample."""
    graph = Graph.from_header(header["graph"], arrays)
    found = execute.observe_channels(graph, header["names"], _samples(graph, arrays))
    return {}, {str(index): array for index, array in enumerate(found)}


def round_weights(connection: Any, header: dict[str, Any], arrays: Arrays) -> Result:
    """The kernels of the header's `names` on their 8-bit grids, and the biases that go with them."""
    from export.worker import gptq

    graph = Graph.from_header(header["graph"], arrays)
    return {}, gptq.round_weights(graph, header["names"], _samples(graph, arrays))


def train_quantized(connection: Any, header: dict[str, Any], arrays: Arrays) -> Result:
    """Quantization-aware training that keeps ranges: new weights, as the graph names them, and a history."""
    from export.worker import qat

    graph = Graph.from_header(header["graph"], arrays)
    settings = (header["ranges"], header["keep_float"], header["options"])
    weights, history = qat.train(graph, *settings, connection, **_objective(header, arrays))
    return {"history": history}, weights


def train_on_grid(connection: Any, header: dict[str, Any], arrays: Arrays) -> Result:
    """Quantization-aware training that learns ranges: new weights, and ranges and a history."""
    from export.worker import lsq

    graph = Graph.from_header(header["graph"], arrays)
    settings = (header["ranges"], header["shared"], header["keep_float"], header["options"])
    weights, ranges, history = lsq.train(graph, *settings, connection, **_objective(header, arrays))
    return {"history": history, "ranges": ranges}, weights


def learn_channels(connection: Any, header: dict[str, Any], arrays: Arrays) -> Result:
    """Scales and offsets of channels, learned: new weights, and ranges and a history."""
    from export.worker import learned_equalization

    graph = Graph.from_header(header["graph"], arrays)
    names = ("ranges", "shared", "keep_float", "groups", "shifted", "biases", "options")
    settings = {name: header[name] for name in names}
    weights, ranges, history = learned_equalization.learn(
        graph, **settings, connection=connection, **_objective(header, arrays)
    )
    return {"history": history, "ranges": ranges}, weights


def _objective(header: dict[str, Any], arrays: Arrays) -> dict[str, Any]:
    """The loss, where the header has a `teacher`: a graph whose weights are called `teacher/…`."""
    if "teacher" not in header:
        return {}
    from export.worker import lsq

    return {"objective": lsq.towards(Graph.from_header(header["teacher"], _prefixed(arrays, "teacher/")))}


def prune(connection: Any, header: dict[str, Any], arrays: Arrays) -> Result:
    """Pruning: new weights, as the graph names them, and a history."""
    from export.worker import sparsity

    weights, history = sparsity.prune(Graph.from_header(header["graph"], arrays), header["options"], connection)
    return {"history": history}, weights


def cluster(connection: Any, header: dict[str, Any], arrays: Arrays) -> Result:
    """Clustering: new weights, as the graph names them, and a history."""
    from export.worker import sparsity

    weights, history = sparsity.cluster(Graph.from_header(header["graph"], arrays), header["options"], connection)
    return {"history": history}, weights


def _prefixed(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _samples(graph: Graph, arrays: Arrays) -> list[np.ndarray]:
    return [arrays[f"sample:{index}"] for index in range(len(graph.inputs)) if f"sample:{index}" in arrays]
