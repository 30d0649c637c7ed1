"""Which modules import which: in one direction, and no paper below the registry."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import keras_classics

ROOT = Path(keras_classics.__file__).parent
PAPERS = {
    f"keras_classics.{name}"
    for name in ("alexnet", "googlenet", "lenet", "mobilenet_v1", "mobilenet_v2", "resnet", "vgg")
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in ROOT.rglob("*.py")}


def imported(module: str) -> set[str]:
    """The modules of the package that `module` imports anywhere, inside functions as well."""
    names = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import, which this test does not read"
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= members & MODULES.keys() or {str(node.module)}
    return names & MODULES.keys()


def test_no_import_leads_back_to_where_it_stands() -> None:
    order = list(TopologicalSorter({module: imported(module) for module in MODULES}).static_order())
    assert set(order) == MODULES.keys()
    assert max(map(order.index, PAPERS)) < order.index("keras_classics.registry")


@pytest.mark.parametrize(
    ("floor", "forbidden"),
    [
        ("keras_classics.pretrained.", PAPERS | {"keras_classics.registry", "keras_classics.published"}),
        ("keras_classics.datasets.", PAPERS | {"keras_classics.registry", "keras_classics.published"}),
    ],
)
def test_a_floor_imports_nothing_of_those_above_it(floor: str, forbidden: set[str]) -> None:
    for module in MODULES:
        if module.startswith(floor):
            assert not imported(module) & forbidden, module
