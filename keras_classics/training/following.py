"""What happens between the steps of a training: epochs end, figures are taken, checkpoints are written."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import keras
import numpy as np

from keras_classics.datasets.parts import Part
from keras_classics.training.checkpoint import Checkpoint, State
from keras_classics.training.interruption import Interruption
from keras_classics.training.measuring import predict
from keras_classics.training.progress import TrainingProgress

FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy")
"""The columns of a history, each with one number an epoch."""


class LossWatch(keras.callbacks.Callback):
    """Remembers the first step after which the mean loss of the epoch was infinite or no number.

    Attributes:
        async_safe: tells Keras that reading the loss need not hold the next step up.
        found: (step, loss), steps counted from the beginning of the fit; None while all is well.
    """

    async_safe = True

    def __init__(self) -> None:
        super().__init__()
        self.found: tuple[int, float] | None = None

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Look at the mean loss after a step."""
        loss = (logs or {}).get("loss", 0.0)
        if self.found is None and not math.isfinite(loss):
            self.found = batch, loss


class Follower(keras.callbacks.Callback):
    """Follows one `fit` whose only "epoch" is all that is left of a training.

    So a training can go on in the middle of an epoch, and the reader of its batches looks ahead past
    an epoch's end. Everything happens before a step, since Keras calls back before steps at once and
    after them when it suits its devices.

    Args:
        state: where the training stands; is kept up to date.
        epochs: of the training.
        steps: of an epoch.
        seed: of what PyTorch draws, whose generator is seeded for each epoch.
        validation: what is measured on after each epoch.
        checkpoint: where to write the state; nowhere if None.
        minutes: the age of the last checkpoint at which another one is due.
        keep_best: remember the weights with the best validation accuracy, the earliest of several.
        patience: epochs without a better validation accuracy after which the training ends; None for all.
        progress: where to show it.

    Attributes:
        watch: of the loss; goes with this one to `fit`.
        interruption: of the training by a signal.
        stopped: whether the training ended before its last step.
    """

    def __init__(
        self,
        state: State,
        *,
        epochs: int,
        steps: int,
        seed: int,
        validation: Part,
        checkpoint: Checkpoint | None,
        minutes: float,
        keep_best: bool,
        patience: int | None,
        progress: TrainingProgress,
    ) -> None:
        super().__init__()
        self.state, self.steps, self.total, self.seed = state, steps, epochs * steps, seed
        self.validation, self.checkpoint, self.minutes = validation, checkpoint, minutes
        self.keep_best, self.patience, self.progress = keep_best, patience, progress
        self.watch, self.interruption = LossWatch(), Interruption()
        self.first, self.earlier = state.position, len(state.history["loss"]) - state.position // steps
        self.stopped = False
        self.saved_at = time.monotonic()

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Do what is due before a step."""
        position = self.first + batch
        if self.stopped:
            return
        if batch == 0:
            self._go_on()
        else:
            self._after(position)
        self.progress.batch()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """End the last epoch, unless steps were left out."""
        if not self.stopped and self.watch.found is None and self.state.position == self.total - 1:
            self.state.position = self.total
            self._conclude()

    def _go_on(self) -> None:
        """Put back what Keras resets at the beginning of a fit."""
        if self.state.metrics:
            for variable, value in zip(self.model.metrics_variables, self.state.metrics, strict=True):
                variable.assign(value)
        if self.state.random:
            _set_torch_generators(self.state.random)
        else:
            self._seed_torch()

    def _after(self, position: int) -> None:
        self.state.position = position
        if self.watch.found:
            self._stop()
        elif position % self.steps == 0:
            self._conclude()
            self._seed_torch()
        elif self.interruption.came or time.monotonic() - self.saved_at > 60 * self.minutes:
            self._save()
        if self.interruption.came:
            self._stop()

    def _stop(self) -> None:
        """Keras makes the step at hand first, of which nothing is kept."""
        self.stopped = self.model.stop_training = True

    def _conclude(self) -> None:
        """End an epoch: take figures, start their means anew, remember the best weights, write the checkpoint."""
        model, history = self.model, self.state.history
        figures = dict(model.get_metrics_result())
        if len(model.outputs) > 1:
            figures["accuracy"] = figures[f"{model.output_names[0]}_accuracy"]
        model.reset_metrics()
        figures |= self._validated(model)
        for name in FIGURES:
            history[name].append(float(figures[name]))
        accuracies = history["val_accuracy"][self.earlier :]
        best = accuracies.index(max(accuracies))
        if self.keep_best and best == len(accuracies) - 1:
            self.state.best = [np.array(keras.ops.convert_to_numpy(variable)) for variable in model.variables]
        self._save()
        self.progress.epoch(history)
        if self.patience is not None and len(accuracies) - 1 - best >= self.patience:
            self._stop()

    def _validated(self, model: keras.Model) -> dict[str, float]:
        scores, labels = predict(model, self.validation), self.validation.labels
        if keras.backend.backend() == "torch":
            model.train()  # as fit has put it, for layers that are PyTorch's own
        # `call` and the mean, for a strategy of TensorFlow divides what a loss gives by its devices.
        losses = model.loss[0].call(keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(scores))
        return {
            "val_loss": float(keras.ops.mean(losses)),
            "val_accuracy": float(np.mean(scores.argmax(axis=-1) == labels)),
        }

    def _save(self) -> None:
        if self.checkpoint:
            inside = self.state.position % self.steps != 0
            metrics = self.model.metrics_variables if inside else []
            self.state.metrics = [np.array(keras.ops.convert_to_numpy(variable)) for variable in metrics]
            self.state.random = _torch_generators() if inside else []
            self.checkpoint.save(self.model, self.state)
        self.saved_at = time.monotonic()

    def _seed_torch(self) -> None:
        # Keras's dropout on PyTorch draws from the global generator, elsewhere from a variable of
        # the layer. The data loader draws too, but before the first batch.
        if keras.backend.backend() == "torch":
            import torch

            epoch = self.earlier + self.state.position // self.steps
            torch.manual_seed(int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0]))


def _torch_generators() -> list[np.ndarray]:
    """The state of PyTorch's generators, of the processor and of each GPU; none under another backend."""
    if keras.backend.backend() != "torch":
        return []
    import torch

    return [torch.get_rng_state().numpy(), *(state.numpy() for state in torch.cuda.get_rng_state_all())]


def _set_torch_generators(states: Sequence[np.ndarray]) -> None:
    import torch

    first, *others = (torch.from_numpy(np.array(state)) for state in states)
    torch.set_rng_state(first)
    if others:
        torch.cuda.set_rng_state_all(others)


def empty_history() -> dict[str, list[float]]:
    """A history of no epochs."""
    return {name: [] for name in FIGURES}
