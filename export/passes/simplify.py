"""Rewrites of the neutral graph that leave what it computes unchanged, and the way back."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import keras
import numpy as np

from export.ir.graph import Graph, Operation, constant
from export.passes.sink_layouts import sink_layouts
from export.worker.wire import Arrays

WEIGHTED = ("conv2d", "depthwise_conv2d", "conv2d_transpose", "dense")
LEAST_FACTOR = 1e-6  # of the greatest: what is multiplied by less has no way back


class Fold(Protocol):
    """Operations whose work another one does as well."""

    @property
    def operation(self) -> Operation:
        """The one that does it."""
        ...

    @property
    def absorbed(self) -> list[str]:
        """Their names, which the graph no longer has."""
        ...

    def undone(self, weights: Arrays) -> Arrays:
        """The operation's weights before it, from (trained) weights after it."""
        ...


def simplify(graph: Graph) -> list[Fold]:
    """All rewrites in their order; what is returned leads trained weights back."""
    sink_layouts(graph)
    folds: list[Fold] = [*fold_batch_normalization(graph)]
    merge_constants(graph)
    folds += fold_constants(graph)
    loosen_ties(graph)
    return [*folds, *merge_repeats(graph)]


def loosen_ties(graph: Graph) -> None:
    """Leave tied operations untrained whose weights are no longer the same, since they took in different things."""
    tied: dict[str, list[Operation]] = defaultdict(list)
    for operation in graph.operations.values():
        if operation.tied:
            tied[operation.tied].append(operation)
    for first, *others in tied.values():
        for other in others:
            same_roles = first.trainable == other.trainable and first.weights.keys() == other.weights.keys()
            if not same_roles or any(np.any(first.weights[role] != other.weights[role]) for role in first.weights):
                for operation in (first, *others):
                    operation.tied, operation.trainable = "", []
                break


@dataclass
class FoldedNormalization:
    """A batch normalization that was folded into the operation before it.

    One that is used in several places is not trained, unless it is with what it follows: what each place would
    give it differs.
    """

    operation: Operation
    normalization: Operation
    shared: bool

    @property
    def absorbed(self) -> list[str]:
        """The normalization's name."""
        return [self.normalization.name]

    def undone(self, weights: Arrays) -> Arrays:
        """γ, μ and σ² stay; the kernel is divided by their factor, and β takes the bias, or else the bias itself.

        A channel whose factor is zero gets γ back at √(σ² + ε), since nothing could pass through it otherwise.
        """
        fixed = self.normalization.weights
        holder = {} if self.shared else self.normalization.variables
        deviation = np.sqrt(fixed["variance"] + np.float32(self.normalization.attributes["epsilon"]))
        gamma = fixed.get("gamma", np.ones_like(deviation))
        if "gamma" in holder and "kernel" in self.operation.trainable:
            gamma = np.where(np.abs(gamma) < LEAST_FACTOR * deviation, deviation, gamma)
            _assign(holder["gamma"], gamma)
        factor = gamma / deviation
        result = {"kernel": weights["kernel"] / _shaped(self.operation, factor)}
        own_bias = self.operation.variables.get("bias")
        start = keras.ops.convert_to_numpy(own_bias) if own_bias is not None else np.float32(0)
        if "beta" in holder:
            _assign(holder["beta"], weights["bias"] + (fixed["mean"] - start) * factor)
            return result | {"bias": np.broadcast_to(start, factor.shape)}
        return result | {"bias": (weights["bias"] - fixed.get("beta", np.float32(0))) / factor + fixed["mean"]}


def fold_batch_normalization(graph: Graph) -> list[FoldedNormalization]:
    """Fold each batch normalization into the convolution or dense layer that alone feeds it.

    At inference y = γ(x − μ)/√(σ² + ε) + β is linear, so the kernel takes the factor and the
    bias the rest. Those that follow nothing foldable, or a second one, become a multiply and an add.
    """
    uses = Counter(id(each) for operation in graph.operations.values() for each in operation.variables.values())
    ties = Counter(operation.tied or operation.name for operation in graph.operations.values())
    folds: list[FoldedNormalization] = []
    for normalization in [op for op in graph.operations.values() if op.kind == "batch_normalization"]:
        source = graph.operations[normalization.inputs[0]]
        once = source.name not in {fold.operation.name for fold in folds}
        if source.kind in WEIGHTED and _feeds_only_one(graph, source) and once:
            factor, offset = _factor(normalization), _offset(normalization)
            source.weights["kernel"] = source.weights["kernel"] * _shaped(source, factor)
            source.weights["bias"] = source.weights.get("bias", np.float32(0)) * factor + offset
            places = ties[source.tied or source.name]
            shared = any(uses[id(variable)] > places for variable in normalization.variables.values())
            if "beta" in normalization.variables and not shared and "bias" not in source.trainable:
                source.trainable.append("bias")
            folds.append(FoldedNormalization(source, normalization, shared))
            graph.remove(normalization)
        else:
            _replace(graph, [normalization], _factor(normalization), _offset(normalization))
    return folds


