"""`keras-classics show`: one model, by its name or in a file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from keras_classics.cli.output import add_common, print_json, print_table
from keras_classics.errors import ArgumentParser, InputError, command_line
from keras_classics.quiet import start_keras


def parser(prog: str = "keras-classics show") -> argparse.ArgumentParser:
    """What the verb takes."""
    result = ArgumentParser(prog=prog, description="One model: where it is from, what it takes, gives and costs.")
    result.add_argument("model", help="a name that `keras-classics list` prints, or a .keras file")
    add_common(result)
    return result


@command_line
def main(arguments: Sequence[str] | None = None, prog: str = "keras-classics show") -> None:
    """Print what is known of the model."""
    chosen = parser(prog).parse_args(arguments)
    start_keras(chosen.verbose)
    from keras_classics import weights, zoo

    known = (
        _of_file(Path(chosen.model)) if chosen.model.endswith(weights.MODEL_SUFFIXES) else zoo.description(chosen.model)
    )
    if chosen.json:
        print_json(known)
        return
    table = Table(box=box.SIMPLE, show_header=False)
    for name, value in known.items():
        table.add_row(name.replace("_", " "), _text(value))
    print_table(table)


def _of_file(path: Path) -> dict[str, Any]:
    """What a `.keras` file holds, and what training wrote beside it."""
    from keras_classics import weights
    from keras_classics.cost import model_cost

    model = weights.load_model(path)
    known: dict[str, Any] = {
        "name": model.name,
        "file": str(path),
        "inputs": {each.name: list(each.shape[1:]) for each in model.inputs},
        "outputs": {name: list(each.shape[1:]) for name, each in zip(model.output_names, model.outputs, strict=True)},
        "layers": len(model.layers),
        "parameters": model.count_params(),
    }
    try:
        known["macs"] = model_cost(model).macs
    except ValueError as error:
        known["macs"] = f"not counted: {error}"
    beside = path.with_name(f"{path.stem}.preprocess.json")
    if beside.is_file():
        try:
            known |= json.loads(beside.read_text(encoding="utf-8"))
        except (ValueError, TypeError) as error:
            raise InputError(f"{beside} is no JSON object ({error}); write it anew or remove it") from error
    return known


def _text(value: Any) -> str:
    """A value in words: a shape by ×, a mapping and a list by lines."""
    if isinstance(value, bool | str) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items() if inner not in (None, {}))
    if isinstance(value, list) and value and all(isinstance(each, int) for each in value):
        return "×".join(map(str, value))
    if isinstance(value, list):
        return ("\n" if any(isinstance(each, dict) for each in value) else ", ").join(map(_text, value))
    return str(value)
