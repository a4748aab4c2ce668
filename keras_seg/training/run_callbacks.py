"""What a run's folder learns after each epoch: the history, the best model, and the point to go on from."""

import math

import keras
import numpy as np

from keras_seg.training.progress import TrainingProgress
from keras_seg.viz import learning_curves, save_png

# The second word and the first are 32 bits, signed on PyTorch.
_WORD = 2**31


def mode_of(monitor):
    """Which values of a log are the better ones: "min" for a name that ends in "loss", "max" otherwise."""
    return "min" if monitor.endswith("loss") else "max"


class BestModel(keras.callbacks.Callback):
    """Save the model to `run.model` whenever the monitored value is the best of the run.

    Unlike `keras.callbacks.ModelCheckpoint`, a resumed run knows the best value of its earlier part, from
    the history, and the file is replaced in one step.

    Args:
        run: RunFolder.
        monitor: str. A log; the largest is best, or the smallest where the name ends in "loss".
    """

    def __init__(self, run, monitor):
        super().__init__()
        self.run = run
        self.monitor = monitor
        sign = -1 if mode_of(monitor) == "min" else 1
        self._score = lambda logs: sign * logs[monitor]

    def on_train_begin(self, logs=None):
        past = [self._score(row) for row in self.run.read_history() if self.monitor in row]
        self._best = max(past, default=None)

    def on_epoch_end(self, epoch, logs=None):
        if self.monitor not in logs:
            raise ValueError(f"`monitor` must be one of {sorted(logs)}. Received: monitor={self.monitor!r}.")
        score = self._score(logs)
        # A NaN is never better; without a model so far, anything is.
        if self._best is None or score > self._best:
            self._best = score
            self.run.save_model(self.model, self.run.model)


class RunCheckpoint(keras.callbacks.Callback):
    """Write history, curves and, last, `run.checkpoint`: model, optimizer and step count in one file.

    `keras.callbacks.BackupAndRestore` writes in place, weights first and the epoch after, so that a kill
    between the two loses the backup; here the one file is replaced in one step. If the kill comes between the
    history and the checkpoint, the epoch is run again and its row replaced.
    """

    def __init__(self, run):
        super().__init__()
        self.run = run

    def on_epoch_end(self, epoch, logs=None):
        rows = [row for row in self.run.read_history() if row["epoch"] <= epoch]
        rows.append({"epoch": epoch + 1, **{key: float(value) for key, value in logs.items()}})
        self.run.write_history(rows)
        columns = {key: [row.get(key) for row in rows] for key in logs}
        save_png(self.run.curves, learning_curves(columns))
        self.run.save_model(self.model, self.run.checkpoint)


def out_of_patience(history, monitor, patience):
    """Whether a run has stopped for want of a new best, by its history, so that a resumed one knows too.

    Args:
        history: list of dicts, one an epoch, as `RunFolder.read_history` gives. An epoch without the
            monitored value does not count.
        monitor: str. The log that marks the best model.
        patience: int or None. Epochs without a new best after which training stops.
    """
    if not patience:
        return False
    sign = -1 if mode_of(monitor) == "min" else 1
    scores = [sign * row[monitor] for row in history if monitor in row]
    # A NaN, which a diverged epoch has, is never a new best.
    best = max((score for score in scores if not math.isnan(score)), default=None)
    return best is not None and len(scores) - 1 - scores.index(best) >= patience


class Patience(keras.callbacks.Callback):
    """Stop the training where `out_of_patience` says so.

    `keras.callbacks.EarlyStopping` begins to count anew in a resumed run.

    Args:
        run: RunFolder, whose history this epoch is in already.
        monitor, patience: see `out_of_patience`.
    """

    def __init__(self, run, monitor, patience):
        super().__init__()
        self.run = run
        self.monitor = monitor
        self.patience = patience

    def on_epoch_end(self, epoch, logs=None):
        if out_of_patience(self.run.read_history(), self.monitor, self.patience):
            self.model.stop_training = True


class EpochSeeds(keras.callbacks.Callback):
    """Set the model's random generators, as of dropout and of drawn samples, anew at each epoch's start.

    Keras does not save their states, so that a resumed run would draw the first epoch's numbers again. Set by
    the epoch's number, they are the same whether the run was stopped or not. On PyTorch, dropout without a
    seed of its own draws from PyTorch's generator, which is left alone.

    Args:
        seed: int.
    """

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        states = [v for v in self.model.variables if v.name == "seed_generator_state"]
        for number, state in enumerate(states):
            # A generator counts its second word up by one for each draw.
            words = (self.seed * 7919 + number) % _WORD, (epoch << 20) % _WORD
            state.assign(np.array(words, state.dtype))


def run_callbacks(run, first, *, epochs, steps_per_epoch, monitor, patience=None, seed=0):
    """The callbacks of a training into a run folder, in the order in which they need one another.

    Args:
        run: RunFolder.
        first: list of callbacks that add to the logs or draw pictures, before anything is written.
        epochs: int, those before a resume included.
        steps_per_epoch: int.
        monitor: str. The log that marks the best model, see `BestModel`.
        patience: int or None. Epochs without a new best after which training stops.
        seed: int, see `EpochSeeds`.
    """
    callbacks = [
        EpochSeeds(seed),
        *first,
        keras.callbacks.TensorBoard(run.tensorboard, write_graph=False),
        BestModel(run, monitor),
        # It says that the epoch is over: what comes after it is not lost by a kill.
        RunCheckpoint(run),
        TrainingProgress(epochs, steps_per_epoch, tuple(dict.fromkeys(("loss", "val_loss", monitor)))),
    ]
    return [*callbacks, Patience(run, monitor, patience)]
