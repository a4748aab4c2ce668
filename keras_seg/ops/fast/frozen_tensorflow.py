"""A model's weights as constants of a TensorFlow graph, which prepares constants only once."""

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def frozen_function(call, input_shape):
    """A function with the weights as they are now inside its graph.

    oneDNN lays a constant kernel out for its convolutions once, and a cast to bfloat16 is folded into it; of
    a variable both are done at every call. Costs a copy of the weights, and another of those laid out anew.

    Args:
        call: callable from a tensor to a tensor, as a model in inference.
        input_shape: shape of the tensor, None for free sides.

    Returns:
        Callable from an array to a NumPy array.
    """
    traced = tf.function(call, autograph=False, jit_compile=False)
    concrete = traced.get_concrete_function(tf.TensorSpec(input_shape, "float32"))
    frozen = convert_variables_to_constants_v2(concrete)
    return lambda images: frozen(tf.constant(images, "float32"))[0].numpy()
