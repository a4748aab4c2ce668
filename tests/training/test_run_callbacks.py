"""Random generators inside a model draw the same numbers in an epoch, however the run came to it."""

import math

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg.training.run_callbacks import EpochSeeds, out_of_patience


def fit(epochs, first_epoch=0, model=None, seed=5):
    """Weights after each epoch of a network with dropout, by names of their epochs."""
    if model is None:
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((6,)), layers.Dropout(0.5, seed=3), layers.Dense(3)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
    weights = []
    data = np.random.default_rng(0).normal(size=(2, 12, 6))
    model.fit(
        data[0],
        data[1, :, :3],
        batch_size=4,
        epochs=epochs,
        initial_epoch=first_epoch,
        shuffle=False,
        verbose=0,
        callbacks=[
            EpochSeeds(seed),
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: weights.append(np.copy(model.get_weights()[0]))
            ),
        ],
    )
    return model, weights


def test_a_resumed_run_draws_what_it_would_have_drawn(tmp_path):
    _, whole = fit(3)
    model, first = fit(1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    _, rest = fit(3, 1, loaded)
    np.testing.assert_allclose([*first, *rest], whole, rtol=1e-5, atol=1e-6)


def test_epochs_and_seeds_differ():
    states = []
    for seed in (5, 6):
        model, _ = fit(1, seed=seed)
        generator = next(v for v in model.variables if v.name == "seed_generator_state")
        for epoch in (0, 1):
            callback = EpochSeeds(seed)
            callback.set_model(model)
            callback.on_epoch_begin(epoch)
            states.append(tuple(np.asarray(keras.ops.convert_to_numpy(generator)).tolist()))
    assert len(set(states)) == 4


@pytest.mark.tf_only
@pytest.mark.parametrize(
    ("scores", "patience", "over"),
    [
        ((), 2, False),
        ((0.1, 0.2, 0.1), 2, False),
        ((0.1, 0.2, 0.1, 0.2), 2, True),  # as good is no new best
        ((0.1, 0.2, None, 0.1), 2, False),  # an epoch without a score does not count
        ((math.nan, 0.1, math.nan, math.nan), 2, True),
        ((0.3, 0.2, 0.1), None, False),
    ],
)
def test_out_of_patience(scores, patience, over):
    rows = [{"epoch": i} | ({} if s is None else {"val_ap": s, "val_loss": -s}) for i, s in enumerate(scores)]
    assert out_of_patience(rows, "val_ap", patience) == over
    assert out_of_patience(rows, "val_loss", patience) == over
