"""Random generators inside a model draw the same numbers in an epoch, however the run came to it."""

import keras
import numpy as np
from keras import layers

from keras_seg.training.run_callbacks import EpochSeeds


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
