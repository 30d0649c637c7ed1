"""How benchmarks publish what they measured: a Markdown table for people, the figures as JSON, both in one folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from keras_classics.files import write_json, write_text


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
