"""What reports are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any


class Record(Mapping[str, Any]):
    """A frozen dataclass whose fields can be read by key as well, as they stand in the report's JSON.

    `dataclasses.asdict` makes plain values of it, and of all that it holds.

    Subclasses leave `eq` to the mapping, so that a record equals a dictionary of the same values.
    """

    def __getitem__(self, key: str) -> Any:
        if key not in iter(self):
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return (each.name for each in dataclasses.fields(self))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return sum(1 for _ in self)
