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
        "export/frontend/lowerings/arithmetic.py",
        "script",
    }


def test_the_pages_model_is_exported(package: Path) -> None:
    script = blocks()["script"]
    result = run(package, script + "\nimport export; print(export.__file__)")
    assert result.returncode == 0, result.stderr
    ops, home = result.stdout.splitlines()
    assert "'SIGN': 1" in ops
    assert Path(home).is_relative_to(package)
    assert (package / "sign.tflite").is_file()


@pytest.mark.slow
def test_int8_leaves_it_in_float_and_says_so(package: Path) -> None:
    script = blocks()["script"].replace(
        'export_tflite(model, "sign.tflite")',
        'export_tflite(model, "sign.tflite", "int8", calibration=smooth_images((8, 8, 3)), ptq="plain", gate=False)',
    )
    script, _, _ = script.partition("\nimages = ")
    result = run(
        package, f"from export.data.samples import smooth_images\n{script}\nprint(report.keep_float.operations)"
    )
    assert result.returncode == 0, result.stderr
    assert "sign" in result.stdout


@pytest.mark.slow
def test_without_the_page_there_is_no_such_operator(tmp_path: Path) -> None:
    script = blocks()["script"].replace('"sign.tflite"', repr(str(tmp_path / "sign.tflite")))
    result = run(ROOT, script)
    assert result.returncode == 0, result.stderr
    assert "'SIGN'" not in result.stdout
