"""The lock, the licences and the wheel."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from supply_chain import LICENCES, LOCK, Package, licence, locked

ROOT = Path(__file__).parents[1]
BY_CONSTRAINTS = {"jax", "torch", "tfds"}  # extras that are not in the lock: their files differ by accelerator


@pytest.fixture(scope="module")
def packages() -> dict[str, Package]:
    return {normalized(each.name): each for each in locked(LOCK.read_text())}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_package_has_hashes_and_the_version_that_the_tests_ran_with(packages: dict[str, Package]) -> None:
    assert LOCK.read_text().count("==") == len(packages)
    assert all(each.hashes for each in packages.values())
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    versions = {normalized(name): version for name, version in pinned.items()}
    assert {name: each.version for name, each in packages.items() if name in versions} == {
        name: versions[name] for name in packages if name in versions
    }
    assert set(packages) - set(versions) <= {"setuptools", "wheel"}


def test_all_that_we_name_is_locked(packages: dict[str, Package]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [named for extra, named in project["optional-dependencies"].items() if extra not in BY_CONSTRAINTS]
    named = {re.split(r"[\[>=<~! ]", each)[0] for part in [project["dependencies"], *extras] for each in part}
    assert {normalized(name) for name in named} - {"keras-classics"} <= set(packages)


def test_the_page_of_licences_is_of_these_packages(packages: dict[str, Package]) -> None:
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (.+) \|$", LICENCES.read_text(), re.MULTILINE)[1:]
    assert [row[:2] for row in rows] == [(each.name, each.version) for each in packages.values()]
    assert not [row for row in rows if re.search(r"\bA?GPL", row[2])]


def test_licences_are_what_packages_state() -> None:
    assert licence("numpy").startswith("BSD-3-Clause")
    assert licence("no-such-package-here") == "not installed here"


@pytest.mark.slow
def test_two_builds_of_the_wheel_are_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for name in ("one", "two"):
        source = tmp_path / name / "source"
        tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for each in tracked.splitlines():
            (source / each).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / each, source / each)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", str(source)]
        environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
        subprocess.run([*command, "--wheel-dir", str(tmp_path / name)], env=environment, check=True)
        (wheel,) = (tmp_path / name).glob("*.whl")
        digests.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert len(digests) == 1
