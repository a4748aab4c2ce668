"""The network as one function from images to logits, probabilities and classes, for runtimes without strings.

What `serving_default` is in a SavedModel, with the same names, for ONNX Runtime, OpenVINO and LiteRT.
"""

import keras

from keras_seg.utils.validation import bad_argument, check_integer


class ClassMap(keras.layers.Layer):
    """Class ids (N, h, w), int32, of logits (N, h, w, K): the largest, or whether one is 0 or more.

    Only traced under TensorFlow, for export. `keras.ops.argmax` is not used: it tells -0.0 from 0.0 by bit
    operations, which OpenVINO and LiteRT do not have.
    """

    def call(self, logits):
        import tensorflow as tf

        if logits.shape[-1] == 1:
            return tf.cast(logits[..., 0] >= 0, "int32")
        return tf.argmax(logits, axis=-1, output_type=tf.int32)

    def compute_output_spec(self, logits):
        return keras.KerasTensor(logits.shape[:-1], "int32")


def array_network(model, input_size=None, batch_size=None):
    """A `keras.Model` of input `images` and outputs `logits`, `probabilities` and `classes`.

    Args:
        model: keras.Model, images (N, H, W, C) to logits (N, h, w, K).
        input_size: (height, width) in pixels that the input is fixed to, or None for the model's own.
        batch_size: int that N is fixed to, or None.
    """
    height, width = input_size or model.input_shape[1:3]
    shape = (batch_size, height, width, model.input_shape[-1])
    images = keras.Input(batch_shape=shape, dtype="float32", name="images")
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(model(images))
    kind = "sigmoid" if logits.shape[-1] == 1 else "softmax"
    probabilities = keras.layers.Activation(kind, dtype="float32", name="probabilities")(logits)
    classes = ClassMap(dtype="float32", name="classes")(logits)
    outputs = {"logits": logits, "probabilities": probabilities, "classes": classes}
    return keras.Model(images, outputs, name=model.name)


def check_input_size(model, input_size):
    """`input_size` as a pair of int that `model` takes, or None.

    Raises:
        ValueError, TypeError: it is no pair, or the model does not take it.
    """
    if input_size is None:
        return None
    if not isinstance(input_size, (tuple, list)) or len(input_size) != 2:
        raise bad_argument("input_size", "(height, width) in pixels", input_size)
    size = tuple(check_integer("input_size", side) for side in input_size)
    fixed = model.input_shape[1:3]
    if any(own not in (None, side) for own, side in zip(fixed, size, strict=True)):
        raise bad_argument("input_size", f"the model's own, {fixed}", input_size, "Leave it out.")
    try:
        height, width = model.compute_output_shape((1, *size, model.input_shape[-1]))[1:3]
    # What a layer raises for a shape that it cannot take is its own choice.
    except Exception as error:
        raise bad_argument("input_size", "a size that the model takes", input_size) from error
    if not (height and width and 0 < height <= size[0] and 0 < width <= size[1]):
        raise bad_argument("input_size", "a size that the model takes", input_size)
    return size
