"""Ctrl-C while Keras trains."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Interruption:
    """Remembers that Ctrl-C came, for who reads the batches to end the training.

    An exception in the middle of a batch would not do: Keras and NumPy swallow it in places, and
    its traceback holds on to TensorFlow's reading thread, which then keeps Python from exiting.
    """

    def __init__(self) -> None:
        self.came = False

    @contextlib.contextmanager
    def awaited(self) -> Iterator[None]:
        """Within this, in the main thread, the first Ctrl-C is remembered; a second one raises."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def remember(*_: Any) -> None:
            self.came = True
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, remember)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
