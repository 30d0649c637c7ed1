"""The photos that int8 is judged on: parts that share nothing, and words that help where a package is missing."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from keras_classics.errors import InputError


@pytest.fixture(scope="module")
def photos(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("photos")


def test_parts_share_no_subject_and_no_file(photos: ModuleType) -> None:
    parts = defaultdict(set)
    for source in photos.sources():
        parts[source["subject"]].add(source["part"])
        parts[source["sha256"]].add(source["part"])
    assert {part for found in parts.values() for part in found} == set(photos.PARTS)
    assert all(len(found) == 1 for found in parts.values())


def test_parts_are_large_enough(photos: ModuleType) -> None:
    counts = {
        part: sum(len(source["boxes"]) for source in photos.sources() if source["part"] == part)
        for part in photos.PARTS
    }
    assert counts["calibration"] == 100
    assert counts["evaluation"] >= 300


def test_package_that_is_missing_is_named_with_its_mend(
    photos: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = {"package": "mate-backgrounds", "file": "/nowhere/Aqua.jpg", "sha256": "", "version": "1.26.0-1"}
    monkeypatch.setattr(photos, "sources", lambda: [source])
    with pytest.raises(InputError, match=r"mate-backgrounds is not installed .*; apt install mate-backgrounds"):
        photos.make(tmp_path)


def test_file_of_another_version_is_refused(
    photos: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "Aqua.jpg"
    other.write_bytes(b"something else")
    source = {"package": "mate-backgrounds", "file": str(other), "sha256": "0" * 64, "version": "1.26.0-1"}
    monkeypatch.setattr(photos, "sources", lambda: [source])
    with pytest.raises(InputError, match=r"Aqua.jpg is not that of mate-backgrounds 1\.26\.0-1"):
        photos.make(tmp_path)


def test_texture_is_the_same_each_time_and_of_no_flat_colour(photos: ModuleType) -> None:
    first, again, other = (photos.texture(seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.std() > 10
    assert np.abs(first - other).mean() > 10
