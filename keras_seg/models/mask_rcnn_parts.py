"""The networks that Mask R-CNN is made of: feature maps, region proposals, and the heads on boxes.

K. He, G. Gkioxari, P. Dollár and R. Girshick, "Mask R-CNN", 2017, https://arxiv.org/abs/1703.06870, figure 4.
Layers are named by their paths in torchvision's `maskrcnn_resnet50_fpn`, with "_" for ".".
"""

import keras
from keras import initializers, layers

from keras_seg.backbones import resnet
from keras_seg.backbones.explicit_padding import batch_norm
from keras_seg.backbones.preprocessing import features_input
from keras_seg.backbones.select import select_backbone
from keras_seg.layers.conv_block import he_normal, normalize
from keras_seg.layers.feature_pyramid import FeaturePyramid
from keras_seg.layers.fully_connected import FullyConnectedConv2D
from keras_seg.layers.winograd_conv2d import WinogradConv2D, conv2d
from keras_seg.utils.validation import bad_argument

_RESNETS = {name: getattr(resnet, name) for name in ("resnet18", "resnet34", "resnet50", "resnet101")}
# The levels that the heads read; the paper's C2 to C5.
_LEVELS = ("P2", "P3", "P4", "P5")
# Side of the features of a box for the box head, and for the mask head, in bins.
BOX_SIZE, MASK_SIZE = 7, 14


def pyramid_features(backbone, input_shape, weights, normalization, filters, neck_normalization, rescale):
    """Images to maps of stride 4 to 64, all of `filters` channels.

    Args:
        backbone: a name or a keras.Model, see `select_backbone`.
        input_shape: (height, width, channels) in pixels.
        weights: None or "imagenet".
        normalization: "batch", "frozen_batch" or "group", of the backbone.
        filters: int. Channels of the pyramid.
        neck_normalization: None, "batch" or "group", of the pyramid.
        rescale: bool. Images are 0..255 and are scaled in the network.

    Returns:
        keras.Model: (N, H, W, C) to {"P2": ..., "P6": ...}.
    """
    encoder = _encoder(backbone, input_shape, weights, normalization)
    levels = [level for level in _LEVELS if level in encoder.model.output]
    if levels != list(_LEVELS[: len(levels)]) or not levels:
        found = ", ".join(sorted(encoder.model.output))
        raise bad_argument(
            "backbone", "a network with maps of stride 4, 8, ...", encoder.model.name, f"It has {found}."
        )
    images = keras.Input(input_shape, name="images")
    maps = encoder.model(encoder.preprocess(images) if rescale else images)
    pyramid = FeaturePyramid(filters, normalization=neck_normalization, name="fpn")
    return keras.Model(images, pyramid({level: maps[level] for level in levels}), name="features")


def single_features(backbone, input_shape, weights, normalization, rescale):
    """Images to the one map of stride 16: {"P4": (N, H / 16, W / 16, C)}, as `pyramid_features`."""
    encoder = _encoder(backbone, input_shape, weights, normalization)
    images = keras.Input(input_shape, name="images")
    trunk = keras.Model(encoder.model.inputs[0], encoder.model.output["P4"], name=encoder.model.name)
    maps = trunk(encoder.preprocess(images) if rescale else images)
    return keras.Model(images, {"P4": maps}, name="features")


def shared_stage(backbone, channels, normalization):
    """The last stage of a ResNet, which the heads on C4 share: (B, 7, 7, C) to (B, 7, 7, 4C)."""
    kind = "group" if normalization == "group" else "batch"
    stage = resnet.last_stage(backbone, (BOX_SIZE, BOX_SIZE, channels), kind)
    _freeze(stage, normalization)
    return stage


def proposal_head(channels, anchors_per_pixel, convolutions):
    """The region proposal network on a map: (B, h, w, C) to logits (B, h, w, A), deltas (B, h, w, 4A)."""
    x = features = features_input((None, None, channels), "map")
    for index in range(convolutions):
        x = _convolution(x, channels, 3, f"conv_{index}_0", _small(0.01))
        x = layers.ReLU(name=f"conv_{index}_1")(x)
    logits = _convolution(x, anchors_per_pixel, 1, "cls_logits", _small(0.01), "float32")
    deltas = _convolution(x, 4 * anchors_per_pixel, 1, "bbox_pred", _small(0.01), "float32")
    return keras.Model(features, [logits, deltas], name="rpn_head")


def fully_connected_trunk(channels, units):
    """The paper's box head: (B, 7, 7, C) to (B, units) by two fully connected layers."""
    x = features = features_input((BOX_SIZE, BOX_SIZE, channels), "box_features")
    x = _flattened(x, units, "fc6")
    x = layers.ReLU(name="fc6_relu")(x)
    x = layers.Dense(units, kernel_initializer=_scaled(), name="fc7")(x)
    return features, layers.ReLU(name="fc7_relu")(x)


