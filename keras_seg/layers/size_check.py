"""Refuses images of a height or width that a network cannot take, and names the nearest that it can."""

import keras

from keras_seg.utils.validation import check_integer


def nearest_sizes(size, multiple, remainder, minimum):
    """The allowed sizes next to `size`: (largest not above it or None, smallest not below it).

    Allowed are the sizes `multiple * m + remainder` of at least `minimum`, m an integer.

    Example:
        >>> nearest_sizes(512, 16, 124, 188)
        (508, 524)
    """
    if size <= minimum:
        return (minimum if size == minimum else None), minimum
    below = size - (size - remainder) % multiple
    return below, below if below == size else below + multiple


@keras.saving.register_keras_serializable(package="keras_seg")
class SizeCheck(keras.layers.Layer):
    """Pass images on unchanged if height and width are `multiple * m + remainder`, else raise.

    Sizes are checked wherever they are known: when the model is built, called eagerly, or traced with a
    static shape. A graph traced with free sizes is not checked.

    Args:
        multiple: int, pixels. Step between the sizes that the network can take.
        remainder: int, pixels. Offset of those sizes.
        minimum: int, pixels. The smallest of them.
        advice: str. What the user can do besides using another size; ends the message.

    Call arguments:
        inputs: tensor (N, H, W, C).

    Returns:
        The same tensor.

    Raises:
        ValueError: height or width is not one of the sizes; names the nearest ones.
    """

    def __init__(self, multiple, remainder=0, minimum=1, advice="", **kwargs):
        super().__init__(**kwargs)
        self.multiple = check_integer("multiple", multiple)
        self.remainder = check_integer("remainder", remainder, minimum=0)
        self.minimum = check_integer("minimum", minimum)
        self.advice = advice

    def call(self, inputs):
        self._check(inputs.shape)
        return inputs

    def compute_output_shape(self, input_shape):
        self._check(input_shape)
        return input_shape

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=inputs.dtype)

    def _check(self, shape):
        for side, size in zip(("height", "width"), shape[1:3], strict=True):
            if size is None:
                continue
            below, above = nearest_sizes(size, self.multiple, self.remainder, self.minimum)
            if size not in (below, above):
                nearest = f"{above}" if below is None else f"{below} and {above}"
                step = f" {self.multiple}m + {self.remainder}" if self.multiple > 1 else ""
                raise ValueError(
                    f"Images of {side} {size} do not fit this network: it takes sizes{step} of at least "
                    f"{self.minimum}. Nearest: {nearest}. {self.advice}".rstrip()
                )

    def get_config(self):
        return {
            **super().get_config(),
            "multiple": self.multiple,
            "remainder": self.remainder,
            "minimum": self.minimum,
            "advice": self.advice,
        }
