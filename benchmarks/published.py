"""How benchmarks keep and publish what they measured: figures as JSON, and a Markdown table for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from keras_classics.files import write_json, write_text


def kept(record: Path, measure: Callable[..., dict[str, Any]], *arguments: Any, again: bool = False) -> dict[str, Any]:
    """What the file holds; where there is none, or `again`, what `measure(*arguments)` gives and it holds then."""
    if again or not record.exists():
        write_json(record, measure(*arguments))
    return json.loads(record.read_text())


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def publish(folder: Path, name: str, paragraphs: Sequence[str], figures: Any) -> None:
    """Write NAME.md and NAME.json and print the former."""
    text = "\n\n".join(paragraphs) + "\n"
    write_json(folder / f"{name}.json", figures)
    write_text(folder / f"{name}.md", text)
    Console(soft_wrap=True).print(text, markup=False, highlight=False)
