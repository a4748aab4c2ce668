"""Several networks' scores of the same pixels as one: the last layers of an ensemble."""

import keras
from keras import ops

from keras_seg.utils.validation import bad_argument


class _MergeScores(keras.layers.Layer):
    """Tensors of one shape in, one of that shape out, float32 under any policy."""

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def compute_output_shape(self, input_shape):
        shapes = {tuple(shape) for shape in input_shape}
        if len({(len(shape), shape[-1]) for shape in shapes}) > 1:
            raise bad_argument("inputs", "scores of the same shape", sorted(shapes, key=str))
        # What any of them knows.
        return tuple(
            next((side for side in sides if side is not None), None) for sides in zip(*shapes, strict=True)
        )


@keras.saving.register_keras_serializable(package="keras_seg")
class MeanOfProbabilities(_MergeScores):
    """Logits whose softmax is the mean of the softmaxes of several logits.

    Reference: Noh, Hong, Han 2015, "Learning deconvolution network for semantic segmentation", section 5.1.

    Call arguments:
        inputs: list of float tensors (..., K), logits.

    Returns:
        Tensor (..., K), float32: the logarithms of the mean probabilities, so their softmax is those means.

    Example:
        >>> MeanOfProbabilities()([np.log([[0.2, 0.8]]), np.log([[0.6, 0.4]])])
        [[log 0.4, log 0.6]]
    """

    def call(self, inputs):
        logits = [ops.cast(scores, self.compute_dtype) for scores in inputs]
        # Not `log_softmax`: OpenVINO 2026.4 has wrong values for it behind some networks.
        logs = ops.stack([scores - ops.logsumexp(scores, axis=-1, keepdims=True) for scores in logits])
        return ops.logsumexp(logs, axis=0) - ops.log(ops.cast(len(inputs), self.compute_dtype))


@keras.saving.register_keras_serializable(package="keras_seg")
class ProductOfScores(_MergeScores):
    """The product of several scores, those below 0 taken as 0: what DeconvNet's released code does.

    The largest of them names the class, as with the mean of probabilities, but its softmax is no calibrated
    probability.

    Reference: generate_EDeconvNet_CRF_results.m of github.com/HyeonwooNoh/DeconvNet.

    Call arguments:
        inputs: list of float tensors (..., K), logits.

    Returns:
        Tensor (..., K), float32, at least 0.
    """

    def call(self, inputs):
        product = ops.relu(ops.cast(inputs[0], self.compute_dtype))
        for scores in inputs[1:]:
            product = product * ops.relu(ops.cast(scores, self.compute_dtype))
        return product
