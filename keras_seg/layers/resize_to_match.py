"""Bilinear resize of one map to another's height and width, with half-pixel centres."""

import keras
from keras import ops

from keras_seg.ops.resizing import resize_bilinear


@keras.saving.register_keras_serializable(package="keras_seg")
class ResizeToMatch(keras.layers.Layer):
    """Resize the first map to the height and width of the second, bilinearly.

    For backbones whose maps are not exact halves of one another (unpadded convolutions, as in Inception), so
    that a doubled map and its skip differ by more than a rounding. Half-pixel centres: both maps are taken to
    cover the same field. The arithmetic is float32 whatever the policy: sample positions need it.

    Call arguments:
        inputs: pair of tensors (N, H, W, C) and (N, h, w, C').

    Returns:
        Tensor (N, h, w, C) in the layer's compute dtype.
    """

    def call(self, inputs):
        x, reference = inputs
        # Sizes that are multiples of the network's stride match already; the resize would cost its time.
        if None not in x.shape[1:3] and tuple(x.shape[1:3]) == tuple(reference.shape[1:3]):
            return ops.cast(x, self.compute_dtype)
        size = ops.shape(reference)[1:3]
        resized = resize_bilinear(ops.cast(x, "float32"), size)
        return ops.cast(resized, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        shape, reference = input_shape
        return (shape[0], reference[1], reference[2], shape[3])

    def compute_output_spec(self, inputs):
        shape = self.compute_output_shape([tensor.shape for tensor in inputs])
        return keras.KerasTensor(shape, dtype=self.compute_dtype)
