"""How results reach standard output: tables for people, JSON for programs."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich.console import Console, RenderableType

PLAIN_WIDTH = 200
"""Letters in a line of a table that goes to a file or a pipe."""


def add_common(parser: argparse.ArgumentParser) -> None:
    """The flags of every verb that prints results."""
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    parser.add_argument("--verbose", action="store_true", help="let the backend say what it has to say")


def print_table(table: RenderableType) -> None:
    """Fit the terminal; in a file or pipe take the room that the table needs."""
    console = Console()
    Console(width=None if console.is_terminal else PLAIN_WIDTH).print(table)


def print_json(value: Any) -> None:
    """Indented, with letters of every language as they are."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
