"""Ctrl-C, and other signals that ask to end, while Keras trains."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from keras_classics.errors import ENDING_SIGNALS, TerminationError


class Interruption:
    """Remembers that Ctrl-C or SIGTERM came, for who reads the batches to end the training.

    An exception in the middle of a batch would not do: Keras and NumPy swallow it in places, and
    its traceback holds on to TensorFlow's reading thread, which then keeps Python from exiting.
    """

    def __init__(self) -> None:
        self._number: int | None = None

    @property
    def came(self) -> bool:
        """Whether a signal came."""
        return self._number is not None

    def raise_if_came(self) -> None:
        """Raise what stands for the signal that came, if one did: KeyboardInterrupt or TerminationError."""
        if self._number == signal.SIGINT:
            raise KeyboardInterrupt
        if self._number is not None:
            raise TerminationError(self._number)

    @contextlib.contextmanager
    def awaited(self) -> Iterator[None]:
        """Within this, in the main thread, the first signal is remembered; a second one is as it would be without."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.getsignal(number)
            for number in (signal.SIGINT, *ENDING_SIGNALS)
            if callable(signal.getsignal(number))
        }

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def remember(number: int, frame: Any) -> None:
            self._number = number
            restore()

        for number in before:
            signal.signal(number, remember)
        try:
            yield
        finally:
            restore()
