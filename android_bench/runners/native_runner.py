"""Builds the native runner and gathers what it needs to run: for this machine, or in one folder for an ARM device."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from android_bench.document import Document
from android_bench.errors import InputError
from android_bench.files import cache_folder

# Where our sources are, and what a bundle's files are called.
SOURCES = Path(__file__).parent / "native"
RUNNER = "runner"
LIBRARY = "libLiteRt.so"
# The loader and the libraries of Debian's cross C library that the runner and libLiteRt.so are linked to.
LOADER = "ld-linux-aarch64.so.1"
LIBRARIES = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libstdc++.so.6", "libgcc_s.so.1")
# The cross compiler, and the Debian packages of each compiler with its headers.
CROSS_COMPILER = "aarch64-linux-gnu-gcc"
DEBIAN_PACKAGES = {"gcc": "gcc libc6-dev", CROSS_COMPILER: "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"}
# The platform tags that ai-edge-litert's ARM wheels have had, for pip.
WHEEL_PLATFORMS = tuple(f"manylinux_2_{minor}_aarch64" for minor in (17, 27, 28, 31, 34))


@dataclass(frozen=True)
class Bundle:
    """A built runner.

    Attributes:
        folder: holds the runner, and for a device all else that it needs.
        version: the release of ai-edge-litert that the library is from, or the library's hash.
        library: libLiteRt.so, where it is not in the folder.
        has_loader: whether the folder has a loader and C library of its own.
    """

    folder: Path
    version: str
    library: Path | None = None
    has_loader: bool = False

    def command(self, folder: str, delegate: str) -> list[str]:
        """Return the words that start the runner where this bundle's files lie in `folder`.

        LiteRT looks for its GPU accelerators where the loader looks, and they lie beside its library.
        """
        library = str(self.library or f"{folder}/{LIBRARY}")
        words = [f"{folder}/{LOADER}", "--library-path", folder] if self.has_loader else []
        if delegate == "gpu":
            own = os.environ.get("LD_LIBRARY_PATH") if self.library else None
            words = ["env", f"LD_LIBRARY_PATH={':'.join(filter(None, (os.path.dirname(library), own)))}", *words]
        return [*words, f"{folder}/{RUNNER}", "--library", library]


def for_this_machine() -> Bundle:
    """Build with gcc against the installed ai-edge-litert; raise InputError where either is missing."""
    version = _litert_version()
    library = Path(str(metadata.distribution("ai-edge-litert").locate_file(f"ai_edge_litert/{LIBRARY}")))
    folder = _cached("host", version, "gcc", lambda folder: _compile("gcc", folder))
    return Bundle(folder, version, library=library)


def for_aarch64() -> Bundle:
    """Build with Debian's cross compiler, beside its C library, its loader and the ARM wheel's libLiteRt.so.

    Nothing of the device's own libraries is used, so that it runs on Android as on any Linux.
    """
    version = _litert_version()

    def fill(folder: Path) -> None:
        _compile(CROSS_COMPILER, folder)
        for name in (LOADER, *LIBRARIES):
            shutil.copy(_cross_library(name), folder / name)
        _unpack_library(version, folder)

    return Bundle(_cached("aarch64", version, CROSS_COMPILER, fill), version, has_loader=True)


def from_folder(folder: Path) -> Bundle:
    """Return the bundle that the user built for the device; raise InputError where a file of it is missing."""
    for name in (RUNNER, LIBRARY):
        if not (folder / name).is_file():
            raise InputError(f"{folder} has no {name}; build the runner with the NDK and put {LIBRARY} beside it")
    digest = hashlib.sha256((folder / LIBRARY).read_bytes()).hexdigest()
    return Bundle(folder, f"sha256:{digest[:12]}")


def complete(document: Document) -> Document:
    """Return the native runner's document with what follows from the rest of it.

    The operators that no delegate took are those that the profiler saw outside of one; and the yardstick says nothing
    of an emulated processor.
    """
    operators = document.operators
    undelegated = None if operators is None else sorted({each.name for each in operators if not each.delegated})
    yardstick = None if document.emulated else document.yardstick
    return replace(document, yardstick=yardstick, undelegated_operators=undelegated)


def _litert_version() -> str:
    try:
        return metadata.version("ai-edge-litert")
    except metadata.PackageNotFoundError:
        raise InputError("the native runner needs LiteRT's library; pip install ai-edge-litert") from None


def _cached(kind: str, version: str, compiler: str, fill: Callable[[Path], None]) -> Path:
    """Return the folder that `fill` filled, now or earlier for the same sources, library and compiler."""
    digest = hashlib.sha256(f"{version} {_compiler_version(compiler)}".encode())
    for source in sorted(SOURCES.glob("*.[ch]")):
        digest.update(source.read_bytes())
    root = cache_folder()
    folder = root / f"native-{kind}-{digest.hexdigest()[:16]}"
    if not folder.exists():
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix="building-") as building:
            work = Path(building) / kind
            work.mkdir()
            fill(work)
            try:
                work.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
    return folder


def _compiler_version(compiler: str) -> str:
    if shutil.which(compiler) is None:
        raise InputError(f"{compiler} is not installed; apt-get install {DEBIAN_PACKAGES[compiler]}")
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout


def _compile(compiler: str, folder: Path) -> None:
    command = [compiler, "-O2", "-o", str(folder / RUNNER), str(SOURCES / "runner.c"), "-ldl"]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        raise InputError(
            f"{compiler} cannot build the native runner ({process.stderr.strip()}); check its installation"
        )


def _cross_library(name: str) -> Path:
    found = subprocess.run([CROSS_COMPILER, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    path = Path(found.stdout.strip())
    if not path.is_absolute():
        raise InputError(f"aarch64's {name} is not installed; apt-get install libc6-arm64-cross libstdc++6-arm64-cross")
    return path


def _unpack_library(version: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as downloads:
        platforms = [word for platform in WHEEL_PLATFORMS for word in ("--platform", platform)]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platforms]
        process = subprocess.run(
            [*command, "--dest", downloads, f"ai-edge-litert=={version}"], capture_output=True, text=True
        )
        wheels = list(Path(downloads).glob("*.whl"))
        if process.returncode or not wheels:
            reason = (process.stderr.strip().splitlines() or ["pip found none"])[-1]
            raise InputError(f"no ARM wheel of ai-edge-litert {version} could be fetched ({reason}); check pip's index")
        with zipfile.ZipFile(wheels[0]) as wheel:
            (folder / LIBRARY).write_bytes(wheel.read(f"ai_edge_litert/{LIBRARY}"))
