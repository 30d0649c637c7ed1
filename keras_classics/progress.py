"""Progress of a training on the terminal."""

from __future__ import annotations

from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from keras_classics.checkpoint import History


class TrainingProgress(keras.callbacks.Callback):
    """A bar over all batches on a terminal, and a line on stdout for each epoch."""

    def __init__(self, history: History, epochs: int, steps: int) -> None:
        super().__init__()
        self.history, self.epochs = history, epochs
        self.console = Console(highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self.task = self.bar.add_task("training", total=epochs * steps, completed=len(history["loss"]) * steps)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Show the bar."""
        self.bar.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Move the bar on."""
        self.bar.advance(self.task)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Print the epoch's figures, which are in the history by now."""
        figures = "  ".join(f"{name} {values[-1]:.4f}" for name, values in self.history.items())
        self.console.print(f"epoch {epoch + 1}/{self.epochs}  {figures}")

    def close(self) -> None:
        """Take the bar away, however the training ended."""
        self.bar.stop()