def _feeds_only_one(graph: Graph, operation: Operation) -> bool:
    return len(graph.consumers()[operation.name]) == 1 and operation.name not in graph.outputs


def _shaped(operation: Operation, by_output: np.ndarray) -> np.ndarray:
    """Numbers for output channels, in the shape that multiplies the kernel."""
    return by_output.reshape(operation.weights["kernel"].shape[2:]) if _is_depthwise(operation) else by_output


def _is_depthwise(operation: Operation) -> bool:
    return operation.kind == "depthwise_conv2d"


def _factor(normalization: Operation) -> np.ndarray:
    weights = normalization.weights
    deviation = np.sqrt(weights["variance"].astype(np.float64) + normalization.attributes["epsilon"])
    return (weights.get("gamma", np.float32(1)) / deviation).astype(np.float32)


def _offset(normalization: Operation) -> np.ndarray:
    weights = normalization.weights
    return weights.get("beta", np.float32(0)) - weights["mean"] * _factor(normalization)


def _replace(graph: Graph, run: list[Operation], factor: np.ndarray, term: np.ndarray) -> None:
    """Put a multiply and an add, as far as they do something, in the place of operations in a row."""
    first, last = run[0], run[-1]
    steps = [
        Operation(f"{last.name}/scaled", "multiply", list(first.inputs), last.shape, {}, {"factor": constant(factor)}),
        Operation(last.name, "add", [f"{last.name}/scaled"], last.shape, {}, {"term": constant(term)}),
    ]
    if not np.any(term):
        steps = [Operation(last.name, "multiply", list(first.inputs), last.shape, {}, steps[0].weights)]
    elif np.all(factor == 1):
        steps = [Operation(last.name, "add", list(first.inputs), last.shape, {}, steps[1].weights)]
    replaced = {each.name for each in run}
    operations: dict[str, Operation] = {}
    for name, operation in graph.operations.items():
        if name == last.name:
            operations |= {step.name: step for step in steps}
        elif name not in replaced:
            operations[name] = operation
    graph.operations = operations


def merge_constants(graph: Graph) -> None:
    """Make one multiply and one add, by channel, of several in a row (Rescaling, Normalization, …)."""
    for last in list(graph.operations.values()):
        if last.name in graph.operations and _linear(graph, last) and not _continues(graph, last):
            run = _run(graph, last)
            factor, term = _total(graph, run)
            if len(run) > max(1, int(np.any(factor != 1)) + int(np.any(term))):
                _replace(graph, run, factor, term)


def _linear(graph: Graph, operation: Operation) -> tuple[np.ndarray, np.ndarray] | None:
    """(factor, term), each for all channels or one for each, if that is what the operation does."""
    role = {"multiply": "factor", "add": "term"}.get(operation.kind)
    array = operation.weights.get(role) if role else None
    if array is None or operation.shape != graph.operations[operation.inputs[0]].shape:
        return None
    if array.size > 1 and not array.size == array.shape[-1] == operation.shape[-1]:
        return None
    array = array.reshape(-1).astype(np.float64)
    return (array, np.zeros(1)) if role == "factor" else (np.ones(1), array)


def _continues(graph: Graph, operation: Operation) -> bool:
    return _feeds_only_one(graph, operation) and _linear(graph, graph.consumers()[operation.name][0]) is not None


def _run(graph: Graph, last: Operation) -> list[Operation]:
    """The linear operations in a row that end with this one."""
    run = [last]
    while True:
        before = graph.operations[run[0].inputs[0]]
        if _linear(graph, before) is None or not _feeds_only_one(graph, before):
            return run
        run.insert(0, before)


def _total(graph: Graph, run: Sequence[Operation]) -> tuple[np.ndarray, np.ndarray]:
    factor, term = np.ones(1), np.zeros(1)
    for operation in run:
        linear = _linear(graph, operation)
        assert linear is not None
        factor, term = factor * linear[0], term * linear[0] + linear[1]
    return factor, term


@dataclass
class FoldedConstants:
    """A multiplication and an addition by channel that were folded into the operation behind them.

    Attributes:
        factor, term: in the shape that multiplies the operation's kernel.
    """

    operation: Operation
    absorbed: list[str]
    factor: np.ndarray
    term: np.ndarray

    def undone(self, weights: Arrays) -> Arrays:
        """The kernel is divided by the factor, and the bias loses what the term gave it."""
        kernel = weights["kernel"] / self.factor
        result = {"kernel": kernel}
        if "bias" in weights:
            result["bias"] = weights["bias"] - _response(self.operation, kernel, self.term)
        return result


