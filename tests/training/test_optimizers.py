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
    optimizer = make_optimizer("sgd", learning_rate=0.5, schedule="constant", momentum=0.0, weight_decay=0)
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


def test_sgd_decays_as_by_the_square_of_the_weights_in_the_loss():
    """Caffe's solver, which the released settings are of: the decay goes through the momentum."""
    rate, momentum, decay, gradient = 0.1, 0.9, 0.01, 0.05
    weight, speed = 1.0, 0.0
    optimizer = make_optimizer(
        "sgd", learning_rate=rate, schedule="constant", momentum=momentum, weight_decay=decay
    )
    ours = keras.Variable([1.0], name="kernel")
    for _ in range(300):
        speed = momentum * speed - rate * (gradient + decay * weight)
        weight += speed
        optimizer.apply([keras.ops.convert_to_tensor([gradient])], [ours])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(ours), [weight], rtol=0.02)
    assert weight < -4


def test_errors():
    with pytest.raises(ValueError, match="`momentum` must be at least 0 and below 1"):
        make_optimizer("sgd", schedule="constant", momentum=1.0)
    with pytest.raises(ValueError, match="`weight_decay` must be a number within"):
        make_optimizer(schedule="constant", weight_decay=-1)
    with pytest.raises(ValueError, match=r"`name` must be one of 'adamw', 'adam', 'sgd'"):
        make_optimizer("lion", total_steps=1)
    with pytest.raises(TypeError, match=r"`total_steps`"):
        make_optimizer(schedule="cosine")
