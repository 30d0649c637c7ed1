"""What there is and what it costs, as tables for the terminal."""

from __future__ import annotations

import re

from rich import box
from rich.table import Table

from keras_classics import registry
from keras_classics.cost import Cost
from keras_classics.pretrained import catalog


def zoo_table() -> Table:
    """One row for each model of the registry."""
    table = Table(
        box=box.SIMPLE, caption="MACs: multiply-accumulates of one image; top-1: of published weights, ImageNet"
    )
    _columns(table, "model paper", "input parameters MACs top-1", "backends checked")
    for name in registry.list_models():
        entry = registry.entry(name)
        table.add_row(
            name,
            _authors(entry.paper),
            "×".join(map(str, entry.input_shape)),
            f"{entry.counts.parameters:,}",
            f"{entry.counts.macs:,}",
            _top1(name),
            " ".join(registry.BACKENDS),
        )
    return table


def cost_table(name: str, cost: Cost) -> Table:
    """One row for each call of a layer, and the sums."""
    peak = f"{cost.peak_activation_bytes:,} bytes of activations at once, in float32 and one layer after the other"
    table = Table(box=box.SIMPLE, title=name, caption=peak, show_footer=True)
    table.add_column("layer", "all", no_wrap=True)
    table.add_column("kind")
    table.add_column("output", justify="right", no_wrap=True)
    for heading, total in (("parameters", cost.parameters), ("MACs", cost.macs), ("activation bytes", None)):
        table.add_column(heading, "" if total is None else f"{total:,}", justify="right")
    for row in cost.layers:
        shape = "×".join(map(str, row.output_shape))
        table.add_row(row.name, row.kind, shape, f"{row.parameters:,}", f"{row.macs:,}", f"{row.activation_bytes:,}")
    return table


def _columns(table: Table, left: str, right: str, last: str) -> None:
    for heading in left.split():
        table.add_column(heading)
    for heading in right.split():
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(last)


def _authors(paper: str) -> str:
    match = re.match(r".*?\b(19|20)\d\d\b", paper)
    return match[0] if match else paper


def _top1(name: str) -> str:
    """Of the first published weights at full width."""
    for checkpoint in catalog.published_weights(name):
        if checkpoint.top1 is not None and checkpoint.arguments.get("alpha", 1.0) == 1.0:
            return f"{checkpoint.top1:.2f} %"
    return "–"