def fold_constants(graph: Graph) -> list[FoldedConstants]:
    """Fold a multiply and an add by channel into the convolution or dense layer that alone reads them.

    The factor goes into the kernel. The term goes into the bias where no padding stands between, which
    knows nothing of it, and where training has a bias to change; otherwise it stays, divided by the factor.
    """
    folds = []
    for last in list(graph.operations.values()):
        if last.name not in graph.operations or _linear(graph, last) is None or _continues(graph, last):
            continue
        between, target = _target(graph, last)
        run = _run(graph, last)
        factor, term = _total(graph, run)
        if target is None or np.abs(factor).min() <= LEAST_FACTOR * np.abs(factor).max():
            continue
        padded = any(each.kind == "pad" for each in between) or _pads(target)
        trained = "kernel" in target.trainable and "bias" not in target.trainable
        if np.any(term) and (padded or trained):
            if np.all(factor == 1):
                continue
            absorbed = [each.name for each in run[:-1]]
            _replace(graph, run, np.ones(1), term / factor)
            term = np.zeros(1)
        else:
            absorbed = [each.name for each in run]
            for each in run:
                graph.remove(each)
        fold = FoldedConstants(target, absorbed, *(_by_input(target, each, last.shape[-1]) for each in (factor, term)))
        kernel = target.weights["kernel"]
        if np.any(term):
            bias = target.weights.get("bias", np.float32(0)) + _response(target, kernel, fold.term)
            target.weights["bias"] = constant(bias)
        target.weights["kernel"] = constant(kernel * fold.factor)
        folds.append(fold)
    return folds


def _target(graph: Graph, operation: Operation) -> tuple[list[Operation], Operation | None]:
    """The layer with a kernel that alone reads this operation, past padding and changes of shape, and these."""
    between: list[Operation] = []
    while _feeds_only_one(graph, operation):
        operation = graph.consumers()[operation.name][0]
        if operation.kind in WEIGHTED:
            return between, operation
        zeros_around = operation.kind == "pad" and len(operation.attributes["padding"]) < len(operation.shape)
        before = graph.operations[operation.inputs[0]]
        keeps_channels = operation.kind == "reshape" and (
            len(operation.shape) == 1 or operation.shape[-1] == before.shape[-1]
        )
        if not zeros_around and not keeps_channels:
            break
        between.append(operation)
    return between, None


def _pads(operation: Operation) -> bool:
    """Whether some of what the kernel sees at a border is not of its input."""
    if operation.kind == "conv2d_transpose":
        return True
    return operation.attributes.get("padding") == "same" and operation.weights["kernel"].shape[:2] != (1, 1)


def _by_input(operation: Operation, values: np.ndarray, channels: int) -> np.ndarray:
    """Numbers for input channels, in the shape that multiplies the kernel."""
    kernel = operation.weights["kernel"]
    values = np.broadcast_to(values, channels)
    if _is_depthwise(operation):
        return values[:, None]
    if operation.kind == "dense":
        return np.tile(values, kernel.shape[0] // channels)[:, None]
    groups = operation.attributes["groups"]
    return np.repeat(values.reshape(groups, -1).T, kernel.shape[3] // groups, axis=1)


def _response(operation: Operation, kernel: np.ndarray, by_input: np.ndarray) -> np.ndarray:
    """What a constant in each input channel gives each output channel."""
    axes = (0, 1) if _is_depthwise(operation) else tuple(range(kernel.ndim - 1))
    return (kernel * by_input).sum(axes).reshape(-1)


@dataclass
class MergedRepeats:
    """Operations that did once more what one before them does."""

    operation: Operation
    absorbed: list[str]

    def undone(self, weights: Arrays) -> Arrays:
        """They have no weights."""
        return weights


def merge_repeats(graph: Graph) -> list[MergedRepeats]:
    """Let operations without weights that do the same to the same inputs be one.

    The converter does so too, after it was told a range for each: where training made these differ, the file would
    compute in float.
    """
    merged: dict[str, MergedRepeats] = {}
    for operation in list(graph.operations.values()):
        if operation.kind == "input" or operation.weights:
            continue
        key = json.dumps([operation.kind, operation.inputs, operation.attributes, operation.shape], sort_keys=True)
        first = merged.setdefault(key, MergedRepeats(operation, []))
        if first.operation is not operation:
            graph.redirect(operation.name, first.operation.name)
            first.absorbed.append(operation.name)
            del graph.operations[operation.name]
    return [each for each in merged.values() if each.absorbed]


def cut_softmax(graph: Graph) -> bool:
    """Let the graph end in logits: drop a softmax that is an output. True if there was one."""
    cut = False
    for name in dict.fromkeys(graph.outputs):
        operation = graph.operations[name]
        if operation.attributes.get("function") == "softmax":
            graph.remove(operation)
            cut = True
    return cut


def carry_back(graph: Graph, folds: Sequence[Fold]) -> None:
    """Write the graph's trained weights into the Keras variables that they came from.

    The folds are undone, the last one first, so that the model computes what the graph does.
    """
    by_operation: dict[str, list[Fold]] = defaultdict(list)
    for fold in folds:
        by_operation[fold.operation.name].insert(0, fold)
    for operation in graph.operations.values():
        if not operation.trainable:
            continue
        values = dict(operation.weights)
        for fold in by_operation[operation.name]:
            values |= fold.undone(values)
        for role in operation.trainable:
            if role in operation.variables:
                value = values[role]
                order = operation.axes.get(role, range(value.ndim))
                _assign(operation.variables[role], value.transpose(np.argsort(order)))


def _assign(variable: keras.Variable, value: np.ndarray) -> None:
    variable.assign(keras.ops.convert_to_tensor(constant(value).reshape(variable.shape)))
