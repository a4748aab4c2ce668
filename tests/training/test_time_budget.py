import keras
import numpy as np
import pytest

from keras_seg.training import TimeBudget


def trained(minutes, seconds_an_epoch, epochs=1000):
    """Learning rate of each epoch of a training on a clock that an epoch moves by so many seconds."""
    now = [100.0]
    rates = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))
            now[0] += seconds_an_epoch

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), "mean_squared_error")
    budget = TimeBudget(minutes)
    budget._now = lambda: now[0]
    x = np.ones((2, 1), "float32")
    model.fit(x, x, batch_size=2, epochs=epochs, verbose=0, callbacks=[Watch(), budget])
    assert float(model.optimizer.learning_rate) == pytest.approx(0.5)
    return rates


def test_the_rate_rises_and_falls_with_the_clock_and_training_ends_with_it():
    rates = trained(minutes=10, seconds_an_epoch=15)
    assert len(rates) == 1 + 10 * 60 // 15  # the first epoch, which compiles, is not counted
    peak = np.argmax(rates)
    assert rates[0] == pytest.approx(0.5 * 0.05) and peak == 3 and rates[peak] == pytest.approx(0.5)
    assert np.all(np.diff(rates[peak:]) < 0) and rates[-1] < 0.005
    # Half of what follows the warm-up: half of the peak.
    assert rates[22] == pytest.approx(0.25, abs=0.03)


def test_slower_epochs_end_in_the_same_time():
    assert len(trained(minutes=10, seconds_an_epoch=120)) == 6


def test_a_stop_by_epochs_comes_first():
    assert len(trained(minutes=10, seconds_an_epoch=15, epochs=4)) == 4


def test_an_optimizer_with_a_schedule_is_refused():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 10)), "mse")
    with pytest.raises(TypeError, match="LearningRateSchedule"):
        model.fit(np.ones((2, 1)), np.ones((2, 1)), verbose=0, callbacks=[TimeBudget(1)])


@pytest.mark.parametrize(
    ("options", "name"), [({"minutes": 0}, "minutes"), ({"minutes": 1, "warmup": 1}, "warmup")]
)
def test_bad_arguments(options, name):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        TimeBudget(**options)
