"""The report of some results: a page, and its figures as CSV and Markdown beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from android_bench.errors import InputError
from android_bench.figures import as_csv, as_markdown
from android_bench.files import write_files
from android_bench.page import page
from android_bench.results import Row, cell, summarize


def write(rows: Sequence[Row], output: Path) -> list[Path]:
    """Write the page and the figures, all of them or none.

    Args:
        rows: what was measured.
        output: where the page goes, an .html file; the figures lie beside it as .csv and .md.

    Returns:
        The three paths.

    Raises:
        InputError: where there are no rows or `output` is not an .html file.
        OSError: where the file system refuses.
    """
    if not rows:
        raise InputError("the results hold no row; measure something first with python -m android_bench run")
    if output.suffix != ".html":
        raise InputError(f"{output} should end in .html; its .csv and .md are written beside it")
    summaries = sorted(summarize(rows), key=lambda each: cell(each.rows[0]))
    texts = {".html": page(summaries), ".csv": as_csv(summaries), ".md": as_markdown(summaries)}
    contents = {output.with_suffix(suffix): text.encode() for suffix, text in texts.items()}
    write_files(contents)
    return list(contents)
