"""The table of layers and operations is complete, and what it says is so."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from export import Worker

SOME = (
    "layers.Bidirectional", "layers.Conv3D", "layers.ConvLSTM2D", "layers.Dot", "layers.Embedding",
    "layers.GlobalAveragePooling1D", "layers.GroupQueryAttention", "layers.MelSpectrogram", "layers.Resizing",
    "ops.cumsum", "ops.dot_product_attention", "ops.einsum", "ops.erf", "ops.image.extract_patches", "ops.median",
    "ops.pad", "ops.round", "ops.tensordot", "ops.top_k", "ops.where",
)  # fmt: skip


@pytest.fixture(scope="module")
def benchmark(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("layers")


@pytest.fixture(scope="module")
def table(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("layer_cases")


def cases(benchmark: ModuleType) -> dict[str, object]:
    found = {f"layers.{name}": case for name, case in benchmark.LAYERS.items()}
    return found | {f"ops.{name}": case for name, case in benchmark.OPERATIONS.items()}


def test_every_public_name_has_a_case_or_a_reason(table: ModuleType) -> None:
    for names, tried, excluded in (
        (table.names_of_layers(), table.LAYERS, table.EXCLUDED_LAYERS),
        (table.names_of_operations(), table.OPERATIONS, table.EXCLUDED_OPERATIONS),
    ):
        assert set(tried) | set(excluded) == set(names)
        assert not set(tried) & set(excluded)


def test_the_page_is_of_the_rows_that_stand_beside_it(benchmark: ModuleType) -> None:
    import json

    found = json.loads((benchmark.FOLDER / "layers.json").read_text())
    assert (benchmark.FOLDER / "layers.md").read_text() == benchmark.table(found)
    for backend, rows in found.items():
        assert set(rows) == set(cases(benchmark)), backend
        shares = [sum(map(judge, rows.values())) / len(rows) for judge in (benchmark.supported, benchmark.integer_only)]
        failed = {name for name, row in rows.items() if not benchmark.supported(row) or "int8_refused" in row}
        assert failed <= set(benchmark.REFUSED) | set(benchmark.BY_BACKEND), backend
        assert shares[0] >= 0.8
        assert shares[1] >= 0.65


@pytest.mark.backends
@pytest.mark.parametrize("name", SOME)
def test_some_cases_are_as_the_table_says(name: str, benchmark: ModuleType, tmp_path: Path, worker: Worker) -> None:
    row = benchmark.verdict(cases(benchmark)[name], worker, tmp_path)
    assert benchmark.supported(row), row
    assert benchmark.integer_only(row) == (name != "ops.round" and name != "ops.top_k"), row


@pytest.mark.slow
@pytest.mark.backends
def test_all_cases_are_as_the_table_says(benchmark: ModuleType, tmp_path: Path, worker: Worker) -> None:
    import json

    import keras

    rows = json.loads((benchmark.FOLDER / "layers.json").read_text())[keras.backend.backend()]
    for name, case in cases(benchmark).items():
        row = benchmark.verdict(case, worker, tmp_path)
        for judge in (benchmark.supported, benchmark.integer_only):
            assert judge(row) == judge(rows[name]), (name, row)
