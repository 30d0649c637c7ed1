"""Keeping what libraries print by themselves off standard error."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from keras_classics.errors import InputError


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Throw away what is written to file descriptor 2 meanwhile; exceptions pass."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def start_keras(verbose: bool = False) -> None:
    """Import Keras and its backend for a command, without what TensorFlow says of itself unless that is wanted.

    Raises:
        InputError: `KERAS_BACKEND` names none.
        ModuleNotFoundError: the backend is not installed.
    """
    if not verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with contextlib.nullcontext() if verbose else quiet_stderr():
        try:
            import keras  # noqa: F401
        except ValueError as error:
            chosen = os.environ.get("KERAS_BACKEND")
            raise InputError(f"KERAS_BACKEND is {chosen!r}; it takes tensorflow, jax or torch") from error
