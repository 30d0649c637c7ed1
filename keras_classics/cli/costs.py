"""`keras-classics cost`: what a model costs, layer by layer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from keras_classics.cli.output import add_common, print_json, print_table
from keras_classics.errors import ArgumentParser, InputError, command_line, unknown
from keras_classics.quiet import start_keras

if TYPE_CHECKING:
    import keras


def parser(prog: str = "keras-classics cost") -> argparse.ArgumentParser:
    """What the verb takes."""
    result = ArgumentParser(prog=prog, description="Parameters, multiply-accumulates and activations of each layer.")
    result.add_argument("model", help="a name that `keras-classics list` prints, or a .keras file")
    result.add_argument("--input-shape", nargs=3, type=int, metavar=("H", "W", "C"), help="default: the paper's")
    result.add_argument("--classes", type=int, metavar="N", help="default: the paper's")
    result.add_argument("--variant", metavar="V", help="another form of the network, such as lenet5's 1998")
    result.add_argument("--csv", metavar="FILE", help="write the rows there too")
    add_common(result)
    return result


@command_line
def main(arguments: Sequence[str] | None = None, prog: str = "keras-classics cost") -> None:
    """Print one row for each call of a layer, and the sums."""
    chosen = parser(prog).parse_args(arguments)
    start_keras(chosen.verbose)
    from keras_classics import zoo
    from keras_classics.cost import model_cost

    try:
        cost = model_cost(_model(chosen))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{chosen.model}: {error}") from error
    if chosen.csv:
        cost.write_csv(chosen.csv)
    if chosen.json:
        print_json({"model": chosen.model, **asdict(cost)})
    else:
        print_table(zoo.cost_table(chosen.model, cost))


def _model(chosen: argparse.Namespace) -> keras.Model:
    from keras_classics import registry, weights

    arguments = {"input_shape": chosen.input_shape, "classes": chosen.classes}
    arguments = {name: value for name, value in arguments.items() if value is not None}
    if chosen.model.endswith(weights.MODEL_SUFFIXES):
        if arguments or chosen.variant:
            raise InputError("--input-shape, --classes and --variant go with a model's name; a .keras file has its own")
        return weights.load_model(chosen.model)
    return registry.abstract_model(chosen.model, **arguments, **_variant(chosen.model, chosen.variant))


def _variant(name: str, wanted: str | None) -> dict[str, Any]:
    """The constructor's argument that asks for a form of the network; `batch_norm` for the value True of it."""
    from keras_classics import registry

    if wanted is None:
        return {}
    known = {
        argument if value is True else str(value): (argument, value)
        for argument, value in registry.entry(name).variants
    }
    if not known:
        raise InputError(f"{name} has no variants; leave --variant out")
    if wanted not in known:
        raise unknown(f"variant of {name}", wanted, known)
    return dict([known[wanted]])
