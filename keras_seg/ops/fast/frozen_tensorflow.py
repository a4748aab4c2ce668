"""A network of constant weights as a TensorFlow graph, which prepares constants only once."""

import tensorflow as tf


def frozen_function(call, input_shape):
    """A function as a graph of its own, with what it closes over inside.

    oneDNN lays a constant kernel out for its convolutions once, and a cast to bfloat16 is folded into it; of
    a variable both are done at every call. Costs a copy of the weights, and another of those laid out anew.

    Args:
        call: callable from a tensor to a tensor, which reads no variable.
        input_shape: shape of the tensor, None for free sides.

    Returns:
        Callable from an array to a NumPy array.
    """
    traced = tf.function(call, [tf.TensorSpec(input_shape, "float32")], autograph=False, jit_compile=False)
    return lambda images: traced(tf.constant(images, "float32")).numpy()
