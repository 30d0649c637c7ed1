"""All kinds of attack by name."""

from __future__ import annotations

from attack import boards, concurrency, faults, files, names

KINDS = {kind.name: kind for kind in (*files.KINDS, *faults.KINDS, *concurrency.KINDS, *names.KINDS, *boards.KINDS)}
