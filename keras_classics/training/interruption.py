"""Ctrl-C and SIGTERM while Keras trains."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from keras_classics.errors import Terminated

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Remembers that Ctrl-C or SIGTERM came, for who follows the batches to end the training.

    An exception in the middle of a batch would not do: Keras and NumPy swallow it in places, and
    its traceback holds on to TensorFlow's reading thread, which then keeps Python from exiting.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def came(self) -> bool:
        """Whether one of them came."""
        return self.signal is not None

    def error(self) -> KeyboardInterrupt | Terminated:
        """What to raise once the training has ended for it."""
        return Terminated() if self.signal == signal.SIGTERM else KeyboardInterrupt()

    @contextlib.contextmanager
    def awaited(self) -> Iterator[None]:
        """Within this, in the main thread, the first signal is remembered; a second one does what it always does."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}

        def put_back() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def remember(number: int, _: Any) -> None:
            self.signal = number
            put_back()

        for number in SIGNALS:
            signal.signal(number, remember)
        try:
            yield
        finally:
            put_back()
