"""What an export is given: a model, read into a graph, and data, checked against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from export.data.samples import Images, Inputs, as_inputs, check_calibration, check_range, digest, first, sample_digests
from export.data.scale_check import FirstNormalization, first_normalization
from export.errors import InputError
from export.frontend.read import read_graph
from export.ir.graph import Graph
from export.mixed_precision.keep_float import float_operations
from export.options import Options
from export.passes.cut_softmax import cut_softmax
from export.passes.fold import Fold
from export.passes.simplify import simplify

COMPARED_SAMPLES = 256
PROBING_SAMPLES = 4


@dataclass(frozen=True)
class Source:
    """A model and the graph that was read from it.

    Attributes:
        graph: with batch normalization folded.
        folds: lead trained weights back to the model's variables.
        normalization: the first one, as it was before it was folded.
        softmax_cut: whether the graph ends in logits where the model has a softmax.
        in_float: operations that the user wants in float.
    """

    model: keras.Model
    graph: Graph
    folds: Sequence[Fold]
    normalization: FirstNormalization | None
    softmax_cut: bool
    in_float: frozenset[str]

    @classmethod
    def read(cls, model: keras.Model, options: Options) -> Source:
        """Read a model; raises InputError where that or a layer to keep in float is not possible."""
        graph = read_graph(model)
        normalization = first_normalization(graph)
        folds = simplify(graph)
        softmax_cut = options.logits and cut_softmax(graph)
        homes = {name: fold.operation.name for fold in folds for name in fold.absorbed}
        in_float = float_operations(graph, options.keep_float, homes)
        return cls(model, graph, folds, normalization, softmax_cut, in_float)


@dataclass(frozen=True)
class Data:
    """The samples of an export, (N, …) for each input of the model.

    Attributes:
        calibrating: set ranges and tune; empty where none were given.
        evaluating, labels: measure accuracy; empty and None where none were given.
        compared: samples on which file and float model are compared; always some.
        compared_on: which samples these are.
    """

    calibrating: Inputs
    evaluating: Sequence[Images]
    labels: np.ndarray | None
    compared: Inputs
    compared_on: str

    @classmethod
    def checked(
        cls,
        graph: Graph,
        calibration: Any,
        evaluation: tuple[Any, np.ndarray] | None,
        input_range: tuple[float, float] | None,
    ) -> Data:
        """What was given, as arrays by input; raises InputError where it cannot be used."""
        shapes = [graph.operations[name].shape for name in graph.inputs]
        calibrating: Inputs = []
        evaluating: list[Images] = []
        labels = None
        if calibration is not None:
            given = as_inputs(calibration, graph.inputs, shapes, "calibration")
            calibrating = first(given, len(given[0]))
            check_calibration(calibrating, input_range)
        if evaluation is not None:
            evaluating = as_inputs(evaluation[0], graph.inputs, shapes, "evaluation")
            labels = np.asarray(evaluation[1])
            if len(labels) != len(evaluating[0]):
                raise InputError(f"evaluation has {len(evaluating[0])} samples and {len(labels)} labels")
            for array in first(evaluating, COMPARED_SAMPLES):
                check_range(array, input_range, "evaluation")
        if calibrating and evaluating:
            _check_disjoint(calibrating, evaluating)
        compared, compared_on = _compared(graph, calibrating, evaluating)
        return cls(calibrating, evaluating, labels, compared, compared_on)

    @property
    def calibration_record(self) -> dict[str, Any] | None:
        """Number and digest of the calibration samples, for the report."""
        return {"count": len(self.calibrating[0]), "digest": digest(self.calibrating)} if self.calibrating else None


def _check_disjoint(calibrating: Inputs, evaluating: Sequence[Images]) -> None:
    common = sample_digests(calibrating) & sample_digests(evaluating)
    if common:
        raise InputError(
            f"{len(common)} samples are in both calibration and evaluation; measure on samples that set no ranges"
        )


def _compared(graph: Graph, calibrating: Inputs, evaluating: Sequence[Images]) -> tuple[Inputs, str]:
    if evaluating:
        return first(evaluating, COMPARED_SAMPLES), "evaluation"
    if calibrating:
        return first(calibrating, COMPARED_SAMPLES), "calibration"
    random = np.random.default_rng(0)
    shapes = [(PROBING_SAMPLES, *graph.operations[name].shape) for name in graph.inputs]
    return [random.random(shape, np.float32) for shape in shapes], "uniform noise in [0, 1]"
