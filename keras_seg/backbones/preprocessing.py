"""What the pretrained networks of this folder want of an image, and how a model says which it is.

The modes "torch" and "caffe" have the names that keras.applications gives them. The input of a model built
here is named after its mode, so that it is still known when the model itself is given as a backbone, was
renamed, or reloaded.
"""

import keras
import numpy as np

from keras_seg.backbones.input_channels import adapt_affine
from keras_seg.utils.validation import bad_argument

_TORCH_MEAN = np.array((0.485, 0.456, 0.406))
_TORCH_DEVIATION = np.array((0.229, 0.224, 0.225))
# Blue, green, red: the order in which OpenCV, and so Caffe, reads a file.
_CAFFE_MEAN = np.array((103.939, 116.779, 123.68))

_MODES = {
    # torchvision's checkpoints: RGB, (x / 255 - mean) / deviation.
    "torch": (np.diag(1 / (255 * _TORCH_DEVIATION)), -_TORCH_MEAN / _TORCH_DEVIATION),
    # The VGG authors' checkpoints, which keras.applications converted: BGR, x - mean.
    "caffe": (np.eye(3)[::-1], -_CAFFE_MEAN),
    # TensorFlow's EfficientNet-Lite, which keras.applications has not: (x - 127) / 128.
    "lite": (np.eye(3) / 128, np.full(3, -127 / 128)),
}


def mode_affine(mode, channels):
    """(matrix, offset) from RGB pixels 0..255 to what networks of a mode want.

    Args:
        mode: "torch", "caffe" or "lite".
        channels: int. Channels of the images; other than 3 by `input_channels.adapt_affine`.
    """
    return adapt_affine(*_MODES[mode], channels)


def images_input(input_shape, mode):
    """The symbolic input of a network that wants images in a mode.

    Args:
        input_shape: (height, width, channels), None for free sides.
        mode: "torch", "caffe" or "lite".

    Returns:
        KerasTensor (N, height, width, channels).
    """
    return keras.Input(check_input_shape(input_shape), name=f"images_in_{mode}_mode")


def features_input(shape, name):
    """The input of a part that takes features, in the dtype in which layers compute.

    With Keras's default, float32, 16-bit features would be cast to it on the way in, and then back.
    """
    return keras.Input(tuple(shape), dtype=keras.config.dtype_policy().compute_dtype, name=name)


def check_input_shape(input_shape):
    """Return `input_shape` as a tuple if it is (height, width, channels), of which sides may be None."""
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3 or input_shape[2] is None:
        raise bad_argument(
            "input_shape", "(height, width, channels), with None for a free height or width", input_shape
        )
    return tuple(input_shape)


def mode_of(model):
    """The mode of a model whose input comes from `images_input`, or None."""
    return next((mode for mode in _MODES if model.inputs[0].name == f"images_in_{mode}_mode"), None)
