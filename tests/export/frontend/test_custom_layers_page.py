"""The examples of docs/custom-layers.md do what the page says of them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import Worker
from export.frontend import builder
from export.frontend.read import read_graph
from export.passes.simplify import simplify
from export.quantization.ranges import calibrations
from export.verification.parity import keras_outputs, relative_rms

PAGE = Path(__file__).parents[3] / "docs" / "custom-layers.md"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page's code defines, run from top to bottom."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(code, str(PAGE), "exec"), names)
    return names


def test_the_examples_are_exported_opened_and_by_a_bridge(page: dict[str, Any], worker: Worker) -> None:
    for name in ("opened.tflite", "bridged.tflite"):
        assert Path(name).stat().st_size > 1000
    assert page["report"].parity["relative_rms"] <= 1e-5
    names = list(read_graph(page["model"]).operations)
    assert {"attend/reduce", "attend/sigmoid"} <= set(names)

    random = np.random.default_rng(0)
    samples = random.normal(size=(16, 32, 32, 3)).astype(np.float32)
    model = page["bridged"]
    expected = keras_outputs(model, [samples])
    errors = []
    for known in (True, False):
        if not known:
            del builder._LAYERS[page["Swish"]]
        graph = read_graph(model)
        simplify(graph)
        ranges = calibrations(graph, worker, [samples], None)["extremes"]
        errors.append(relative_rms(expected, worker.evaluate(graph, graph.outputs, [samples], ranges)))
    assert errors[0] < errors[1] / 2
