"""Convolution, normalization, activation: the block that every model here repeats."""

from keras import initializers, layers

from keras_seg.layers.batch_normalization import BatchNormalization
from keras_seg.layers.winograd_conv2d import conv2d
from keras_seg.utils.validation import check_choice

NORMALIZATIONS = (None, "batch", "group", "instance", "layer")


def he_normal():
    """A Gaussian of deviation sqrt(2 / fan-in), not truncated (He et al. 2015; U-Net, section 3)."""
    return initializers.VarianceScaling(2.0, mode="fan_in", distribution="untruncated_normal")


def normalize(x, kind, name):
    """Apply one of `NORMALIZATIONS` over the channels of (N, H, W, C), or nothing for None.

    "group" takes 32 groups (Wu and He 2018), or fewer where the channels do not divide.
    """
    check_choice("normalization", kind, NORMALIZATIONS)
    if kind is None:
        return x
    if kind == "batch":
        return BatchNormalization(name=name)(x)
    if kind == "group":
        return group_normalization(x.shape[-1], name=name)(x)
    if kind == "instance":
        return layers.GroupNormalization(-1, name=name)(x)
    return layers.LayerNormalization(name=name)(x)


def group_normalization(channels, **options):
    """Group normalization of 32 groups, or fewer where the channels do not divide; a layer, not yet built."""
    groups = next(groups for groups in (32, 16, 8, 4, 2, 1) if channels % groups == 0)
    return layers.GroupNormalization(groups, **options)


def conv_block(x, filters, name, *, kernel_size=3, padding="same", normalization=None, repeats=2):
    """`repeats` times convolution, normalization and ReLU.

    Args:
        x: tensor (N, H, W, C).
        filters: int. Output channels of each convolution.
        name: str. Layers are `{name}_conv{i}`, `{name}_norm{i}` and `{name}_relu{i}`, i from 1.
        kernel_size: int, odd, pixels.
        padding: "same" or "valid".
        normalization: one of `NORMALIZATIONS`. With one, the convolution has no bias: the normalization's
            shift takes its place.

    Returns:
        Tensor (N, h, w, filters); with "valid" padding each convolution takes kernel_size - 1 off each side.
    """
    for i in range(1, repeats + 1):
        x = conv2d(
            filters,
            kernel_size,
            padding=padding,
            use_bias=normalization is None,
            kernel_initializer=he_normal(),
            data_format="channels_last",
            name=f"{name}_conv{i}",
        )(x)
        x = normalize(x, normalization, f"{name}_norm{i}")
        x = layers.ReLU(name=f"{name}_relu{i}")(x)
    return x
