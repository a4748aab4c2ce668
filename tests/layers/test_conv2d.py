"""A convolution whose kernel is updated where it lies: Keras's numbers, and the order of its gradients."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg.layers.conv2d import Conv2D


def trained(kind, frozen=False):
    """The weights after two steps of a small network, and what it predicts."""
    keras.utils.set_random_seed(0)
    images = keras.Input((6, 6, 2))
    x = kind(4, 1, name="first")(images)
    x = layers.ReLU()(x)
    x = kind(3, 3, strides=2, name="second", trainable=not frozen)(x)
    model = keras.Model(images, x)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(3, 6, 6, 2)).astype("float32"), rng.normal(size=(3, 2, 2, 3)).astype("float32")
    for _ in range(2):
        model.train_on_batch(*batch)
    return [*model.get_weights(), model.predict(batch[0], verbose=0)]


@pytest.mark.parametrize("frozen", [False, True])
def test_trains_as_keras(frozen):
    for received, expected in zip(trained(Conv2D, frozen), trained(layers.Conv2D, frozen), strict=True):
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-6)


def waiting(watched=True):
    """What waits for the gradient of a layer's map, in a graph with its gradients."""
    import tensorflow as tf

    layer = Conv2D(4, 1)
    layer.build((2, 6, 6, 3))

    @tf.function(autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            if watched:
                tape.watch(x)
            outputs = layer(x)
        return tape.gradient(outputs, [x, *layer.trainable_weights])

    operations = step.get_concrete_function(tf.TensorSpec((2, 6, 6, 3))).graph.get_operations()
    return [op for op in operations if "Conv2DBackpropInput" in {before.type for before in op.control_inputs}]


@pytest.mark.tf_only
def test_the_kernels_gradient_waits_for_the_maps():
    (operation,) = [op for op in waiting() if op.type == "Identity"]
    assert operation.inputs[0].op.type == "Conv2DBackpropFilter"


@pytest.mark.tf_only
def test_no_gradient_is_made_for_the_order_alone():
    assert not waiting(watched=False)
