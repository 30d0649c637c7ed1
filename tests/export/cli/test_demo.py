"""The demo's table and page: what fits a terminal of 80 columns, and intervals that small test sets deserve."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from export.cli import demo


def rows() -> list[demo.Row]:
    def report(accuracy: float, evaluated: int) -> Any:
        return SimpleNamespace(accuracy=accuracy, evaluated=evaluated, size_bytes=12_345_678)

    return [
        demo.Row(name, mode, report(accuracy, count), 10_147.0, 114_700.0)
        for name, accuracy, count in (("lenet5", 0.984, 1000), ("mobilenet_v2", 1.0, 120))
        for mode in demo.MODES
    ]


def test_the_table_fits_80_columns_and_nothing_is_cut_off() -> None:
    stream = io.StringIO()
    demo.show(rows(), Console(file=stream, width=80))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in stream.getvalue()
    assert any(line.split()[:3] == ["mobilenet_v2", "int8", "QAT"] and "96.9 – 100.0" in line for line in lines)


def test_the_interval_is_wilsons() -> None:
    # Brown, Cai and DasGupta 2001, equation 4: of 120 of 120 the lower end is n / (n + z²).
    assert demo.interval(1.0, 120) == pytest.approx((100 * 120 / (120 + 1.959964**2), 100))
    low, high = demo.interval(0.5, 100)
    assert (low + high) / 2 == pytest.approx(50)
    assert high - low == pytest.approx(19.23, abs=0.01)


def test_the_picture_is_drawn_for_both_models(tmp_path: Path) -> None:
    demo.draw(rows(), tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.width > picture.height > 300


def test_views_are_files_by_part_and_class(tmp_path: Path) -> None:
    demo.write_views(tmp_path)
    for part, count in demo.VIEWS.items():
        assert sorted(folder.name for folder in (tmp_path / part).iterdir()) == sorted(demo.PHOTOS)
        assert len(list((tmp_path / part).rglob("*.jpg"))) == count * len(demo.PHOTOS)


def test_a_folder_of_others_is_not_emptied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert demo.main(["--quick", "--output", str(tmp_path)]) == 2
    assert "holds other things than a demo; give another --output" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_the_folder_of_an_earlier_demo_is_emptied(tmp_path: Path) -> None:
    for _ in range(2):
        demo.emptied(tmp_path / "demo")
        (tmp_path / "demo" / "old.tflite").touch()
    demo.emptied(tmp_path / "demo")
    assert [path.name for path in (tmp_path / "demo").iterdir()] == [demo.MARK]
