"""All passes that every graph goes through, in their order and with the reason for it."""

from __future__ import annotations

from export.ir.graph import Graph
from export.passes.averages_to_means import averages_to_means
from export.passes.fold import Fold, Pass
from export.passes.fold_batch_normalization import fold_batch_normalization
from export.passes.fold_constants import fold_constants
from export.passes.fold_constants_backwards import fold_constants_backwards
from export.passes.limits_to_activations import limits_to_activations
from export.passes.loosen_ties import loosen_ties
from export.passes.merge_constants import merge_constants
from export.passes.merge_repeats import merge_repeats
from export.passes.remove_identities import remove_identities
from export.passes.sink_layouts import sink_layouts

PASSES: tuple[Pass, ...] = (
    # First of all, since the next finds what is left of a chain of limits, relu(relu(x)).
    limits_to_activations,
    # Before the next, which finds what a mean over axes of size one is.
    averages_to_means,
    # Before layouts, since what does nothing stands between two of them too; what constants cancel is found below.
    remove_identities,
    # Before folds, since a transposition hides a convolution from what could be folded into it.
    sink_layouts,
    # Before other constants: a normalization is folded backwards, into the layer that feeds it, where its β can be
    # trained as that layer's bias. What is left of normalizations are constants for the next two.
    fold_batch_normalization,
    # Before constants are folded forwards, which takes one multiplication and one addition at a time.
    merge_constants,
    fold_constants,
    # After forward folds, which a term cannot join where padding or a missing bias is behind it; this takes the rest.
    fold_constants_backwards,
    # After all that changes weights: whether places of a shared layer still have the same weights shows only now.
    loosen_ties,
    # Last, since it compares operations without weights, and constants between two of them are gone by now.
    merge_repeats,
)


def simplify(graph: Graph) -> list[Fold]:
    """Rewrite a graph in place by all passes; what is returned leads trained weights back."""
    return [fold for rewrite in PASSES for fold in rewrite(graph)]
