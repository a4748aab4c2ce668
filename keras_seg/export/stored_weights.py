"""Smaller weights in a SavedModel: variables of float16, bfloat16 or int8, made float32 when the graph runs.

Only the weights are rounded; activations keep the model's dtypes. TensorFlow has no kernels that compute with
such weights on every device, so the file becomes smaller and not the time shorter.
"""

import keras
import numpy as np

# Below this many values a cast costs more than it saves; biases and statistics stay as they are.
_FEWEST = 256


def with_stored_weights(model, weights):
    """A callable from images to the model's outputs that reads its large weights in another dtype.

    Args:
        model: keras.Model under the TensorFlow backend.
        weights: "float32" (the model itself), "float16", "bfloat16" or "int8" (per output channel,
            symmetric).

    Returns:
        Callable of one batch of images.
    """
    if weights == "float32":
        return lambda images: model(images, training=False)
    axes = _channel_axes(model)
    readers = {}
    for variable in model.variables:
        kernel = variable.dtype == "float32" and len(variable.shape) >= 2
        if kernel and np.prod(variable.shape) >= _FEWEST:
            readers[id(variable)] = _store(variable.numpy(), weights, axes.get(id(variable), -1))

    def call(images):
        def read(variable):
            return readers[id(variable)]() if id(variable) in readers else variable.value

        outputs, _ = model.stateless_call(
            [read(variable) for variable in model.trainable_variables],
            [read(variable) for variable in model.non_trainable_variables],
            images,
            training=False,
        )
        return outputs

    return call


def _store(values, weights, axis):
    """A function that gives `values` back as float32, of variables that are smaller."""
    import tensorflow as tf

    if weights != "int8":
        stored = tf.Variable(tf.cast(values, weights), trainable=False)
        return lambda: tf.cast(stored, tf.float32)
    others = tuple(i for i in range(values.ndim) if i != axis % values.ndim)
    scale = np.abs(values).max(axis=others, keepdims=True) / 127
    scale = np.maximum(scale, np.finfo("float32").tiny).astype("float32")
    stored = tf.Variable(np.clip(np.rint(values / scale), -127, 127).astype("int8"), trainable=False)
    scale = tf.Variable(scale, trainable=False)
    return lambda: tf.cast(stored, tf.float32) * scale


def _channel_axes(model):
    """dict of a kernel's id to the axis of its output channels, where that is not the last."""
    kinds = (keras.layers.Conv2DTranspose, keras.layers.DepthwiseConv2D)
    layers = model._flatten_layers(include_self=False)
    return {id(layer.kernel): -2 for layer in layers if isinstance(layer, kinds)}
