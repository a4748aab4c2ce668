"""The networks of keras.applications as encoders: by name, with their own weights and preprocessing."""

import re
import warnings

import keras
import numpy as np

from keras_seg.backbones.input_channels import adapt_affine, adapt_first_kernel
from keras_seg.utils.validation import bad_argument


def application_names():
    """Names of the networks in keras.applications, spelled as there: "ResNet50", "EfficientNetB0", ..."""
    return tuple(sorted(_builders()))


def application_of(model_name):
    """The network of keras.applications that gives its models this name, or None.

    Args:
        model_name: str, as "resnet50", "inception_v3", "mobilenetv2_1.00_224" or "efficientnetv2-b0".
    """
    # MobileNet and MobileNetV2 append their width and the size of their images.
    plain = re.sub(r"_\d\.\d+_(\d+|None)$", "", model_name)
    plain = re.sub(r"[-_]", "", plain).lower()
    return next((name for name in application_names() if name.lower() == plain), None)


def build_application(name, input_shape, weights=None):
    """Build `keras.applications.NAME` without its top.

    Args:
        name: str, one of `application_names()`.
        input_shape: (height, width, channels), None for free sides.
        weights: None or "imagenet": the network's own files, found and loaded by Keras. With other than three
            channels the first kernel is adapted.

    Returns:
        keras.Model, to its last feature map.

    Raises:
        ValueError: ImageNet weights with other than three channels, for a network that normalizes three
            channels inside.
    """
    if weights == "imagenet" and input_shape[2] != 3:
        return _with_other_channels(name, tuple(input_shape))
    return _builders()[name](include_top=False, weights=weights, input_shape=tuple(input_shape))


def application_affine(name, channels):
    """The preprocessing of `keras.applications.NAME` as (matrix, offset), or None if it is the identity.

    It is measured, not typed in: `preprocess_input` is affine in every network, so its answers to black and
    to each pure channel give the matrix and the offset.

    Args:
        name: str, one of `application_names()`.
        channels: int. Other than 3, for which no network has a rule, by `input_channels.adapt_affine`.
    """
    preprocess = _module_of(name).preprocess_input
    # Rows black, red, green, blue, at full intensity so that rounding is relative to 255.
    pixels = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)]).reshape(1, 4, 1, 3)
    answers = np.asarray(preprocess(pixels.astype("float64"), data_format="channels_last")).reshape(4, 3)
    offset = answers[0]
    matrix = ((answers[1:] - offset) / 255).T
    if np.allclose(matrix, np.eye(3)) and np.allclose(offset, 0):
        return None
    return adapt_affine(matrix, offset, channels)


def _with_other_channels(name, input_shape):
    """The network for other than three channels, with the ImageNet weights of the one for three."""
    build = _builders()[name]
    source = build(include_top=False, weights="imagenet", input_shape=(*input_shape[:2], 3))
    # It has a mean per channel, and EfficientNetV2 leaves it out without a word where there are not three.
    if any(isinstance(layer, keras.layers.Normalization) for layer in source.layers):
        raise bad_argument(
            "input_shape",
            f"of 3 channels with ImageNet weights of {name}, which normalizes its images inside",
            input_shape,
        )
    with warnings.catch_warnings():
        # That other channels are unusual is what is being taken care of.
        warnings.filterwarnings("ignore", "This model usually expects", UserWarning)
        model = build(include_top=False, weights=None, input_shape=input_shape)
    # The two differ in the shape of one weight, the first kernel.
    values = [
        value if value.shape == tuple(weight.shape) else adapt_first_kernel(value, input_shape[2])
        for value, weight in zip(source.get_weights(), model.weights, strict=True)
    ]
    model.set_weights(values)
    return model


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
