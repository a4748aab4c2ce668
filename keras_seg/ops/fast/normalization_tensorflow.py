"""Batch normalization by TensorFlow's fused kernel, for graphs that XLA does not compile."""

import contextlib

import tensorflow as tf

_FOLDING = False


@contextlib.contextmanager
def folding():
    """What is traced in this context has constant weights: given statistics become a scale and a shift.

    TensorFlow multiplies such a scale into the constant kernel of the convolution before it, and has oneDNN
    add the shift, a shortcut and a ReLU behind it while it writes the convolution's output.
    """
    global _FOLDING
    before, _FOLDING = _FOLDING, True
    try:
        yield
    finally:
        _FOLDING = before


def batch_normalization(x, gamma, beta, mean, variance, epsilon, by_batch):
    """Normalize a map by its own statistics or by given ones.

    Args:
        x: (N, H, W, C), float32, bfloat16 or float16.
        gamma, beta, mean, variance: float32 (C,).
        epsilon: float.
        by_batch: bool. True takes mean and variance of `x` in place of those given.

    Returns:
        The map, and the mean and the variance (divided by the count, not by one less) that it was
        normalized by.
    """
    if _FOLDING and not by_batch:
        scale = gamma * tf.math.rsqrt(variance + epsilon)
        scaled = x * tf.cast(scale, x.dtype)
        return tf.nn.bias_add(scaled, tf.cast(beta - mean * scale, x.dtype)), mean, variance
    statistics = [tf.zeros((0,))] * 2 if by_batch else [mean, variance]
    result = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=gamma,
        offset=beta,
        mean=statistics[0],
        variance=statistics[1],
        epsilon=epsilon,
        is_training=by_batch,
    )
    if not by_batch:
        return result.y, mean, variance
    # The kernel's variance is for moving averages, with Bessel's correction; Keras's has none.
    count = tf.cast(tf.reduce_prod(tf.shape(x)[:3]), "float32")
    return result.y, result.batch_mean, result.batch_variance * tf.maximum(count - 1, 1) / count


def frozen_batch_normalization(x, gamma, beta, mean, variance, epsilon):
    """`batch_normalization` by given statistics, whose gradient goes to the map alone.

    The kernel's own gradient goes to all arguments and so keeps `x` until then, a third of what a network of
    convolution, normalization and ReLU keeps.
    """

    @tf.custom_gradient
    def normalize(x):
        def gradient(upstream):
            return upstream * tf.cast(gamma * tf.math.rsqrt(variance + epsilon), upstream.dtype)

        return batch_normalization(x, gamma, beta, mean, variance, epsilon, False)[0], gradient

    return normalize(x)
