"""One trial of each kind of hostile file that needs no Keras: what the long attack found stays mended."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attack import files
from attack.trial import Trial

QUICK: tuple[Trial, ...] = (
    files.state_dicts,
    files.safetensors,
    files.arrays,
    files.given_inputs,
    files.images,
    files.idx_files,
    files.result_rows,
    files.tool_results,
    files.documents,
    files.adb_packets,
)


@pytest.mark.parametrize("trial", QUICK, ids=lambda trial: trial.__name__)
def test_changed_files_are_read_or_refused_in_one_line(trial: Trial, tmp_path: Path) -> None:
    assert trial(np.random.default_rng(7), tmp_path) >= 100
