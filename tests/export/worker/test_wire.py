"""Messages arrive as they were sent."""

import io
from pathlib import Path

import numpy as np
import pytest

from export.worker import wire


def test_header_and_arrays_arrive_as_sent() -> None:
    arrays = {
        "scalar": np.float32(3.5),
        "empty": np.zeros((0, 4), np.int64),
        "strided": np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::3],
        "bytes": np.arange(256, dtype=np.uint8),
    }
    stream = io.BytesIO()
    wire.send(stream, {"call": "convert", "ranges": {"a": [0.0, 1.0]}}, arrays)
    wire.send(stream, {"next": True})
    stream.seek(0)
    header, found = wire.receive(stream)
    assert header == {"call": "convert", "ranges": {"a": [0.0, 1.0]}}
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert wire.receive(stream) == ({"next": True}, {})


def test_large_arrays_go_through_a_file_that_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LARGE", 100)
    arrays = {
        "large": np.arange(60, dtype=np.float32).reshape(5, 12),
        "small": np.arange(3, dtype=np.int64),
        "turned": np.arange(64, dtype=np.float64).reshape(8, 8).T,
    }
    stream = io.BytesIO()
    wire.send(stream, {}, arrays, str(tmp_path))
    assert stream.tell() < 400
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [60 * 4 + 64 * 8]
    stream.seek(0)
    found = wire.receive(stream)[1]
    assert not list(tmp_path.iterdir())
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_a_message_cut_short_is_the_end() -> None:
    stream = io.BytesIO()
    wire.send(stream, {}, {"a": np.ones(100)})
    with pytest.raises(EOFError):
        wire.receive(io.BytesIO(stream.getvalue()[:-1]))
