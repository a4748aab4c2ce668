"""The networks of keras.applications as encoders: by name, with their own weights and preprocessing."""

import keras
import numpy as np

from keras_seg.utils.validation import bad_argument


def application_names():
    """Names of the networks in keras.applications, spelled as there: "ResNet50", "EfficientNetB0", ..."""
    return tuple(sorted(_builders()))


def build_application(name, input_shape, weights=None):
    """Build `keras.applications.NAME` without its top.

    Args:
        name: str, one of `application_names()`.
        input_shape: (height, width, channels), None for free sides.
        weights: None or "imagenet": the network's own files, found and loaded by Keras.

    Returns:
        keras.Model, to its last feature map.

    Raises:
        ValueError: ImageNet weights with other than three channels.
    """
    if weights == "imagenet" and input_shape[2] != 3:
        raise bad_argument("input_shape", "of 3 channels with ImageNet weights", tuple(input_shape))
    return _builders()[name](include_top=False, weights=weights, input_shape=tuple(input_shape))


def application_affine(name, channels):
    """The preprocessing of `keras.applications.NAME` as (matrix, offset), or None if it is the identity.

    It is measured, not typed in: `preprocess_input` is affine in every network, so its answers to black and
    to each pure channel give the matrix and the offset.

    Args:
        name: str, one of `application_names()`.
        channels: int. Other than 3, for which no network has a rule, gives [-1, 1].
    """
    if channels != 3:
        return np.eye(channels) / 127.5, -np.ones(channels)
    preprocess = _module_of(name).preprocess_input
    # Rows black, red, green, blue, at full intensity so that rounding is relative to 255.
    pixels = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)]).reshape(1, 4, 1, 3)
    answers = np.asarray(preprocess(pixels.astype("float64"), data_format="channels_last")).reshape(4, 3)
    offset = answers[0]
    matrix = ((answers[1:] - offset) / 255).T
    if np.allclose(matrix, np.eye(3)) and np.allclose(offset, 0):
        return None
    return matrix, offset


def _builders():
    """{name: builder} of every network."""
    return {
        name: builder
        for name, builder in vars(keras.applications).items()
        if name[:1].isupper() and callable(builder)
    }


def _module_of(name):
    """The public module of a network, which holds its `preprocess_input`."""
    return getattr(keras.applications, _builders()[name].__module__.rpartition(".")[2])
