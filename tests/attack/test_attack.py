"""The attack itself: that it is the same for a seed, that it tells what fell, and that it goes on after that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from attack.__main__ import Work, trials
from attack.commands import nothing_half_written
from attack.trial import Fell, Kind, mutated, refused_by

ROOT = Path(__file__).parents[2]


def test_changes_are_those_of_the_seed() -> None:
    content = bytes(range(256)) * 64
    first, again, other = (mutated(content, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert first != content


def test_only_a_foreseen_error_of_one_line_has_held() -> None:
    with refused_by(ValueError):
        raise ValueError("one line; and a mend")
    with pytest.raises(Fell, match="not one line"), refused_by(ValueError):
        raise ValueError("two\nlines")
    with pytest.raises(Fell, match="KeyError"), refused_by(ValueError):
        raise KeyError("x")


def test_what_is_left_half_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    nothing_half_written(tmp_path, killed=False)
    (tmp_path / ".a.partial").write_text("")
    nothing_half_written(tmp_path, killed=True)
    with pytest.raises(Fell, match="is left"):
        nothing_half_written(tmp_path, killed=False)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(Fell, match=r"run\.json is not whole"):
        nothing_half_written(tmp_path, killed=True)


def test_a_trial_that_kills_its_process_or_stands_still_fell_and_the_next_ones_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pretended.py").write_text(
        "import json, os, signal, sys\n"
        "words = sys.argv[2:]\n"
        "for kind, first in zip(words[::3], words[1::3]):\n"
        "    for number in range(int(first), 5):\n"
        "        row = {'kind': kind, 'number': number}\n"
        "        print(json.dumps(row), flush=True)\n"
        "        if number == 1: os.abort()\n"
        "        if number == 3: signal.pause()\n"
        "        print(json.dumps(row | {'tried': 2}), flush=True)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    kinds = [Kind(name, "files", lambda generator, folder: 0, seconds=2) for name in ("one", "two")]
    rows = list(trials([Work(kind, 0, 1000) for kind in kinds], 0, "pretended"))
    assert [(row["kind"], row["number"], row.get("fell")) for row in rows] == [
        (kind, number, {1: "died (exit code -6)", 3: "stood still"}.get(number))
        for kind in ("one", "two")
        for number in range(5)
    ]


def test_the_command_prints_and_keeps_what_was_tried_and_goes_on_from_there(tmp_path: Path) -> None:
    state, table = tmp_path / "state.jsonl", tmp_path / "table.md"
    command = [sys.executable, "-m", "attack", "--only", "runners", "--state", str(state), "--table", str(table)]
    for minutes in ("0.001", "0.02"):
        subprocess.run([*command, "--minutes", minutes], cwd=ROOT, check=True, capture_output=True)
    rows = [json.loads(line) for line in state.read_text().splitlines()]
    assert [row["number"] for row in rows] == list(range(len(rows)))
    assert len(rows) > 1
    tried = sum(row["tried"] for row in rows)
    assert f"| runners' documents | {tried:,} | {tried:,} | 0 |" in table.read_text()
