import errno
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from android_bench import results
from android_bench.__main__ import main
from android_bench.errors import InputError
from android_bench.results import Row


def test_rows_come_back_as_they_were_written(tmp_path: Path, make_row: Callable[..., Row]) -> None:
    path = tmp_path / "new" / "results.jsonl"
    results.append(path, [make_row(repeat=0), make_row(repeat=1)])
    results.append(path, [make_row(repeat=2)])
    assert results.read(path) == [make_row(repeat=0), make_row(repeat=1), make_row(repeat=2)]


def test_percentiles_interpolate(make_row: Callable[..., Row]) -> None:
    row = make_row(samples_us=[10.0, 20.0, 30.0, 40.0, 50.0])
    assert (row.p50_us, row.p90_us, row.percentile(100)) == (30.0, 46.0, 50.0)


def test_a_row_that_does_not_fit_the_schema_is_not_written(tmp_path: Path, make_row: Callable[..., Row]) -> None:
    path = tmp_path / "results.jsonl"
    results.append(path, [make_row()])
    before = path.read_bytes()
    with pytest.raises(InputError, match="threads"):
        results.append(path, [make_row(), make_row(threads=0)])
    assert path.read_bytes() == before


def test_a_full_disk_leaves_whole_rows_only(
    tmp_path: Path, make_row: Callable[..., Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.jsonl"
    results.append(path, [make_row()])
    before = path.read_bytes()
    write = os.write
    remaining = [100]

    def write_until_full(descriptor: int, content: bytes) -> int:
        if not remaining[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(descriptor, content[: remaining[0]])
        remaining[0] -= written
        return written

    monkeypatch.setattr(os, "write", write_until_full)
    with pytest.raises(OSError, match="No space"):
        results.append(path, [make_row()])
    assert path.read_bytes() == before


def test_a_failed_first_row_leaves_no_file(
    tmp_path: Path, make_row: Callable[..., Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.jsonl"

    def refuse(descriptor: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(OSError, match="No space"):
        results.append(path, [make_row()])
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"schema": "android_bench.row/2"', "line 1 is cut off"),
        (b"hello\n", "line 1 is not JSON"),
        (b'{"schema": "other/2"}\n', "schema 'other/2'"),
        (b"[1]\n", "schema None"),
        (b'{"schema": "android_bench.row/2"}\n', "required property"),
    ],
)
def test_a_foreign_file_is_refused_in_one_line_and_kept(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(content)
    for use in (results.read, results.writable):
        with pytest.raises(InputError, match=message) as caught:
            use(path)
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize("command", ["report", "compare"])
@pytest.mark.parametrize(
    ("content", "message"),
    [(b'{"schema": "android_bench.row/2"', "line 1 is cut off"), (b'{"schema": "android_bench.row/1"}\n', "row/1")],
)
def test_commands_refuse_such_a_file_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, content: bytes, message: str
) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(content)
    assert main([command, str(path), str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1


def test_a_row_has_samples_or_statistics(tmp_path: Path, make_row: Callable[..., Row]) -> None:
    with pytest.raises(InputError):
        results.append(tmp_path / "results.jsonl", [make_row(samples_us=[])])


def test_a_row_cut_off_after_whole_rows_names_its_line(tmp_path: Path, make_row: Callable[..., Row]) -> None:
    path = tmp_path / "results.jsonl"
    results.append(path, [make_row(), make_row()])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="line 2 is cut off"):
        results.read(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        results.read(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="is a folder"):
        results.read(tmp_path)
    with pytest.raises(InputError, match="not a regular file"):
        results.writable(tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        results.writable(tmp_path / "file" / "results.jsonl")


def test_the_schema_names_every_field_of_a_row(make_row: Callable[..., Row]) -> None:
    schema = json.loads((results.SCHEMA_FILE).read_text())
    assert set(schema["properties"]) == {*schema["required"], "yardstick"} == set(asdict(make_row()))


def test_rows_from_before_the_yardstick_are_read(tmp_path: Path, make_row: Callable[..., Row]) -> None:
    path = tmp_path / "results.jsonl"
    value = asdict(make_row())
    del value["yardstick"]
    path.write_text(json.dumps(value) + "\n")
    (row,) = results.read(path)
    assert row.yardstick_us is None


def test_summary_pools_the_repeats_of_one_configuration(make_row: Callable[..., Row]) -> None:
    rows = [
        make_row(samples_us=[100.0, 300.0], init_us=1.0, peak_rss_bytes=5, noisy=["spread: 2", "busy machine: 1"]),
        make_row(samples_us=[200.0, 200.0], init_us=3.0, peak_rss_bytes=7, noisy=["spread: 3"]),
        make_row(samples_us=[900.0], threads=2, cpus=[0, 1]),
    ]
    pooled, other = results.summarize(rows)
    assert (pooled.p50_us, pooled.minimum_us, pooled.init_us, pooled.peak_rss_bytes) == (200.0, 100.0, 2.0, 7)
    assert pooled.noisy == ("spread: 3", "busy machine: 1")
    assert pooled.noisy_repeats == 2
    assert len(other.rows) == 1
