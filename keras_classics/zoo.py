"""What there is and what it costs, as tables for the terminal."""

from __future__ import annotations

import re
from typing import Any

from rich import box
from rich.table import Table

from keras_classics import errors, registry
from keras_classics.cost import Cost
from keras_classics.pretrained import catalog


def zoo_table(pattern: str = "*") -> Table:
    """One row for each model of the registry whose name is like `pattern`. Raises ValueError where none is."""
    table = Table(
        box=box.SIMPLE, caption="MACs: multiply-accumulates of one image; top-1: of published weights, ImageNet"
    )
    _columns(table, "model paper", "input parameters MACs top-1", "backends checked")
    for name in _like(pattern):
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
    table.add_column("layer", "all", overflow="fold")
    table.add_column("kind", overflow="fold")
    for heading in ("kernel", "stride", "groups", "output"):
        table.add_column(heading, justify="right")
    for heading, total in (("parameters", cost.parameters), ("MACs", cost.macs), ("bytes out", None)):
        table.add_column(heading, "" if total is None else f"{total:,}", justify="right")
    for row in cost.layers:
        window = (_sides(row.kernel), _sides(row.strides), "" if row.groups in (None, 1) else str(row.groups))
        numbers = (f"{row.parameters:,}", f"{row.macs:,}", f"{row.activation_bytes:,}")
        table.add_row(row.name, row.kind, *window, _sides(row.output_shape), *numbers)
    return table


def zoo_rows(pattern: str = "*") -> list[dict[str, Any]]:
    """What `zoo_table` shows, and the variants, as JSON knows it."""
    return [description(name) for name in _like(pattern)]


def description(name: str) -> dict[str, Any]:
    """All that the registry knows of a model, as JSON knows it."""
    entry = registry.entry(name)
    return {
        "name": name,
        "paper": entry.paper,
        "input_shape": list(entry.input_shape),
        "classes": entry.classes,
        "minimum_size": entry.minimum_size,
        **entry.counts._asdict(),
        "variants": [
            {"argument": argument, "value": value, **counts._asdict()}
            for (argument, value), counts in entry.variants.items()
        ],
        "weights": [
            {"name": each.name, "arguments": each.arguments, "top1": each.top1, "top5": each.top5, "url": each.url}
            for each in catalog.published_weights(name)
        ],
        "backends": list(registry.BACKENDS),
    }


def _sides(shape: tuple[int | None, ...] | None) -> str:
    return "" if shape is None else "×".join(map(str, shape))


def _like(pattern: str) -> list[str]:
    names = registry.list_models(pattern)
    if not names:
        raise errors.unknown("model", pattern, registry.MODELS)
    return names


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
