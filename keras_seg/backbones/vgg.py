"""VGG16, plain or batch-normalized: the trunk of FCN and DeconvNet, and its classifier as convolutions.

K. Simonyan and A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
https://arxiv.org/abs/1409.1556, table 1, configuration D. Layers have the authors' names. The weights of
torchvision and of keras.applications both fit; they differ in the preprocessing.
"""

import math

import keras
from keras import layers

from keras_seg.backbones.explicit_padding import at_least, batch_norm, conv, dense_scores, refuse_weights
from keras_seg.backbones.input_channels import adapt_first_kernel
from keras_seg.backbones.preprocessing import images_input, mode_affine
from keras_seg.layers.fully_connected import FullyConnectedConv2D
from keras_seg.utils.validation import bad_argument, check_choice, check_integer

# (convolutions, channels) of each block.
_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
# fc6's window on pool5.
_FC_WINDOW = 7


def vgg16(
    input_shape=(None, None, 3),
    *,
    include_top=False,
    num_classes=1000,
    weights=None,
    first_padding=1,
    name="vgg16",
):
    """Build VGG16: its trunk to `pool5`, or the dense classifier.

    Images are preprocessed already, see `preprocessing`. Maps whose size is odd are halved with rounding up,
    as in Caffe, where torchvision rounds down: the same for sizes that are multiples of 32.

    Args:
        input_shape: (height, width, channels), None for free sides.
        include_top: bool. True: fc6, fc7 and fc8 as convolutions, a score for every window of 224 x 224, with
            32 pixels from window to window. Zeros stand around the image only: inside it, a window's score
            sees its surroundings where the classifier on a crop would see zeros. torchvision's adaptive
            pooling before them does nothing at 224 x 224, and has no place here.
        num_classes: int. Channels of the score map.
        weights: None, or "imagenet": the file of keras.applications, found and loaded by Keras, with
            preprocessing of its own. With other than three channels the first kernel is adapted.
        first_padding: int. Zeros around the image before conv1_1. FCN's authors take 100, so that a score map
            padded "valid" reaches beyond the image at any size.
        name: str. Name of the model.

    Returns:
        keras.Model: (N, H, W, C) to (N, ceil(H/32), ceil(W/32), 512), or with `include_top` to logits
        (N, ceil(H/32) - 6, ceil(W/32) - 6, num_classes), float32: 1 x 1 for an image of 224 x 224.

    Raises:
        ValueError: weights that don't exist, or ImageNet weights of other than 1000 classes; or, with
            `include_top`, an image of less than 193 pixels a side.

    Example:
        >>> vgg16(include_top=True).compute_output_shape((1, 224, 256, 3))
        (1, 1, 2, 1000)
    """
    check_choice("weights", weights, (None, "imagenet"))
    if weights == "imagenet" and include_top and num_classes != 1000:
        raise bad_argument("num_classes", "1000 with ImageNet weights", num_classes)
    images = images_input(input_shape, _mode(weights))
    first_padding = check_integer("first_padding", first_padding, minimum=0)
    x = at_least(images, _smallest_side(first_padding), name) if include_top else images
    x = features(x, first_padding=first_padding)
    if include_top:
        x = dense_scores(classifier_features(x), num_classes, "fc8")
    model = keras.Model(images, x, name=name)
    if weights == "imagenet":
        from_keras_vgg16(model, keras.applications.VGG16(include_top=include_top, weights="imagenet"))
    return model


def vgg16_bn(
    input_shape=(None, None, 3), *, include_top=False, num_classes=1000, weights=None, name="vgg16_bn"
):
    """Build torchvision's VGG16 with batch normalization after each convolution of the trunk.

    Args and Returns: as `vgg16`. `weights` is None, for keras.applications has no such file; torchvision's
    come by `keras_seg.weights.from_torchvision("vgg16_bn", checkpoint)`.
    """
    refuse_weights(weights, "vgg16_bn")
    images = images_input(input_shape, "torch")
    x = at_least(images, _smallest_side(), name) if include_top else images
    x = features(x, normalize=True)
    if include_top:
        x = dense_scores(classifier_features(x), num_classes, "fc8")
    return keras.Model(images, x, name=name)