def convolutional_trunk(channels, units, normalization):
    """Wu and He 2018's box head: four 3x3 convolutions and one fully connected layer."""
    x = features = features_input((BOX_SIZE, BOX_SIZE, channels), "box_features")
    for index in range(4):
        x = _conv_norm_relu(x, channels, f"box_head_{index}", normalization)
    x = _flattened(x, units, "box_head_5")
    return features, layers.ReLU(name="box_head_5_relu")(x)


def averaged_trunk(channels):
    """The box head on C4: the mean of (B, 7, 7, C)."""
    features = features_input((BOX_SIZE, BOX_SIZE, channels), "box_features")
    return features, layers.GlobalAveragePooling2D(data_format="channels_last", name="avgpool")(features)


def box_head(trunk, num_classes):
    """Scores and boxes from a trunk's vector.

    Args:
        trunk: (features, vector), tensors of a graph.
        num_classes: int, K.

    Returns:
        keras.Model: (B, 7, 7, C) to [logits (B, K + 1), deltas (B, 4 (K + 1))], background first, float32.
    """
    features, x = trunk
    logits = layers.Dense(
        num_classes + 1, kernel_initializer=_small(0.01), dtype="float32", name="cls_score"
    )(x)
    deltas = layers.Dense(
        4 * (num_classes + 1), kernel_initializer=_small(0.001), dtype="float32", name="box_pred"
    )(x)
    return keras.Model(features, [logits, deltas], name="box_head")


def mask_head(channels, num_classes, size, convolutions, filters, normalization):
    """Masks of every class: (B, size, size, C) to logits (B, 2 size, 2 size, K + 1), background first."""
    x = features = features_input((size, size, channels), "mask_features")
    for index in range(convolutions):
        x = _conv_norm_relu(x, filters, f"mask_head_{index}", normalization)
    x = layers.Conv2DTranspose(
        filters,
        2,
        strides=2,
        kernel_initializer=he_normal(),
        data_format="channels_last",
        name="conv5_mask",
    )(x)
    x = layers.ReLU(name="conv5_mask_relu")(x)
    logits = _convolution(x, num_classes + 1, 1, "mask_fcn_logits", he_normal(), "float32")
    return keras.Model(features, logits, name="mask_head")


def _encoder(backbone, input_shape, weights, normalization):
    if isinstance(backbone, str) and backbone in _RESNETS:
        if weights is not None:
            # Raises with what to do instead: keras.applications has no file in this layout.
            return select_backbone(backbone, input_shape, weights)
        kind = "group" if normalization == "group" else "batch"
        backbone = _RESNETS[backbone](input_shape, normalization=kind)
    elif normalization == "group":
        raise bad_argument(
            "normalization", '"batch" or "frozen_batch" with a backbone other than a ResNet', normalization
        )
    encoder = select_backbone(backbone, input_shape, weights)
    if not encoder.halves:
        raise bad_argument(
            "backbone",
            "a network whose maps have ceil(size / 2), ceil(size / 4), ... pixels a side",
            backbone if isinstance(backbone, str) else backbone.name,
            "Networks that pad no convolution move their maps against the image.",
        )
    _freeze(encoder.model, normalization)
    return encoder


def _freeze(model, normalization):
    """Make every batch normalization a fixed scale and shift, where that was asked for."""
    if normalization != "frozen_batch":
        return
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
        elif isinstance(layer, keras.Model):
            _freeze(layer, normalization)


def _convolution(x, filters, kernel_size, name, initializer, dtype=None):
    return conv2d(
        filters,
        kernel_size,
        padding="same",
        kernel_initializer=initializer,
        data_format="channels_last",
        dtype=dtype,
        name=name,
    )(x)


def _conv_norm_relu(x, filters, name, normalization):
    x = WinogradConv2D(
        filters,
        3,
        padding="same",
        use_bias=normalization is None,
        kernel_initializer=he_normal(),
        data_format="channels_last",
        name=f"{name}_0",
    )(x)
    if normalization == "batch":
        x = batch_norm(x, f"{name}_1", 1e-5)
    else:
        x = normalize(x, normalization, f"{name}_1")
    return layers.ReLU(name=f"{name}_relu")(x)


def _flattened(x, units, name):
    """A fully connected layer on a whole map, (B, h, w, C) to (B, units).

    Its kernel keeps the map's axes, so that checkpoints which flatten channels first fit as well.
    """
    x = FullyConnectedConv2D(
        units, x.shape[1:3], kernel_initializer=_scaled(), data_format="channels_last", name=name
    )(x)
    return layers.Reshape((units,), name=f"{name}_flat")(x)


def _small(deviation):
    """A Gaussian of this deviation, as the published heads start with."""
    return initializers.RandomNormal(stddev=deviation)


def _scaled():
    return initializers.VarianceScaling(1.0, "fan_in", "uniform")
