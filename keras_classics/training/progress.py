"""Progress of a training on the terminal."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from keras_classics.training.checkpoint import History


class TrainingProgress:
    """A bar over all batches, if stdout is a terminal, and a line for each epoch.

    Args:
        epochs: that the history has in the end.
        total: batches that the bar counts.
        position: how many of them are done.
        shown: whether to print anything.
    """

    def __init__(self, epochs: int, total: int, position: int, shown: bool = True) -> None:
        self.epochs = epochs
        self.console = Console(highlight=False, quiet=not shown)
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        terminal = shown and self.console.is_terminal
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not terminal)
        self.task = self.bar.add_task("", total=total, completed=position)

    def __enter__(self) -> TrainingProgress:
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.bar.stop()

    def batch(self) -> None:
        """Move the bar on."""
        self.bar.advance(self.task)

    def epoch(self, history: History) -> None:
        """Print the figures of the last epoch in `history`."""
        figures = "  ".join(f"{name} {values[-1]:.4f}" for name, values in history.items())
        self.console.print(f"epoch {len(history['loss'])}/{self.epochs}  {figures}")
