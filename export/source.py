"""The model of an export and the graph that was read from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras

from export.data.input_range import InputRange
from export.data.range_evidence import derived_range
from export.data.scale_check import FirstNormalization, first_normalization
from export.errors import InputError
from export.frontend.opening import with_fixed_shapes
from export.frontend.read import read_graph
from export.ir.graph import Graph
from export.mixed_precision.keep_float import float_operations
from export.options import Options
from export.passes.cut_softmax import cut_softmax
from export.passes.fold import Fold, absorbing_operations
from export.passes.simplify import simplify


@dataclass(frozen=True)
class Source:
    """A model and the graph that was read from it.

    Attributes:
        model: functional, of fixed input shapes; it calls the user's model where that is not.
        graph: with batch normalization folded.
        folds: lead trained weights back to the model's variables.
        normalization: the first one, as it was before it was folded.
        cut: for each output whether the graph gives the logits of it, where the model has a softmax.
        keep_float: operations that stay in float: those that the user wants so, and those for which TFLite has no
            8-bit kernel.
        input_dtypes: by input.
        told_ranges: by input, the range that its dtype, or a Rescaling at it, is made for; None where nothing tells.
    """

    model: keras.Model
    graph: Graph
    folds: Sequence[Fold]
    normalization: FirstNormalization | None
    cut: Sequence[bool]
    keep_float: frozenset[str]
    input_dtypes: Mapping[str, str]
    told_ranges: Mapping[str, InputRange | None]

    @classmethod
    def read(cls, model: keras.Model, options: Options, carried: Sequence[tuple[str, str]] = ()) -> Source:
        """Read a model and simplify its graph.

        Args:
            carried: as `export.ir.graph.Graph` has it.

        Raises:
            InputError: a layer cannot be read, or one to keep in float is not there.
        """
        model = with_fixed_shapes(model, options.input_shape)
        graph = read_graph(model)
        graph.carried = list(carried)
        normalization = first_normalization(graph)
        dtypes = {name: str(each.dtype) for name, each in zip(graph.inputs, model.inputs, strict=True)}
        told_ranges = {name: derived_range(graph, name, dtypes[name]) for name in graph.inputs}
        folds = simplify(graph)
        cut = [options.logits and graph.logits(name) != name for name in graph.outputs]
        if any(cut):
            cut_softmax(graph)
        without_kernel = [name for name, operation in graph.operations.items() if not operation.traits.integer]
        if without_kernel and options.mode == "int16x8":
            operation = graph.operations[without_kernel[0]]
            raise InputError(
                f"TFLite has no integer kernel for {operation.function or operation.kind} (layer {operation.name!r}); "
                "export as int8, where it stays in float"
            )
        in_float = without_kernel if options.mode == "int8" else ()
        keep_float = float_operations(graph, options.keep_float, absorbing_operations(folds), in_float)
        return cls(model, graph, folds, normalization, cut, keep_float, dtypes, told_ranges)
