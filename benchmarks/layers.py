"""Which layers and operations of Keras go through: each alone, in float and in 8 bits, under this backend.

    KERAS_BACKEND=jax python benchmarks/layers.py

Every class of `keras.layers` and every function of `keras.ops` is either a model of its own here, another name of one
that is, or excluded with a reason. A model's float graph is compared with Keras's outputs, then its int8 file is
converted with ranges from the same inputs. Inputs hold masked steps where something is masked, and indices lie within
the vocabulary. The rows of the backend are put into docs/benchmarks/layers.json, those of others stay, and
docs/benchmarks/layers.md is written from all of them.
"""

from __future__ import annotations

import argparse
import json
import site
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from layer_cases import (
    BY_BACKEND,
    EXCLUDED_LAYERS,
    EXCLUDED_OPERATIONS,
    LAYERS,
    OPERATIONS,
    REFUSED,
    Case,
    inputs_of,
    model_of,
)

from export.client import Worker
from export.frontend.read import read_graph
from export.passes.simplify import simplify
from export.quantization.ranges import calibrations
from export.tflite_file.audit import audit
from export.tflite_file.interpreter import Interpreter
from export.verification.parity import keras_outputs, relative_rms

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"
FLOAT_PARITY = 1e-5


def reason(error: BaseException) -> str:
    """What an error says, without the folder in which this Python has its packages."""
    return " ".join(str(error).split()).replace(f"{site.getsitepackages()[0]}/", "…/")[:200]


def verdict(case: Case, worker: Worker, folder: Path) -> dict[str, Any]:
    """How far the float graph is from Keras, and what the int8 file computes in float and how far that is."""
    samples = inputs_of(case)
    try:
        model = model_of(case)
        expected = [np.asarray(each, np.float32) for each in keras_outputs(model, samples)]
        graph = read_graph(model)
        simplify(graph)
        found = [np.asarray(each, np.float32) for each in worker.evaluate(graph, graph.outputs, samples)]
        row: dict[str, Any] = {"float": relative_rms(expected, found)}
    except Exception as error:  # a case that fails is a row, and the others follow
        return {"refused": reason(error)}
    path = folder / "model.tflite"
    try:
        in_float = {name for name, each in graph.operations.items() if not each.traits.integer}
        ranges = calibrations(graph, worker, samples, None, in_float)["extremes"]
        path.write_bytes(worker.convert(graph, "int8", "int8", ranges=ranges, keep_float=sorted(in_float)))
        audited = audit(path)
        row["operators_in_float"] = sorted({island.split(" ")[0] for island in audited.float_islands})
        values = [np.asarray(each, np.float32) for each in Interpreter(path).run(samples)]
        row["int8"] = relative_rms(expected, values)
    except Exception as error:
        row["int8_refused"] = reason(error)
    return row


Rows = dict[str, dict[str, Any]]


def supported(row: dict[str, Any]) -> bool:
    """Whether the float graph computes what Keras does."""
    return row.get("float", np.inf) <= FLOAT_PARITY


def integer_only(row: dict[str, Any]) -> bool:
    """Whether the int8 file computes in integers alone."""
    return supported(row) and row.get("operators_in_float") == []


def table(found: dict[str, Rows]) -> str:
    """The page, of the rows of each backend."""
    backends = sorted(found)
    names = list(dict.fromkeys(name for rows in found.values() for name in rows))
    shares = []
    for backend in backends:
        rows = found[backend]
        counts = [sum(map(judge, rows.values())) / len(rows) for judge in (supported, integer_only)]
        shares.append(f"| {backend} | {len(rows)} | {counts[0]:.0%} | {counts[1]:.0%} |")
    lines = [
        "# Which layers and operations of Keras go through",
        "",
        "Made by `KERAS_BACKEND=… python benchmarks/layers.py` for each backend; a test holds it to be complete. "
        f"Float: the graph that is read gives Keras's outputs within {FLOAT_PARITY:g} (relative RMS). int8: operators "
        'of the file that compute in float, or "integers only". A case is one layer or operation alone, with options '
        "that are hard where it has some (masks, dilation, several axes); its error in 8 bits is of that one step on "
        "random numbers and says little of a network.",
        "",
        "| backend | cases | float | integers only |",
        "|---|---|---|---|",
        *shares,
        "",
        "| name | float error | int8 | int8 error |",
        "|---|---|---|---|",
    ]
    for name in names:
        each = [found[backend].get(name, {}) for backend in backends]
        lines.append(f"| `{name}` | {_float_cell(each, backends)} | {_int8_cell(each)} | {_worst(each, 'int8')} |")
    for title, reasons in (("Refused:", REFUSED), ("Otherwise on one backend:", BY_BACKEND)):
        lines += ["", title, "", *_by_reason(reasons)]
    lines += ["", "Excluded:", ""]
    excluded = {f"layers.{name}": reason for name, reason in EXCLUDED_LAYERS.items()}
    excluded |= {f"ops.{name}": reason for name, reason in EXCLUDED_OPERATIONS.items()}
    return "\n".join([*lines, *_by_reason(excluded)]) + "\n"


def _by_reason(reasons: dict[str, str]) -> list[str]:
    """A table of names by the reason that they have."""
    rows = ["| reason | names |", "|---|---|"]
    for reason in dict.fromkeys(reasons.values()):
        members = ", ".join(f"`{name}`" for name, other in reasons.items() if other == reason)
        rows.append(f"| {reason} | {members} |")
    return rows


def _float_cell(rows: Sequence[dict[str, Any]], backends: Sequence[str]) -> str:
    refused = [backend for row, backend in zip(rows, backends, strict=True) if row and not supported(row)]
    if len(refused) == len(backends):
        return "refused" if all("refused" in row for row in rows) else f"differs: {_worst(rows, 'float')}"
    return _worst(rows, "float") + (f"; not on {', '.join(refused)}" if refused else "")


def _int8_cell(rows: Sequence[dict[str, Any]]) -> str:
    if any("int8_refused" in row for row in rows):
        return "refused"
    in_float = sorted({name for row in rows for name in row.get("operators_in_float", ())})
    if in_float:
        return f"{', '.join(in_float)} in float"
    return "integers only" if any("operators_in_float" in row for row in rows) else ""


def _worst(rows: Sequence[dict[str, Any]], column: str) -> str:
    values = [row[column] for row in rows if column in row]
    return f"{max(values):.1g}" if values else ""


def main() -> None:
    """Try all, or those that are named, and write the rows and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="such as layers.GRU or ops.einsum; all by default")
    options = parser.parse_args()
    cases = {f"layers.{name}": case for name, case in LAYERS.items()}
    cases |= {f"ops.{name}": case for name, case in OPERATIONS.items()}
    file = FOLDER / "layers.json"
    found: dict[str, Rows] = json.loads(file.read_text()) if file.exists() else {}
    before = found.get(keras.backend.backend(), {})
    rows: Rows = {}
    with Worker() as worker, tempfile.TemporaryDirectory() as folder:
        for name, case in cases.items():
            wanted = name in (options.names or cases)
            rows[name] = verdict(case, worker, Path(folder)) if wanted else before.get(name, {})
            if wanted:
                print(name, json.dumps(rows[name]), flush=True)
    found[keras.backend.backend()] = rows
    file.write_text(json.dumps(found, indent=1) + "\n")
    (FOLDER / "layers.md").write_text(table(found))


if __name__ == "__main__":
    main()
