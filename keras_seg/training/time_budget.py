"""A training that is over when its time is: a rate that follows the clock."""

import math
import time

import keras

from keras_seg.utils.validation import bad_argument, check_number, check_positive


class TimeBudget(keras.callbacks.Callback):
    """Train for so many minutes, whatever a step takes: for machines that are rented or lent by the hour.

    After each epoch the learning rate becomes what a schedule would have at that part of the time: it grows
    from zero during `warmup`, and falls to zero at the end by a cosine (Loshchilov and Hutter 2017). So an
    epoch should be short: a fortieth of the time or less. The clock starts before the second epoch, since the
    first one compiles; that one is trained at a twentieth of the peak.

    Args:
        minutes: float, above 0. Training stops after the first epoch that ends later than that.
        warmup: float within 0..1, below 1. The part of the time in which the rate grows.

    Raises:
        TypeError: from Keras, at the first epoch, for an optimizer that has a schedule already.

    Example:

        model.compile(keras.optimizers.AdamW(1e-3))
        model.fit(data, steps_per_epoch=100, epochs=10**6, callbacks=[TimeBudget(minutes=20)])
    """

    def __init__(self, minutes, warmup=0.05):
        super().__init__()
        self.seconds = 60 * check_positive("minutes", minutes)
        if check_number("warmup", warmup, 0) >= 1:
            raise bad_argument("warmup", "at least 0 and below 1", warmup)
        self.warmup = warmup
        self._now = time.monotonic

    def on_train_begin(self, logs=None):
        self._peak = float(self.model.optimizer.learning_rate)
        self._started = None
        self._epochs = 0

    def on_epoch_begin(self, epoch, logs=None):
        if self._epochs == 1:
            self._started = self._now()
        self.model.optimizer.learning_rate = self._peak * self._factor()
        self._epochs += 1

    def on_epoch_end(self, epoch, logs=None):
        if self._started is not None and self._now() - self._started >= self.seconds:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self.model.optimizer.learning_rate = self._peak

    def _factor(self):
        """The part of the peak rate that is due now, within 0..1."""
        spent = 0.0 if self._started is None else (self._now() - self._started) / self.seconds
        if spent < self.warmup:
            return max(spent / self.warmup, 0.05)
        return 0.5 + 0.5 * math.cos(math.pi * min((spent - self.warmup) / (1 - self.warmup), 1.0))