def features(x, *, normalize=False, first_padding=1, width=1.0, shift=0.0, pool=None):
    """The 13 convolutions and 5 pools, conv1_1 to pool5.

    Args:
        x: tensor (N, H, W, C), preprocessed images.
        normalize: bool. Batch normalization, `bn1_1` and so on, after each convolution.
        first_padding: int. Zeros around the image before conv1_1.
        width: float. Channels as a multiple of the published ones, see `scaled`.
        shift: float. Where the batch normalizations' shifts start.
        pool: None, or a callable from a tensor and the block's number to the pooled tensor. None: maximum of
            2 x 2, sizes rounded up and padded at the end, which is Caffe's rule.

    Returns:
        Tensor (N, ceil(H/32), ceil(W/32), 512).
    """
    for block, (convolutions, filters) in enumerate(_BLOCKS, start=1):
        for i in range(1, convolutions + 1):
            pad = first_padding if (block, i) == (1, 1) else 1
            x = conv(x, scaled(filters, width), 3, f"conv{block}_{i}", pad=pad)
            if normalize:
                x = batch_norm(x, f"bn{block}_{i}", 1e-5, shift)
            x = layers.ReLU(name=f"relu{block}_{i}")(x)
        x = pool(x, block) if pool else _pool(x, block)
    return x


def scaled(channels, width):
    """A multiple of a published number of channels, rounded up to one of 8, which matrix units like."""
    return -(-math.ceil(channels * width) // 8) * 8


def preprocessing(channels, weights=None):
    """(matrix, offset) from pixels 0..255 to what the weights want.

    keras.applications converted the authors' file: BGR, less the mean. torchvision trained its own: RGB,
    less the mean, by the deviation.
    """
    return mode_affine(_mode(weights), channels)


def classifier_features(x, padding="valid", dropout=0.5):
    """fc6 and fc7 as convolutions, each with ReLU and dropout: the map that fc8 makes scores of.

    Args:
        x: tensor (N, H, W, C), pool5.
        padding: "valid", every fc6 window lies within the map, or "same", the size is kept.
        dropout: float, 0 to 1.

    Returns:
        Tensor (N, H - 6, W - 6, 4096), or (N, H, W, 4096) with "same".
    """
    check_choice("padding", padding, ("valid", "same"))
    for index, kernel_size in ((6, _FC_WINDOW), (7, 1)):
        pad = kernel_size // 2 if padding == "same" else 0
        x = conv(x, 4096, kernel_size, f"fc{index}", pad=pad, kind=FullyConnectedConv2D)
        x = layers.ReLU(name=f"relu{index}")(x)
        x = layers.Dropout(dropout, name=f"drop{index}")(x)
    return x


def from_keras_vgg16(model, source):
    """Copy the weights of keras.applications' VGG16 into our layers of the same meaning.

    The dense layers become convolutions: `fc1`, (7 * 7 * 512, 4096), is a 7 x 7 kernel laid out flat.

    Args:
        model: keras.Model with layers named as in `vgg16`, of its own or of a network around it: those of the
            trunk, and any of fc6, fc7 and fc8. Changed in place.
        source: keras.Model, `keras.applications.VGG16`; with its top if the model has an fc layer.

    Raises:
        ValueError: the model has no such layer, or the source lacks one that the model has.
    """
    names = {f"conv{block}_{i}": f"block{block}_conv{i}" for block, i in _convolutions()}
    names |= {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}
    ours = [layer for layer in model.layers if layer.name in names]
    if not ours:
        raise bad_argument("model", "a model with the layers of vgg16: conv1_1, ..., fc8", model.name)
    theirs = {layer.name: layer for layer in source.layers}
    for layer in ours:
        if names[layer.name] not in theirs:
            raise bad_argument(
                "source",
                f"a VGG16 with a layer {names[layer.name]!r}",
                source.name,
                "Build it with include_top=True.",
            )
        kernel, bias = theirs[names[layer.name]].get_weights()
        if layer.name == "conv1_1":
            kernel = adapt_first_kernel(kernel, layer.kernel.shape[2])
        layer.set_weights([kernel.reshape(layer.kernel.shape), bias])


def _smallest_side(first_padding=1):
    """The image's side from which on pool5 has a window of fc6."""
    return max(1, 32 * (_FC_WINDOW - 1) + 1 - 2 * (first_padding - 1))


def _pool(x, block):
    return layers.MaxPooling2D(2, padding="same", data_format="channels_last", name=f"pool{block}")(x)


def _convolutions():
    return [(block, i) for block, (count, _) in enumerate(_BLOCKS, start=1) for i in range(1, count + 1)]


def _mode(weights):
    return "caffe" if weights == "imagenet" else "torch"
