import keras
import numpy as np
import pytest

from keras_seg.training import make_optimizer


def rates(optimizer, steps):
    schedule = optimizer._learning_rate
    return [float(schedule(step)) for step in steps]


def test_cosine_with_warmup():
    optimizer = make_optimizer(learning_rate=0.1, total_steps=110, warmup_steps=10)
    received = rates(optimizer, [0, 5, 10, 60, 110])
    np.testing.assert_allclose(received, [0, 0.05, 0.1, 0.05, 0], atol=1e-6)


def test_cosine_without_warmup():
    optimizer = make_optimizer("sgd", learning_rate=0.1, total_steps=100)
    np.testing.assert_allclose(rates(optimizer, [0, 50, 100]), [0.1, 0.05, 0], atol=1e-6)


def test_constant_sgd_moves_by_rate_times_gradient():
    optimizer = make_optimizer("sgd", learning_rate=0.5, schedule="constant", momentum=0.0)
    weight = keras.Variable([1.0, 2.0])
    optimizer.apply([keras.ops.convert_to_tensor([2.0, -2.0])], [weight])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(weight), [0.0, 3.0])


def test_decay_spares_biases_and_norms():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    )
    for weight in model.trainable_weights:
        weight.assign(np.ones(weight.shape))
    optimizer = make_optimizer("adamw", learning_rate=0.1, schedule="constant", weight_decay=0.5)
    zeros = [np.zeros(weight.shape, "float32") for weight in model.trainable_weights]
    optimizer.apply([keras.ops.convert_to_tensor(zero) for zero in zeros], model.trainable_weights)
    for weight in model.trainable_weights:
        expected = 0.95 if weight.path.endswith("kernel") else 1.0
        np.testing.assert_allclose(np.array(weight), expected, rtol=1e-6)


def test_errors():
    with pytest.raises(ValueError, match=r"`name` must be one of 'adamw', 'adam', 'sgd'"):
        make_optimizer("lion", total_steps=1)
    with pytest.raises(TypeError, match=r"`total_steps`"):
        make_optimizer(schedule="cosine")
