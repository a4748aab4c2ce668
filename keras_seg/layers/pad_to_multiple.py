"""Mirrors an image at its bottom and right until the network's stride divides its sides."""

import math

import keras
from keras import ops

from keras_seg.utils.validation import check_integer


@keras.saving.register_keras_serializable(package="keras_seg")
class PadToMultiple(keras.layers.Layer):
    """Pad height and width at their ends to the next multiples of `multiple`, by the mirrored image.

    A strided convolution with "same" padding takes its odd pixel from the start of a map with odd sides and
    from the end of one with even sides. So where the stride does not divide an image, each level of a
    backbone may lie half a stride beside where it lay in training, up to 16 pixels at stride 32. On sides
    that the stride divides, every level lies where it always does; `CropToMatch` takes the surplus off again.

    Costs one copy of the image, none where the sides are known to fit.

    Args:
        multiple: int. The network's total stride.

    Call arguments:
        inputs: tensor (N, H, W, C), any dtype; H and W may be unknown until the graph runs.

    Returns:
        Tensor (N, H', W', C), the input's dtype, H' and W' the next multiples. The image is at the start;
        row H + i is row H - 1 - i, and where more rows are wanted than there are, back and forth.

    Example:
        >>> PadToMultiple(32).compute_output_shape((1, 360, 480, 3))
        (1, 384, 480, 3)
    """

    def __init__(self, multiple, **kwargs):
        super().__init__(**kwargs)
        self.multiple = check_integer("multiple", multiple)

    def call(self, inputs):
        known, sides = inputs.shape[1:3], ops.shape(inputs)[1:3]
        for axis, side in ((1, sides[0]), (2, sides[1])):
            if known[axis - 1] is None or known[axis - 1] % self.multiple:
                inputs = ops.take(inputs, self._mirrored(side), axis=axis)
        return inputs

    def _mirrored(self, side):
        """Row numbers 0, 1, ..., side - 1, side - 1, ..., 1, 0, 0, 1, ... up to the next multiple."""
        padded = (side + self.multiple - 1) // self.multiple * self.multiple
        places = ops.arange(padded, dtype="int32") % (2 * side)
        return ops.minimum(places, 2 * side - 1 - places)

    def compute_output_shape(self, input_shape):
        sides = (None if side is None else self._next(side) for side in input_shape[1:3])
        return (input_shape[0], *sides, input_shape[3])

    def _next(self, side):
        return math.ceil(side / self.multiple) * self.multiple

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "multiple": self.multiple}
