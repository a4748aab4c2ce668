"""Progress of a training: a bar with time left on a terminal, a line an epoch elsewhere."""

import sys
import time

import keras

from keras_seg.utils.progress import progress_bar


class TrainingProgress(keras.callbacks.Callback):
    """Show how far a training is, how long it will take, and the newest figures.

    Args:
        epochs: int. Epochs of the whole training, those before a resume included.
        steps_per_epoch: int.
        shown: sequence of str. The logs to print after an epoch, where they exist.
    """

    def __init__(self, epochs, steps_per_epoch, shown=("loss", "val_loss", "val_mean_iou")):
        super().__init__()
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.shown = shown
        self._bar = None

    def on_train_begin(self, logs=None):
        self._first_epoch = None
        self._bar = progress_bar()
        self._bar.start()

    def on_epoch_begin(self, epoch, logs=None):
        if self._first_epoch is None:
            self._first_epoch, self._started = epoch, time.monotonic()
            self._task = self._bar.add_task(
                "training", total=self.epochs * self.steps_per_epoch, completed=epoch * self.steps_per_epoch
            )

    def on_train_batch_end(self, batch, logs=None):
        self._bar.advance(self._task)

    def on_epoch_end(self, epoch, logs=None):
        elapsed = time.monotonic() - self._started
        done = epoch + 1 - self._first_epoch
        left = elapsed / done * (self.epochs - epoch - 1)
        figures = "  ".join(f"{key} {logs[key]:.4f}" for key in self.shown if key in (logs or {}))
        line = f"epoch {epoch + 1}/{self.epochs}  {figures}  {_clock(elapsed)} spent, {_clock(left)} left"
        self._bar.print(line) if sys.stderr.isatty() else print(line, flush=True)

    def on_train_end(self, logs=None):
        self._bar.stop()


def _clock(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
