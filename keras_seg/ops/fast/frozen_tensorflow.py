"""A network of constant weights as a TensorFlow graph, which prepares constants only once."""

import keras
import tensorflow as tf

from keras_seg.ops.fast.normalization_tensorflow import folding


def frozen_function(call, input_shape):
    """A function as a graph of its own, with what it closes over inside.

    oneDNN lays a constant kernel out for its convolutions once, and a cast to bfloat16 is folded into it; of
    a variable both are done at every call. Costs a copy of the weights, and another of those laid out anew.

    Args:
        call: callable from a tensor to a tensor, or a structure of them, which reads no variable.
        input_shape: shape of the tensor, None for free sides.

    Returns:
        Callable from an array to a NumPy array, or the structure.
    """

    def folded(images):
        with folding():
            return call(images)

    traced = tf.function(folded, [tf.TensorSpec(input_shape, "float32")], autograph=False, jit_compile=False)
    return lambda images: keras.tree.map_structure(
        lambda tensor: tensor.numpy(), traced(tf.constant(images, "float32"))
    )
