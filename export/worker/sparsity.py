"""Training that gives kernels a structure: zeros (pruning) or few different values (clustering), by TF-MOT.

Which kernels get it is `Operation.compressible`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster as preserving

from export.ir.graph import Graph
from export.worker import training
from export.worker.wire import Arrays


def prune(graph: Graph, options: Mapping[str, Any], connection: Any) -> tuple[Arrays, training.History]:
    """Train with ever more of the smallest weights at zero.

    Args:
        options: those of `training.fit`, `learning_rate`, and `sparsity`, the share of zeros, which the
            `schedule` "polynomial" reaches after two thirds of the steps and "constant" at once; or `pattern`
            (m, n): m zeros in every n weights. `block` (rows, columns) is the size of what becomes zero together
            in dense kernels.
    """
    steps = options["steps_per_epoch"] * options["epochs"]
    frequency = max(1, steps // 50)
    sparsity = tfmot.sparsity.keras
    settings: dict[str, Any] = {}
    if options["pattern"]:
        settings["sparsity_m_by_n"] = tuple(options["pattern"])
    if options["pattern"] or options["schedule"] == "constant":
        schedule = sparsity.ConstantSparsity(options["sparsity"], begin_step=0, frequency=frequency)
    else:
        schedule = sparsity.PolynomialDecay(0.0, options["sparsity"], 0, max(1, 2 * steps // 3), frequency=frequency)

    def wrap(layer: training.OperationLayer) -> tf_keras.layers.Layer:
        if not layer.operation.compressible:
            return layer
        block = {"block_size": tuple(options["block"])} if options["block"] and layer.operation.kind == "dense" else {}
        return sparsity.prune_low_magnitude(layer, pruning_schedule=schedule, **settings, **block)

    model, layers = training.build(graph, wrap)
    variables = [(training.trained_variables(model, layers), options["learning_rate"])]
    step = sparsity.UpdatePruningStep()
    history = training.fit(model, variables, options, connection, "pruning", callback=step)
    return training.results(layers), history


def cluster(graph: Graph, options: Mapping[str, Any], connection: Any) -> tuple[Arrays, training.History]:
    """Train with each kernel's weights at a few shared values.

    Args:
        options: those of `training.fit`, `learning_rate`, `clusters`, how many values a kernel may have, and
            `preserve_sparsity`: zero stays one of them, for the same weights.
    """

    def wrap(layer: training.OperationLayer) -> tf_keras.layers.Layer:
        if not layer.operation.compressible:
            return layer
        wrapped = preserving.cluster_weights(
            layer,
            number_of_clusters=min(options["clusters"], layer.operation.weights["kernel"].size),
            cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS,
            preserve_sparsity=options["preserve_sparsity"],
        )

        def kernel() -> Any:
            wrapped.update_clustered_weights_associations()
            return wrapped.get_weight_from_layer("kernel")

        layer.kernel_of = kernel
        return wrapped

    model, layers = training.build(graph, wrap)
    variables = [(training.trained_variables(model, layers), options["learning_rate"])]
    history = training.fit(model, variables, options, connection, "clustering")
    return training.results(layers), history
