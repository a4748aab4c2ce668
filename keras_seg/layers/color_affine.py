"""The first layer of a model with a pretrained backbone: pixels 0..255 to the values it was trained on."""

import functools
import operator

import keras
import numpy as np
from keras import ops

from keras_seg.utils.validation import bad_argument


@keras.saving.register_keras_serializable(package="keras_seg")
class ColorAffine(keras.layers.Layer):
    """Map the channels of every pixel by `matrix @ pixel + offset`, in float32.

    Every published preprocessing is of this form: a scale, a mean and deviation per channel, or a change from
    RGB to BGR (a permutation matrix). One layer serves them all. The numbers are weights that are not
    trained, so that a file of weights brings the preprocessing that it was trained with, whatever the model
    was built for.

    Args:
        matrix: nested list (C, C) of floats. Row i makes output channel i.
        offset: list (C,) of floats, added after.

    Call arguments:
        inputs: tensor (N, H, W, C), values 0..255, any dtype.

    Returns:
        Tensor (N, H, W, C), float32.
    """

    def __init__(self, matrix, offset, **kwargs):
        # float32 whatever the policy: bfloat16 would round pixel values before the mean is taken away.
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.matrix = [[float(value) for value in row] for row in matrix]
        self.offset = [float(value) for value in offset]
        if any(len(row) != len(self.matrix) for row in self.matrix):
            raise bad_argument("matrix", "square, (C, C)", matrix)
        if len(self.offset) != len(self.matrix):
            raise bad_argument("offset", f"of length {len(self.matrix)}, one per channel", offset)

    def build(self, input_shape):
        if input_shape[-1] != len(self.offset):
            expected = f"(N, H, W, {len(self.offset)}), a channel for each column of `matrix`"
            raise bad_argument("inputs.shape", expected, tuple(input_shape))
        self._matrix = self._constant("matrix", self.matrix)
        self._offset = self._constant("offset", self.offset)

    def _constant(self, name, values):
        values = np.array(values, "float32")
        return self.add_weight(
            values.shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(values, dtype),
            trainable=False,
            name=name,
        )

    def call(self, inputs):
        pixels = ops.cast(inputs, "float32")
        # Planes of scalars, since a product along an inner axis of three is slow; a matrix product may run in
        # bfloat16 or TF32 on an accelerator.
        planes, count = ops.unstack(pixels, axis=-1), len(self.offset)
        weights = ops.unstack(ops.reshape(self._matrix, (-1,)), count * count)
        channels = []
        for i, offset in enumerate(ops.unstack(ops.convert_to_tensor(self._offset), count)):
            products = (weights[count * i + j] * planes[j] for j in range(count))
            channels.append(functools.reduce(operator.add, products) + offset)
        return ops.stack(channels, axis=-1)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, dtype="float32")

    def get_config(self):
        return {**super().get_config(), "matrix": self.matrix, "offset": self.offset}
