"""Training that gives kernels a structure: zeros (pruning) or few different values (clustering), by TF-MOT.

Which kernels get it is `Operation.compressible`.
"""

from __future__ import annotations

from typing import Any

import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster as preserving

from export.worker import training
from export.worker.protocol import Cluster, Prune, Trained

MASK_UPDATES = 50  # How often, in the whole training, it is chosen anew which weights are zero.


def prune(request: Prune, connection: Any) -> Trained:
    """Train with ever more of the smallest weights at zero."""
    steps = request.length.steps_per_epoch * request.length.epochs
    frequency = max(1, steps // MASK_UPDATES)
    sparsity = tfmot.sparsity.keras
    settings: dict[str, Any] = {}
    if request.pattern:
        settings["sparsity_m_by_n"] = tuple(request.pattern)
    if request.pattern or request.schedule == "constant":
        schedule = sparsity.ConstantSparsity(request.sparsity, begin_step=0, frequency=frequency)
    else:
        schedule = sparsity.PolynomialDecay(0.0, request.sparsity, 0, max(1, 2 * steps // 3), frequency=frequency)

    def wrap(layer: training.OperationLayer) -> tf_keras.layers.Layer:
        if not layer.operation.compressible:
            return layer
        block = {"block_size": tuple(request.block)} if request.block and layer.operation.kind == "dense" else {}
        return sparsity.prune_low_magnitude(layer, pruning_schedule=schedule, **settings, **block)

    model, layers = training.build(request, wrap)
    variables = [(training.trained_variables(model, layers), request.learning_rate)]
    step = sparsity.UpdatePruningStep()
    history = training.fit(model, variables, request, connection, step)
    return Trained(training.results(layers), history)


def cluster(request: Cluster, connection: Any) -> Trained:
    """Train with each kernel's weights at a few shared values."""

    def wrap(layer: training.OperationLayer) -> tf_keras.layers.Layer:
        if not layer.operation.compressible:
            return layer
        wrapped = preserving.cluster_weights(
            layer,
            number_of_clusters=min(request.clusters, layer.operation.weights["kernel"].size),
            cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS,
            preserve_sparsity=request.preserve_sparsity,
        )

        def kernel() -> Any:
            wrapped.update_clustered_weights_associations()
            return wrapped.get_weight_from_layer("kernel")

        layer.kernel_of = kernel
        return wrapped

    model, layers = training.build(request, wrap)
    variables = [(training.trained_variables(model, layers), request.learning_rate)]
    history = training.fit(model, variables, request, connection)
    return Trained(training.results(layers), history)
