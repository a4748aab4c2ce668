"""Products of 16-bit numbers in float32, on TensorFlow."""

import math

import tensorflow as tf

from keras_seg.ops.fast.updates_tensorflow import converted_after, used_together

_STEP = 1024  # of the axis that a matrix product sums; 4 MB for each thousand rows and units


def in_float32(product, x, kernel):
    """A product of 16-bit numbers by float32's kernels, rounded once, at its end; its gradients likewise.

    For the gradients the 16-bit tensors are kept and widened again: half the memory of float32's.

    Args:
        product: callable from two tensors to one, linear in each.
        x: 16-bit tensor.
        kernel: tensor, or a variable that becomes one of the dtype of `x`.

    Returns:
        Tensor of the dtype of `x`.
    """

    x, kernel = used_together(x, converted_after(x, kernel))
    return _rounded(product, lambda x, kernel: product(_wide(x), _wide(kernel)), x, kernel)


def matmul_in_float32(x, kernel):
    """`in_float32` of a matrix product, in steps over the axis that is summed.

    Float32's copies of both would be the largest of a detector: 100 MB for the first layer on 1000 boxes.

    Args:
        x: 16-bit tensor (R, K).
        kernel: tensor (..., D) of K D numbers, or a variable that becomes one of the dtype of `x`.

    Returns:
        Tensor (R, D) of the dtype of `x`.
    """
    length, units = math.prod(kernel.shape[:-1]), kernel.shape[-1]

    def product(x, weights):
        def add(start, total):
            here = slice(start, start + _STEP)
            return start + _STEP, total + tf.matmul(_wide(x[:, here]), _wide(weights[here]))

        nothing = tf.raw_ops.Empty(shape=(tf.shape(x)[0], units), dtype=tf.float32, init=True)
        nothing = tf.ensure_shape(nothing, (x.shape[0], units))
        return tf.while_loop(lambda start, _: start < length, add, (0, nothing), parallel_iterations=1)[1]

    weights = tf.reshape(converted_after(x, kernel), (length, units))
    return _rounded(tf.matmul, product, *used_together(x, weights))


def _rounded(product, in_float32, x, kernel):
    """`in_float32(x, kernel)`, rounded, with the gradients of `product`: the same of float32 tensors."""

    @tf.custom_gradient
    def rounded(x, kernel):
        def gradient(upstream):
            # Without this order the graph optimizer takes the float32 tensors of the way forward, and so
            # keeps them until now.
            with tf.control_dependencies([upstream]):
                wide = [_wide(tf.identity(tensor)) for tensor in (x, kernel)]
            with tf.GradientTape() as tape:
                tape.watch(wide)
                result = product(*wide)
            return [tf.cast(one, x.dtype) for one in tape.gradient(result, wide, _wide(upstream))]

        return tf.cast(in_float32(x, kernel), x.dtype), gradient

    return rounded(x, kernel)


def _wide(tensor):
    return tf.cast(tensor, "float32")
