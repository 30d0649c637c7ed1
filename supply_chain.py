"""What we depend on: `python supply_chain.py` writes docs/licences.md and sbom.json (CycloneDX) from requirements.lock.

Licences are those that the installed packages state of themselves.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
LOCK, LICENCES, SBOM = ROOT / "requirements.lock", ROOT / "docs" / "licences.md", ROOT / "sbom.json"
LONGEST_LICENCE = 60  # characters of a name; more is a licence's text


@dataclass(frozen=True)
class Package:
    """One pinned package and the SHA-256 of each of its files."""

    name: str
    version: str
    hashes: tuple[str, ...]


def locked(text: str) -> list[Package]:
    """The packages of a lock file, in its order."""
    rows = re.findall(r"^([A-Za-z0-9._-]+)==(\S+) \\\n((?:    --hash=\S+(?: \\)?\n)+)", text, re.MULTILINE)
    return [
        Package(name, version, tuple(re.findall(r"sha256:([0-9a-f]{64})", hashes))) for name, version, hashes in rows
    ]


def licence(name: str) -> str:
    """What an installed package says its licence is."""
    try:
        told = metadata(name)
    except PackageNotFoundError:
        return "not installed here"
    expression, classifiers = told.get("License-Expression"), told.get_all("Classifier") or []
    named = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License :: OSI Approved :: ")]
    free_text = " ".join((told.get("License") or "").split())
    return expression or ", ".join(named) or (free_text if 0 < len(free_text) <= LONGEST_LICENCE else "see its files")


def licence_page(packages: Sequence[Package]) -> str:
    """The page of licences."""
    lines = [
        "# Licences of what we depend on",
        "",
        "Ours is MIT. These are the packages of `requirements.lock`, which `make test` uses, with the licence that",
        "each states in its metadata; `python supply_chain.py` writes this page, and `sbom.json` (CycloneDX 1.5).",
        "",
        "| package | version | licence |",
        "|---|---|---|",
        *(f"| {each.name} | {each.version} | {licence(each.name)} |" for each in packages),
        "",
    ]
    return "\n".join(lines)


def bill_of_materials(packages: Sequence[Package]) -> dict[str, Any]:
    """The same as a CycloneDX document."""
    ours = {"type": "library", "name": "keras-classics", "licenses": [{"license": {"id": "MIT"}}]}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": ours},
        "components": [
            {
                "type": "library",
                "name": each.name,
                "version": each.version,
                "purl": f"pkg:pypi/{each.name}@{each.version}",
                "licenses": [{"license": {"name": licence(each.name)}}],
                "hashes": [{"alg": "SHA-256", "content": digest} for digest in each.hashes],
            }
            for each in packages
        ],
    }


def main() -> int:
    """Write both."""
    packages = locked(LOCK.read_text())
    LICENCES.write_text(licence_page(packages))
    SBOM.write_text(json.dumps(bill_of_materials(packages), indent=1) + "\n")
    print(f"{len(packages)} packages; {LICENCES.relative_to(ROOT)}, {SBOM.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
