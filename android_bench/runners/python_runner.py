"""The Python runner as one file: what a board's Python can run without anything else of ours."""

from __future__ import annotations

import functools
import io
import zipfile
from pathlib import Path

from android_bench.runners import python

# The archive's own entry.
START = """import sys

from android_bench.runners.python.__main__ import main

sys.exit(main(sys.argv[1:]))
"""
# The oldest date that a zip archive can hold; the same for every member, so that the same sources give the same bytes.
DATE = (1980, 1, 1, 0, 0, 0)
# The permissions of every member, whatever the sources have here.
MODE = 0o644


@functools.cache
def archive() -> bytes:
    """Return the package `android_bench.runners.python` as a zip archive that Python runs (PEP 441).

    Members are stored in the order of their names, uncompressed and with one date, so that the bytes depend on
    nothing but the sources. The standard library's `zipapp` would write the date of each file here.
    """
    folder = Path(python.__file__).parent
    root = folder.parent.parent.parent
    sources = [folder.parent.parent / "__init__.py", folder.parent / "__init__.py", *folder.glob("*.py")]
    members = {path.relative_to(root).as_posix(): path.read_bytes() for path in sources}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as file:
        for name, source in sorted({**members, "__main__.py": START.encode()}.items()):
            member = zipfile.ZipInfo(name, DATE)
            member.create_system = 3  # Unix, whatever this machine is
            member.external_attr = MODE << 16
            file.writestr(member, source)
    return content.getvalue()
