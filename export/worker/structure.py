"""Training that gives kernels a structure: zeros (pruning) or few different values (clustering), by TF-MOT.

Kernels of convolutions and dense layers get it. Depthwise kernels are left alone: they hold few of the
weights and lose most by it, and TF-MOT does not touch them either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster as preserving

from export.graph import Graph, Operation
from export.wire import Arrays
from export.worker import training

STRUCTURED = ("conv2d", "dense")


def prune(graph: Graph, options: Mapping[str, Any], connection: Any) -> tuple[Arrays, training.History]:
    """Train with ever more of the smallest weights at zero.

    Args:
        options: those of `training.fit`, and `sparsity`, the share of zeros that a polynomial schedule
            reaches after two thirds of the steps, or `pattern` (m, n): m zeros in every n weights.
    """
    steps = options["steps_per_epoch"] * options["epochs"]
    sparsity = tfmot.sparsity.keras
    if options["pattern"]:
        schedule = sparsity.ConstantSparsity(0.5, begin_step=0, frequency=max(1, steps // 50))
        settings = {"pruning_schedule": schedule, "sparsity_m_by_n": tuple(options["pattern"])}
    else:
        end, frequency = max(1, 2 * steps // 3), max(1, steps // 50)
        schedule = sparsity.PolynomialDecay(0.0, options["sparsity"], 0, end, frequency=frequency)
        settings = {"pruning_schedule": schedule}

    def wrap(layer: training.OperationLayer) -> tf_keras.layers.Layer:
        return sparsity.prune_low_magnitude(layer, **settings) if _is_structured(layer.operation) else layer

    model, layers = training.build(graph, wrap)
    history = training.fit(model, layers, options, connection, "pruning", sparsity.UpdatePruningStep())
    return training.results(layers), history


def cluster(graph: Graph, options: Mapping[str, Any], connection: Any) -> tuple[Arrays, training.History]:
    """Train with each kernel's weights at a few shared values.

    Args:
        options: those of `training.fit`, `clusters`, how many values a kernel may have, and
            `preserve_sparsity`: zero stays one of them, for the same weights.
    """

    def wrap(layer: training.OperationLayer) -> tf_keras.layers.Layer:
        if not _is_structured(layer.operation):
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
    history = training.fit(model, layers, options, connection, "clustering")
    return training.results(layers), history


def _is_structured(operation: Operation) -> bool:
    return operation.kind in STRUCTURED and "kernel" in operation.trainable
