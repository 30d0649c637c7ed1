"""docs/adding-an-operation.md is true: its rows, put into a copy of the package, export its model."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "adding-an-operation.md").read_text(encoding="utf-8")


def blocks() -> dict[str, str]:
    """The page's code by the file that it is for; the script that has none is called `script`."""
    found = re.findall(r"\n\n(.+?):\n\n```python\n(.*?)```", PAGE, re.DOTALL)
    homes = [re.search(r"`(export/\S+\.py)`", text) for text, _ in found]
    return {home[1] if home else "script": code for home, (_, code) in zip(homes, found, strict=True)}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with copies of the packages, to which the page's rows were added."""
    for name in ("export", "keras_classics"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, code in blocks().items():
        path = tmp_path / name
        if name == "script":
            continue
        text = path.read_text(encoding="utf-8")
        if code.startswith(" "):  # a row of the table FUNCTIONS
            (head,) = re.findall(r"^FUNCTIONS\b.*\{\n", text, flags=re.MULTILINE)
            text = text.replace(head, head + code)
        else:
            text += "\n\n" + code
        path.write_text(text, encoding="utf-8")
    return tmp_path


def run(package: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=package, capture_output=True, text=True)


def test_three_files_are_touched() -> None:
    assert set(blocks()) == {
        "export/ir/kinds.py",
        "export/worker/operations.py",
        "export/frontend/lowerings/keras_operations.py",
        "script",
    }


def test_the_pages_model_is_exported(package: Path) -> None:
    script = blocks()["script"]
    result = run(package, script + "\nimport export; print(export.__file__)")
    assert result.returncode == 0, result.stderr
    ops, home = result.stdout.splitlines()
    assert "'COS': 1" in ops
    assert Path(home).is_relative_to(package)
    assert (package / "cosine.tflite").is_file()


def test_int8_of_it_is_refused_by_name(package: Path) -> None:
    script = blocks()["script"].replace(
        'export_tflite(model, "cosine.tflite")',
        'export_tflite(model, "cosine.tflite", "int8", calibration=smooth_images((8, 8, 3), 16), ptq="plain")',
    )
    result = run(package, "from export.data.samples import smooth_images\n" + script)
    assert "compute in float" in result.stderr
    assert "COS" in result.stderr
    assert not (package / "cosine.tflite").exists()


def test_without_the_page_the_model_is_refused(tmp_path: Path) -> None:
    script = blocks()["script"].replace('"cosine.tflite"', repr(str(tmp_path / "cosine.tflite")))
    result = run(ROOT, script)
    assert "UnsupportedLayerError" in result.stderr
    assert "Cos" in result.stderr
