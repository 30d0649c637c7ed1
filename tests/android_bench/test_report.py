import csv
import itertools
import re
import shutil
import subprocess
from collections.abc import Callable
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from android_bench import charts, operator_names, page, report, results
from android_bench.__main__ import main
from android_bench.charts import Point
from android_bench.errors import InputError
from android_bench.results import Row

VOID = {"meta", "link"}


class Checker(HTMLParser):
    """Fails on a tag that is closed out of order; collects what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str | None] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.fetched += [value for name, value in attributes if name in ("src", "href")]

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Nothing stays open."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def rows(make_row: Callable[..., Row]) -> list[Row]:
    phone = {"target": "adb:1", "emulated": True, "temperature": {"before": 30.0, "after": 33.0}}
    operators = [{"name": "CONV_2D", "us": 300.0, "calls": 2.0, "delegated": False}]
    return [
        make_row(model_sha256="a" * 64, mode="float32", accuracy=0.98, samples_us=[900.0, 950.0]),
        make_row(model_sha256="a" * 64, mode="float32", accuracy=0.98, samples_us=[500.0, 550.0], threads=2),
        make_row(
            model="lenet <int8>",
            model_sha256="b" * 64,
            mode="int8",
            accuracy=0.97,
            samples_us=[300.0, 310.0],
            operators=operators,
            noisy=["spread: p90 is 2 × p50"],
        ),
        make_row(model_sha256="a" * 64, samples_us=[9000.0], **phone),
    ]


def test_the_page_is_whole_escaped_and_fetches_nothing(rows: list[Row], tmp_path: Path) -> None:
    report.write(rows, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    checker = Checker()
    checker.feed(text)
    assert not checker.open
    assert checker.fetched == ["data:,"]
    assert "<script" not in text
    assert "url(" not in text
    assert "lenet &lt;int8&gt;" in text
    assert "<int8>" not in text


def test_every_section_has_its_content(rows: list[Row], tmp_path: Path) -> None:
    report.write(rows, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "a" * 64 in text
    assert "CONV_2D × 2" in text
    assert "ran on an emulated processor" in text
    assert "noisy in 1 of 1: spread" in text
    assert "hottest sensor" in text
    assert "times as fast" in text
    assert text.count("<polyline") >= 3


def test_csv_and_markdown_hold_the_same_figures(rows: list[Row], tmp_path: Path) -> None:
    report.write(rows, tmp_path / "report.html")
    lines = list(csv.DictReader((tmp_path / "report.csv").read_text().splitlines()))
    assert len(lines) == 4
    by_hash = {(line["sha256"][0], line["target"], line["threads"]): line for line in lines}
    assert by_hash["b", "local", "1"]["p50"] == "0.305"
    assert by_hash["b", "local", "1"]["accuracy"] == "0.9700"
    assert by_hash["a", "adb:1", "1"]["emulated"] == "yes"
    table = (tmp_path / "report.md").read_text().strip().splitlines()[2:]
    assert len(table) == 6
    assert len({line.count("|") for line in table}) == 1


def test_a_sustained_run_shows_how_latency_moved(make_row: Callable[..., Row], tmp_path: Path) -> None:
    report.write([make_row(samples_us=[10_000.0] * 300 + [20_000.0] * 300)], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "Latency over time" in text
    assert "20.0 ms at 9 s" in text
    report.write([make_row()], tmp_path / "report.html")
    assert "Latency over time" not in (tmp_path / "report.html").read_text()


def test_energy_is_shown_with_its_source(make_row: Callable[..., Row], tmp_path: Path) -> None:
    energy = {"source": "battery", "joules": 0.5, "seconds": 0.1}
    report.write([make_row(energy=energy, samples_us=[500.0] * 100)], tmp_path / "report.html")
    (line,) = csv.DictReader((tmp_path / "report.csv").read_text().splitlines())
    assert (line["mJ"], line["energy from"]) == ("5", "battery")
    assert ">battery<" in (tmp_path / "report.html").read_text()


def test_labels_say_only_what_differs(make_row: Callable[..., Row]) -> None:
    same = results.summarize([make_row(), make_row(model="other")])
    assert page.label(same) == ["lenet", "other"]
    different = results.summarize([make_row(), make_row(threads=2)])
    assert page.label(different) == ["lenet · threads: 1", "lenet · threads: 2"]
    versions = results.summarize([make_row(), make_row(model_sha256="f" * 64)])
    assert page.label(versions) == ["lenet (000000)", "lenet (ffffff)"]


def test_the_front_holds_what_no_other_beats() -> None:
    points = [Point(x, y, "", "", 0) for x, y in [(1, 50), (2, 60), (3, 55), (4, 60), (5, 70)]]
    assert [(point.x, point.y) for point in charts.front(points)] == [(1, 50), (2, 60), (5, 70)]


def test_marks_lie_inside_the_chart() -> None:
    points = [Point(x, y, "a", "", 0) for x, y in [(0.002, 91), (0.5, 99.2), (140, 97)]]
    drawn, _, legend = charts.scatter(points, "x", "y").partition("<ul")
    assert legend.count(">a<") == 1
    for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawn):
        assert charts.LEFT <= float(x) <= charts.WIDTH - charts.RIGHT
        assert charts.TOP <= float(y) <= charts.HEIGHT - charts.BOTTOM


def test_an_axis_of_percentages_ends_at_100_and_its_title_has_a_line_of_its_own() -> None:
    points = [Point(x, y, "a", "", 0) for x, y in [(0.1, 42.0), (0.5, 99.9), (1, 100)]]
    texts = re.findall(r'<text x="[\d.]+" y="([\d.]+)"[^>]*>([^<]+)<', charts.scatter(points, "x", "y", (0, 100)))
    ticks = [(float(y), float(text)) for y, text in texts if text[0].isdigit() and float(text) > 10]
    assert max(value for _, value in ticks) == 100
    (title,) = [float(y) for y, text in texts if text == "y"]
    assert min(y for y, _ in ticks) - title >= charts.LETTER_HEIGHT


def test_ticks_leave_room_for_each_others_texts_in_the_letters_of_a_phone() -> None:
    for low, high in [(0.0101, 0.0119), (0.1, 1), (0.003, 80), (1, 1e6), (99.95, 100)]:
        points = [Point(x, x, "a", "", 0) for x in (low, high)]
        drawn = charts.scatter(points, "x", "y", (0, 1e7))
        bottom = f'y="{charts.HEIGHT - charts.BOTTOM + 22}"'
        ticks = [(float(x), text) for x, text in re.findall(rf'<text x="([\d.]+)" {bottom}[^>]*>([^<]+)<', drawn)]
        for (left, before), (right, after) in itertools.pairwise(ticks):
            assert right - left >= charts.DIGIT_WIDTH * (len(before) + len(after)) / 2


def test_noisy_stands_beside_the_median_and_is_marked(rows: list[Row]) -> None:
    text = page.page(results.summarize(rows))
    head = re.findall(r"<th[^>]*>([^<]*)<", text)
    assert head[:4] == ["model", "threads", "p50", "noisy"]
    assert text.count('<tr class="noisy">') == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Convolution (NHWC, QC8) IGEMM", "Convolution (QC8)"),
        ("Convolution (NHWC, F32) GEMM", "1×1 convolution (F32)"),
        ("Convolution (NHWC, F32) DWConv", "Depthwise convolution (F32)"),
        ("Fully Connected (NC, QD8, F32, QC8W) GEMM", "Fully connected or 1×1 convolution (QD8, F32, QC8W)"),
        ("Mean (ND) Reduce2", "Mean"),
        ("CONV_2D", "CONV_2D"),
    ],
)
def test_operators_have_the_fields_names(name: str, words: str) -> None:
    assert operator_names.readable(name) == words


def test_one_row_with_one_sample_is_enough(make_row: Callable[..., Row], tmp_path: Path) -> None:
    report.write([make_row(samples_us=[500.0], accuracy=0.5)], tmp_path / "report.html")
    assert (tmp_path / "report.html").exists()


def test_nothing_to_report_and_a_wrong_name(make_row: Callable[..., Row], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="hold no row"):
        report.write([], tmp_path / "report.html")
    with pytest.raises(InputError, match=r"should end in \.html"):
        report.write([make_row()], tmp_path / "report.csv")


def test_the_command(rows: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results.append(tmp_path / "results.jsonl", rows)
    assert main(["report", str(tmp_path / "results.jsonl"), "--output", str(tmp_path / "out" / "page.html")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"page.html", "page.csv", "page.md"}
    assert "page.html" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_opens_it_without_a_complaint_and_without_sideways_scrolling(
    rows: list[Row], tmp_path: Path, width: int, scheme: str
) -> None:
    """In a frame, because Chromium's own window is never narrower than 500 pixels."""
    report.write(rows, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text().replace("(prefers-color-scheme: dark)", "all" * (scheme == "dark"))
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<body><iframe srcdoc="{escape(text)}" style="width: {width}px; height: 900px; border: 0"></iframe><script>'
        "onload = () => { const page = document.querySelector('iframe').contentDocument.documentElement;"
        "document.title = `${page.clientWidth} ${page.scrollWidth}` }</script></body>"
    )
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    process = subprocess.run(
        [*command, "--hide-scrollbars", frame.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert f"<title>{width} {width}</title>" in process.stdout
    assert "CONSOLE" not in process.stderr
