"""Which module imports which, read from the sources."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import android_bench

ROOT = Path(android_bench.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}


def imports(name: str) -> set[str]:
    """Return the modules of the package that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {member if member in MODULES else node.module for member in members}
    return (found & MODULES.keys()) - {name}


def test_no_module_imports_itself_through_others() -> None:
    order = TopologicalSorter({name: imports(name) for name in MODULES})
    assert len(list(order.static_order())) == len(MODULES)  # raises CycleError where there is a circle


def test_imports_of_ours_stand_at_the_top_and_are_all_real() -> None:
    for name, path in MODULES.items():
        text = path.read_text()
        assert "TYPE_CHECKING" not in text, name
        if name == "android_bench.__main__":
            continue  # it answers --help and wrong words before what measures is imported
        top = set(ast.parse(text).body)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("android_bench"):
                assert any(ast.dump(node) == ast.dump(each) for each in top), (name, node.lineno)


def test_targets_use_runners_and_runners_use_no_target() -> None:
    rooms = {"android_bench.runners": "android_bench.targets", "android_bench.runners.python": "android_bench.runners"}
    for room, above in rooms.items():
        for name in MODULES:
            if name.startswith(f"{room}."):
                outside = {each for each in imports(name) if each.startswith(f"{above}.") and not each.startswith(room)}
                assert not outside, (name, outside)


def test_nothing_of_ours_but_the_bench_is_imported() -> None:
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert node.module.partition(".")[0] not in ("export", "keras_classics"), name
