"""The batches of a training, each a function of its number alone."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import keras
import numpy as np

from keras_classics.datasets.parts import Part


class Changes(Protocol):
    """What happens to training images, in two steps: the draws are cheap and the rest is not."""

    def draw(self, count: int, random: np.random.Generator) -> Any:
        """All that is random of `count` images."""

    def apply(self, images: np.ndarray, draws: Any) -> np.ndarray:
        """The images, float32 (n, …), changed as was drawn."""


class Epoch:
    """The order and the changes of one epoch, drawn in advance, so that any of its batches can be read at once."""

    def __init__(self, part: Part, batch_size: int, seed: int | Sequence[int], changes: Changes | None) -> None:
        random = np.random.default_rng(seed)
        order = random.permutation(len(part))
        starts = range(0, len(part) - batch_size + 1, batch_size)
        self.part, self.changes = part, changes
        self.chosen = [order[start : start + batch_size] for start in starts]
        self.draws = [changes.draw(batch_size, random) for _ in starts] if changes else []

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.chosen[step]
        images = self.part.images(chosen)
        if self.changes:
            images = self.changes.apply(images, self.draws[step])
        return images, self.part.labels[chosen]


def batches(
    part: Part, batch_size: int, seed: int | Sequence[int], augmentation: Changes | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One epoch of `part` in random order: float32 images in [0, 1] and int64 labels.

    Every batch has `batch_size` examples; what is left over waits for another epoch's shuffle.
    """
    epoch = Epoch(part, batch_size, seed, augmentation)
    for step in range(len(epoch)):
        yield epoch[step]


class TrainingBatches(keras.utils.PyDataset):
    """All batches of a training from the step `first` on, of any number of epochs.

    Which images a step sees, and how they are changed, depends on `seed` and the step alone. So the
    batches can be read again, in any order and by several readers, as `tf.distribute` does, and a
    training that goes on in the middle of an epoch sees what the unbroken one would have seen. The
    batch after the one that was asked for is read in the meantime: Keras reads ahead on TensorFlow alone.

    Attributes:
        steps: of one epoch.
        failure: the first exception that reading raised, which TensorFlow reports as one of its own.
    """

    def __init__(
        self,
        part: Part,
        batch_size: int,
        seed: int,
        changes: Changes | None,
        epochs: int,
        first: int = 0,
        heads: int = 1,
    ) -> None:
        super().__init__()
        self.part, self.size, self.seed, self.changes = part, batch_size, seed, changes
        self.epochs, self.first, self.heads = epochs, first, heads
        self.steps = len(part) // batch_size
        self.failure: Exception | None = None
        self._epoch = functools.lru_cache(maxsize=2)(self._drawn)  # readers ahead are in the next one
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._ahead: dict[int, Future[tuple[np.ndarray, Any]]] = {}

    def __len__(self) -> int:
        return self.epochs * self.steps - self.first

    def close(self) -> None:
        """End the thread that reads ahead; no batch is asked for after that."""
        self._reader.shutdown(cancel_futures=True)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Any]:
        waiting = self._ahead.pop(index, None)
        batch = waiting.result() if waiting else self._read(index)
        if index + 1 < len(self):
            self._ahead = {index + 1: self._reader.submit(self._read, index + 1)}
        return batch

    def _read(self, index: int) -> tuple[np.ndarray, Any]:
        epoch, step = divmod(self.first + index, self.steps)
        try:
            images, labels = self._epoch(epoch)[step]
        except Exception as error:
            self.failure = self.failure or error
            raise
        return images, (labels,) * self.heads if self.heads > 1 else labels

    def _drawn(self, epoch: int) -> Epoch:
        return Epoch(self.part, self.size, [self.seed, epoch], self.changes)
