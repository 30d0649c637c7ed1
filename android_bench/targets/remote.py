"""A machine that is reached through a shell: what is brought there, where it lies, and that nobody else can touch it.

Other users of the machine may have put folders, files and links of any name into its temporary folder beforehand, and
may try to swap ours. So everything of a run lies in a new folder of mode 0700 with a name that nobody can guess, made
by mkdir, which follows no link and fails where anything of that name is. What outlives a run (`keep_files`) lies in a
folder of a fixed name that must be a folder of our own of mode 0700. Neither can be swapped, because every folder above
it belongs to us or to the system and lets nobody else rename what is in it.
"""

from __future__ import annotations

import abc
import contextlib
import hashlib
import posixpath
import re
import secrets
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from android_bench.errors import InputError, TargetLostError
from android_bench.processes import last_line, text
from android_bench.runners import sensors
from android_bench.targets.base import Target

# How long a command may take that moves little, in seconds, and one that cleans up when the run has ended.
CALL_TIMEOUT = 60.0
CLEANUP_TIMEOUT = 20.0
# The slowest link that an upload waits for, in bytes a second: 2 Mbit/s, less overhead.
SLOWEST_UPLOAD = 200_000
# Mode bits: ours alone; and sticky, where only its owner may rename a file.
OURS_ALONE, STICKY = 0o700, 0o1000
# Suffixes that are kept in the names of files there; a name on the target holds nothing else of the user's.
PLAIN_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}")


@dataclass(frozen=True)
class Entry:
    """What lies at a path, links not followed: its kind in `stat`'s words, its owner's number and its mode bits."""

    path: str
    kind: str
    owner: int
    mode: int


