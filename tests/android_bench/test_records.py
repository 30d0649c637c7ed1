"""Values from elsewhere, read strictly."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from android_bench import document, records, results
from android_bench.__main__ import main
from android_bench.document import Complaint, Device, Document, Environment
from android_bench.errors import InputError
from android_bench.results import Row


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[NaN]", "NaN"),
        ("[-Infinity]", "-Infinity"),
        ("[1e400]", "too large"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("[" + "9" * 5000 + "]", "digits"),
    ],
)
def test_json_that_json_itself_would_take_or_die_of(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        records.loads(text)
    assert "\n" not in str(caught.value)


def change(value: Any, path: list[str | int], new: object) -> None:
    """Set one field in a tree of lists and objects."""
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = new


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["samples_us", 3], "500", "samples_us: text in place of a number"),
        (["samples_us", 3], 0, "samples_us: 0.0 is not above 0"),
        (["samples_us"], None, "samples_us: null in place of a list"),
        (["samples_us"], [], "samples_us: none"),
        (["samples_us", 0], 10**400, "samples_us: a number that is too large"),
        (["samples_us", 0], math.nan, "samples_us: nan"),
        (["cpu_us"], [1.0], "cpu_us: 1 for 50 samples"),
        (["device"], [], "device: a list in place of an object"),
        (["device", "cores"], 2.5, "device: cores: a number in place of a whole number"),
        (["device", "cpu"], "\x1b[2J", "device: cpu: text with control characters"),
        (["device", "cpu"], "\ud800", "device: cpu: text with control characters"),
        (["emulated"], 0, "emulated: a number in place of true or false"),
        (["cpus"], [True], "cpus: a truth value in place of a whole number"),
        (["temperature", "before"], {}, "temperature: before: an object in place of a number"),
        (["yardstick"], {"kind": "k", "after": [1], "bursts_us": []}, "yardstick: 1 places for 0 bursts"),
        (["yardstick"], {"kind": "k", "after": [1], "bursts_us": [0.0]}, "yardstick: bursts_us: 0.0 is not above 0"),
        (["operators"], [{"name": "a"}], "operators: calls is missing"),
    ],
)
def test_a_document_with_one_malformed_field_names_it(
    make_document: Callable[..., Document], path: list[str | int], value: object, words: str
) -> None:
    whole = json.loads(json.dumps(asdict(make_document())))
    assert document.parse(json.dumps(whole)) == make_document()
    change(whole, path, value)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are compared below, whole
        document.parse(json.dumps(whole)) if value is not math.nan else records.decode(Document, whole)
    assert str(caught.value).startswith(words)


def test_what_the_host_knows_takes_the_place_of_what_the_runner_says(make_document: Callable[..., Document]) -> None:
    whole = asdict(make_document())
    del whole["device"], whole["emulated"]
    known = Environment("2.0", Device(None, "Mine", "arm64-v8a", 8, "Android", "6", None), emulated=True)
    read = document.parse(json.dumps(whole), known)
    assert isinstance(read, Document)
    assert (read.runtime_version, read.device.cpu, read.emulated) == ("2.0", "Mine", True)


def test_a_complaint_is_one_line() -> None:
    told = document.parse('{"error": {"kind": "model", "message": "first\\nsecond"}}')
    assert told == Complaint("model", "first second")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "1" + 400 * "0"])
@pytest.mark.parametrize("command", ["report", "compare"])
def test_results_with_numbers_that_are_none_are_refused(
    make_row: Callable[..., Row], tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, number: str
) -> None:
    path = tmp_path / "results.jsonl"
    line = json.dumps(asdict(make_row(samples_us=[123.25])))
    path.write_text(line.replace("123.25", number) + "\n")
    words = [command, str(path), *([str(path)] if command == "compare" else [])]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert f"{path}: line 1: " in error
    assert len(error.splitlines()) == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["results.jsonl"]


@pytest.mark.parametrize("depth", [100, 900, 100_000])
def test_results_that_are_nested_deeply_are_refused(make_row: Callable[..., Row], tmp_path: Path, depth: int) -> None:
    path = tmp_path / "results.jsonl"
    line = json.dumps(asdict(make_row(noisy=["deep"])))
    path.write_text(line.replace('"deep"', "[" * depth + "]" * depth) + "\n")
    with pytest.raises(InputError, match="line 1") as caught:
        results.read(path)
    assert "\n" not in str(caught.value)


def test_a_row_that_holds_what_is_no_number_is_not_written(make_row: Callable[..., Row], tmp_path: Path) -> None:
    row = make_row()
    row.samples_us[0] = math.nan
    with pytest.raises(InputError, match="new row"):
        results.append(tmp_path / "results.jsonl", [row])
    assert not (tmp_path / "results.jsonl").exists()


def test_documents_and_rows_agree_with_the_schema(make_document: Callable[..., Document]) -> None:
    """Every field of a document that a row has comes back from JSON under the same name."""
    schema = json.loads(results.SCHEMA_FILE.read_text())["properties"]
    only_in_documents = {"steady", "inputs", "outputs"}
    assert set(asdict(make_document())) - only_in_documents <= set(schema)
