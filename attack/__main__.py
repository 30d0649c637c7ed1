"""`python -m attack`: run every kind of attack for its share of the time; write docs/attack.md.

What was tried is kept in a file, and a second run with the same seed goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attack.kinds import KINDS
from attack.trial import Kind

ROOT = Path(__file__).parents[1]
FULL_MINUTES, SHORT_MINUTES = 160.0, 2.5
GROUPS = {
    "files": "Hostile files",
    "faults": "Faults",
    "concurrency": "Concurrency",
    "names": "Names",
    "boards": "Boards and connections",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m attack", description=__doc__)
    result.add_argument("--short", action="store_true", help=f"{SHORT_MINUTES:g} minutes of trials, for every change")
    result.add_argument("--minutes", type=float, help=f"of trials of all kinds together (default {FULL_MINUTES:g})")
    result.add_argument("--seed", type=int, default=0)
    result.add_argument("--only", metavar="TEXT", help="kinds with this in their name")
    result.add_argument("--state", type=Path, metavar="FILE", help="what was tried (default attack-output/SEED.jsonl)")
    result.add_argument(
        "--table", type=Path, metavar="FILE", help="where the table goes (docs/attack.md for a full run)"
    )
    return result


def main() -> int:
    """Attack; the exit code is 1 where anything fell."""
    options = parser().parse_args()
    minutes = options.minutes or (SHORT_MINUTES if options.short else FULL_MINUTES)
    name = f"{options.seed}{'-short' if options.short else ''}.jsonl"
    state: Path = options.state or ROOT / "attack-output" / name
    if options.short:
        state.unlink(missing_ok=True)
    state.parent.mkdir(parents=True, exist_ok=True)
    kinds = [kind for kind in KINDS.values() if (options.only or "") in kind.name and (kind.short or not options.short)]
    rows = _read(state)
    second = 60 * minutes / sum(kind.share for kind in kinds)  # of a kind whose share is 1
    for process in _processes(kinds):
        works = []
        for kind in process:
            spent = sum(row["seconds"] for row in rows if row["kind"] == kind.name)
            if spent < second * kind.share:
                works.append(Work(kind, _next(rows, kind), second * kind.share - spent))
        for row in trials(works, options.seed):
            rows.append(row)
            with state.open("a") as file:
                print(json.dumps(row), file=file)
            if "fell" in row:
                print(f"FELL {row['kind']} {row['number']}: {row['fell']}", flush=True)
        for kind in process:
            mine = [row for row in rows if row["kind"] == kind.name]
            print(f"{kind.name}: {sum(row['tried'] for row in mine):,} tried, {_fell(mine)} fell", flush=True)
    table = _table(rows, options.seed)
    print(table)
    target = options.table or (None if options.short or options.only else ROOT / "docs" / "attack.md")
    if target:
        target.write_text(table)
    return 1 if _fell(rows) else 0


def _read(state: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in state.read_text().splitlines()] if state.exists() else []


def _next(rows: Sequence[dict[str, Any]], kind: Kind) -> int:
    return 1 + max((row["number"] for row in rows if row["kind"] == kind.name), default=-1)


def _fell(rows: Sequence[dict[str, Any]]) -> int:
    return sum("fell" in row for row in rows)


@dataclass(frozen=True)
class Work:
    """What is left to do of a kind: from which trial on, and for how many seconds."""

    kind: Kind
    first: int
    seconds: float


def _processes(kinds: Sequence[Kind]) -> list[list[Kind]]:
    """Kinds of files and names share a process, which imports Keras once; each other kind has its own."""
    shared = [[kind for kind in kinds if kind.group == group] for group in ("files", "names")]
    return [*filter(None, shared), *([kind] for kind in kinds if kind.group not in ("files", "names"))]


def trials(works: Sequence[Work], seed: int, child: str = "attack.child") -> Iterator[dict[str, Any]]:
    """Run trials in a process; one that dies or stands still is a trial that fell, and another goes on after it."""
    while works:
        words = [word for work in works for word in (work.kind.name, str(work.first), str(work.seconds))]
        process = subprocess.Popen(
            [sys.executable, "-m", child, str(seed), *words],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,
        )
        began = time.monotonic()
        open_row: dict[str, Any] | None = None
        spent: Counter[str] = Counter()
        for line in _lines(process, max(work.kind.seconds for work in works)):
            if line is None:
                os.killpg(process.pid, signal.SIGKILL)
                break
            answer = json.loads(line)
            if "tried" not in answer:
                open_row, began = answer, time.monotonic()
                continue
            open_row = None
            answer["seconds"] = round(time.monotonic() - began, 3)
            spent[answer["kind"]] += answer["seconds"]
            yield answer
        code = process.wait()
        _with_group_gone(process.pid)
        if not code:
            return
        taken = round(time.monotonic() - began, 3)
        how = "stood still" if code == -signal.SIGKILL else f"died (exit code {code})"
        if open_row is None:
            open_row = {"kind": works[0].kind.name, "number": works[0].first}
        yield open_row | {"tried": 1, "seconds": taken, "fell": how}
        position = next(index for index, work in enumerate(works) if work.kind.name == open_row["kind"])
        work = works[position]
        rest = work.seconds - spent[work.kind.name] - taken
        again = [Work(work.kind, open_row["number"] + 1, rest)] if rest > 0 else []
        works = [*again, *works[position + 1 :]]


def _with_group_gone(group: int) -> None:
    """Kill what the trials' process has started and left."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _lines(process: subprocess.Popen[bytes], seconds: float) -> Iterator[bytes | None]:
    """What the process prints; None, once, where it prints nothing for so long."""
    assert process.stdout is not None
    with process.stdout, selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        waiting = b""
        while True:
            if not selector.select(seconds):
                yield None
                return
            part = os.read(process.stdout.fileno(), 65536)
            if not part:
                return
            *whole, waiting = (waiting + part).split(b"\n")
            yield from whole


def _table(rows: Sequence[dict[str, Any]], seed: int) -> str:
    """The page: what was tried, held and fell."""
    tried: Counter[str] = Counter()
    fell: Counter[str] = Counter()
    for row in rows:
        tried[row["kind"]] += row["tried"]
        fell[row["kind"]] += "fell" in row
    packages = ", ".join(f"{name} {version(name)}" for name in ("keras", "tensorflow", "ai-edge-litert", "numpy"))
    lines = [
        "# Under attack",
        "",
        "Made by `make attack`, which tries to make our commands and readers break [their promises](fault-model.md). A",
        "trial *held* where it ended in the right result, or in one line with its exit code, nothing half-written and",
        "nothing left running; it *fell* otherwise.",
        "",
        f"Seed {seed}; {sum(row['seconds'] for row in rows) / 60:.0f} minutes of trials on {os.cpu_count()} cores of "
        f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, {packages}.",
        "",
        "| | tried | held | fell |",
        "|---|---:|---:|---:|",
    ]
    for group, title in GROUPS.items():
        names = [name for name, kind in KINDS.items() if kind.group == group and tried[name]]
        if not names:
            continue
        total, lost = sum(tried[name] for name in names), sum(fell[name] for name in names)
        lines.append(f"| **{title}** | **{total:,}** | **{total - lost:,}** | **{lost:,}** |")
        lines += [f"| {name} | {tried[name]:,} | {tried[name] - fell[name]:,} | {fell[name]:,} |" for name in names]
    lines.append("")
    falls = [row for row in rows if "fell" in row]
    if falls:
        lines += ["What fell:", ""]
        lines += [
            f"- {row['kind']}, trial {row['number']}: {' '.join(row['fell'].split())[:300]}" for row in falls[:50]
        ]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