class RemoteTarget(Target):
    """A target with a shell.

    Args:
        keep_files: whether files stay there for the next run.

    Attributes:
        untrusted_writers: the mode bits of those who must not be able to write to a folder above ours.
    """

    untrusted_writers = 0o022

    def __init__(self, keep_files: bool):
        self._keep_files = keep_files
        self._placed: set[str] = set()
        self._cleanups = contextlib.ExitStack()
        self._folder = self._store = ""
        self._at_work = False

    @abc.abstractmethod
    def shell(
        self, command: str, timeout: float | None = None, content: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a shell command there.

        Args:
            command: what its shell takes.
            timeout: seconds; None for `CALL_TIMEOUT`.
            content: what the command reads.

        Returns:
            What it printed and its exit code.

        Raises:
            TargetLostError: where the target cannot be reached, does not answer in time, or prints without end.
        """

    @abc.abstractmethod
    def _connect(self, cleanups: contextlib.ExitStack) -> str:
        """Reach the target; return its temporary folder. What must be undone is pushed to `cleanups`."""

    @abc.abstractmethod
    def _upload(self, source: Path, remote: str, timeout: float) -> subprocess.CompletedProcess[bytes]:
        """Copy a file there, to a path where nothing is."""

    @abc.abstractmethod
    def _is_trusted(self, owner: int, user: int) -> bool:
        """Return whether a user of that number, beside ourselves (`user`), may own a folder above ours."""

    def __enter__(self) -> Self:
        """Connect, and make the folder of this run."""
        with contextlib.ExitStack() as cleanups:
            temporary = self._connect(cleanups)
            self._make_folders(temporary, cleanups)
            self._cleanups = cleanups.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Remove the run's folder there, and hang up."""
        self._cleanups.__exit__(kind, error, trace)

    def temperature(self) -> float | None:
        """Return the hottest sensor now, in degrees Celsius; None where the target shows none."""
        return sensors.largest(text(self.shell(sensors.TEMPERATURES).stdout))

    def run_program(self, command: str, timeout: float | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run a program there that is ended, too, if this run ends before it.

        Args:
            command: a shell command that ends in `exec`, so that the program's process is the one that is ended.
            timeout: seconds; None for `CALL_TIMEOUT`.

        Returns:
            What it printed and its exit code.

        Raises:
            TargetLostError: as `shell` does.
        """
        self._at_work = True
        # The shell stays the parent, for ssh tells of a program that dies of a signal as of a lost connection.
        process = self.shell(f"{{ {command}; }} & echo $! > {shlex.quote(self._process_file)}; wait $!", timeout)
        self._at_work = False
        return process

    def place(self, path: Path) -> str:
        """Bring a file there, unless the same content is there.

        Args:
            path: the file here.

        Returns:
            Its absolute path there, which holds nothing of its name here but a plain suffix.

        Raises:
            TargetLostError: where it does not arrive whole.
        """
        suffix = path.suffix if PLAIN_SUFFIX.fullmatch(path.suffix) else ""
        name = f"{_digest(path)}{suffix}"
        self._bring(self._store, {name: path})
        return f"{self._store}/{name}"

    def place_together(self, paths: Sequence[Path]) -> str:
        """Bring files to one folder there, by their own names; return that folder. Raises as `place` does."""
        digests = sorted((path.name, _digest(path)) for path in paths)
        folder = f"{self._store}/{hashlib.sha256(repr(digests).encode()).hexdigest()[:16]}"
        self._bring(folder, {path.name: path for path in paths})
        return folder

    def fetch(self, path: str) -> bytes | None:
        """Return the bytes of a file there, or None where it cannot be read."""
        process = self.shell(f"cat {shlex.quote(path)}")
        return None if process.returncode else process.stdout

    def fetch_output(self, path: str) -> bytes:
        """Return the bytes of a runner's outputs; raise TargetLostError where they cannot be read."""
        content = self.fetch(path)
        if content is None:
            raise TargetLostError(f"{self.name}: the output could not be fetched; run again")
        return content

    def _make_folders(self, temporary: str, cleanups: contextlib.ExitStack) -> None:
        user, temporary = self._locate(temporary)
        self._refuse_unsafe_parents(temporary, user)
        parent = temporary
        if self._keep_files:
            parent = self._store = f"{temporary}/android_bench-{user}"
            self.shell(f"umask 077; mkdir -- {shlex.quote(self._store)}")  # where it is already, it must be ours
            self._refuse_unless_ours(self._store, user)
        self._folder = f"{parent}/android_bench-{secrets.token_hex(8)}"
        cleanups.push(self._remove_folder)
        made = self.shell(f"umask 077; mkdir -- {shlex.quote(self._folder)}")
        if made.returncode:
            self._refuse_full(made)
            raise InputError(
                f"{self.name}: no folder can be made in {parent or '/'} ({last_line(made.stderr, made.returncode)}); "
                "let TMPDIR there name one that you may write to"
            )
        self._refuse_unless_ours(self._folder, user)
        if not self._keep_files:
            self._store = self._folder

    def _remove_folder(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what still runs there and remove the run's folder.

        What already ended the run is worth more than that this fails, too.
        """
        end = f'kill -9 "$(cat {shlex.quote(self._process_file)})"; ' if self._at_work else ""
        try:
            self.shell(f"{end}rm -rf -- {shlex.quote(self._folder)}", CLEANUP_TIMEOUT)
        except InputError:
            if kind is None:
                raise

    @property
    def _process_file(self) -> str:
        """The file there that holds the number of the process that measures."""
        return f"{self._folder}/process"

    def _locate(self, temporary: str) -> tuple[int, str]:
        """Return the number of our user there and the temporary folder's path without links."""
        process = self.shell(f"id -u && cd -P -- {shlex.quote(temporary)} && pwd -P")
        lines = text(process.stdout).splitlines()
        if process.returncode or len(lines) != 2 or not lines[0].isdecimal() or not lines[1].startswith("/"):
            raise InputError(
                f"{self.name}: its temporary folder {temporary} cannot be used "
                f"({last_line(process.stderr, process.returncode)}); let TMPDIR there name another"
            )
        return int(lines[0]), lines[1].rstrip("/")

    def _folders_to_trust(self, temporary: str) -> list[str]:
        """Return the folders in which nobody else may rename anything: the temporary one and all above it."""
        folders = [temporary]
        while folders[-1] != "/":
            folders.append(posixpath.dirname(folders[-1]))
        return folders

    def _inspect(self, paths: Sequence[str]) -> list[Entry]:
        """Return what lies at `paths`, none of which is followed where it is a link."""
        process = self.shell(f"stat -c '%F|%u|%a' -- {shlex.join(paths)}")
        lines = [line.split("|") for line in text(process.stdout).splitlines()]
        if len(lines) != len(paths) or not all(re.fullmatch(r"[^|]*\|\d+\|[0-7]+", "|".join(line)) for line in lines):
            raise InputError(
                f"{self.name}: stat does not tell who owns {paths[-1]} "
                f"({last_line(process.stderr, process.returncode)}); install coreutils there"
            )
        return [
            Entry(path, kind, int(owner), int(mode, 8)) for path, (kind, owner, mode) in zip(paths, lines, strict=True)
        ]

    def _refuse_unsafe_parents(self, temporary: str, user: int) -> None:
        """Raise InputError where somebody else could rename what lies in the folder `temporary`."""
        for entry in self._inspect(self._folders_to_trust(temporary or "/")):
            if entry.owner != user and not self._is_trusted(entry.owner, user):
                reason = f"belongs to user {entry.owner}"
            elif entry.mode & self.untrusted_writers and not entry.mode & STICKY:
                reason = f"has mode {entry.mode:o}, so that others may swap what is in it"
            else:
                continue
            raise InputError(f"{self.name}: {entry.path} there {reason}; let TMPDIR there name a folder of your own")

    def _refuse_unless_ours(self, path: str, user: int) -> None:
        """Raise InputError where `path` is no folder of our own that nobody else may enter."""
        (entry,) = self._inspect([path])
        if entry.kind != "directory":
            reason = f"is a {entry.kind}"
        elif entry.owner != user:
            reason = f"belongs to user {entry.owner}"
        elif entry.mode & 0o777 != OURS_ALONE:
            reason = f"has mode {entry.mode:o}"
        else:
            return
        raise InputError(
            f"{self.name}: {path} there {reason} and is not a folder of yours alone (mode 700); remove it, or run "
            "without --keep-files"
        )

    def _bring(self, folder: str, files: Mapping[str, Path]) -> None:
        """Bring files to `folder`, each to its name there; contents are compared by SHA-256 before and after."""
        places = {f"{folder}/{name}": path for name, path in files.items()}
        if self._placed >= places.keys():
            return
        digests = {place: _digest(path) for place, path in places.items()}
        known = self._digests(list(places)) if self._keep_files else {}
        missing = [place for place, digest in digests.items() if known.get(place) != digest]
        for place in missing:
            path = places[place]
            new = f"{self._folder}/arriving"
            process = self._upload(path, new, CALL_TIMEOUT + path.stat().st_size / SLOWEST_UPLOAD)
            self._refuse_full(process)
            if not process.returncode:
                process = self.shell(
                    f"umask 077; mkdir -p -- {shlex.quote(folder)} && mv -f -- {shlex.quote(new)} {shlex.quote(place)}"
                )
            if process.returncode:
                reason = last_line(process.stdout + process.stderr, process.returncode)
                raise TargetLostError(f"{self.name}: {path} could not be brought there ({reason}); run again")
        if missing and self._digests(missing) != {place: digests[place] for place in missing}:
            raise TargetLostError(f"{self.name}: a file arrived damaged; check the connection, then run again")
        self._placed |= places.keys()

    def _refuse_full(self, process: subprocess.CompletedProcess[bytes]) -> None:
        if process.returncode and b"No space left" in process.stdout + process.stderr:
            raise TargetLostError(f"{self.name} has no space left in {self._folder}; free some, then run again")

    def _digests(self, places: Sequence[str]) -> dict[str, str]:
        """Return the SHA-256 of files there; they are read as input, because sha256sum may change names it prints."""
        command = "; ".join(f"sha256sum < {shlex.quote(place)} || echo missing" for place in places)
        lines = text(self.shell(command).stdout).splitlines()
        return {place: line.split(" ")[0] for place, line in zip(places, lines, strict=False)}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
