"""The encoders of FCN: maps of stride 8, 16 and 32, the last by the classifier's layers as convolutions."""

import keras

from keras_seg.backbones import alex_net, resnet, vgg
from keras_seg.backbones.preprocessing import images_input
from keras_seg.backbones.select import Encoder, select_backbone
from keras_seg.backbones.taps import pyramid
from keras_seg.utils.validation import bad_argument, check_choice

# The coarsest map's.
STRIDE = 32
# The released nets' crops: of each variant's scores to the image, and of the skips' scores (`Crop` layers).
PAPER_CROPS = {"vgg16": {"32s": 19, "16s": 27, "8s": 31, "P4": 5, "P3": 9}, "alexnet": {"32s": 18}}
# Pixels of zeros around the image, so that every size has a score map (released networks, conv1_1).
_PAPER_PADDING = 100
_WITH_CLASSIFIER = {"vgg16": vgg, "alexnet": alex_net}
# Caffe's pools round up. VGG16's do so in every form.
_PAPER_TRUNK = {
    "vgg16": {"first_padding": _PAPER_PADDING},
    "alexnet": {"first_padding": _PAPER_PADDING, "round_up": True},
}
# FCN takes VGG's pooled maps, not the convolutions before the next pool that have their size too.
_VGG_POOLS = {"P3": "pool3", "P4": "pool4", "P5": "pool5"}
_DILATED = {
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
    "resnet101": resnet.resnet101,
}


def fcn_encoder(backbone, input_shape, weights, padding, levels):
    """The encoder of a skip network.

    Args:
        backbone: a name or a keras.Model, see `keras_seg.backbones.select.select_backbone`.
        input_shape: (height, width, channels), None for free sides.
        weights: None or "imagenet".
        padding: "same" or "paper".
        levels: tuple of str. Those that the network scores, of "P3", "P4" and "P5".

    Returns:
        Encoder with these levels at least.
    """
    if isinstance(backbone, str) and backbone in _WITH_CLASSIFIER:
        return _classifier_encoder(backbone, input_shape, weights, padding)
    encoder = select_backbone(backbone, input_shape, weights, multiple=STRIDE)
    if set(levels) - set(encoder.model.output):
        strides = " and ".join(str(2 ** int(level[1:])) for level in sorted(levels))
        raise bad_argument(
            "backbone",
            f"a network with maps of stride {strides}",
            backbone if isinstance(backbone, str) else backbone.name,
            f"It has {', '.join(sorted(encoder.model.output))}.",
        )
    return encoder


def dilated_encoder(backbone, input_shape, weights):
    """A ResNet whose last two stages keep stride 8 by kernels dilated by 2 and 4; "P3" is its last map."""
    check_choice("backbone", backbone, tuple(_DILATED), 'Others are for the variants "32s", "16s" and "8s".')
    model = pyramid(_DILATED[backbone](input_shape, weights=weights, output_stride=8))
    return Encoder(model, resnet.preprocessing(input_shape[2], weights), halves=True)


def _classifier_encoder(backbone, input_shape, weights, padding):
    network = _WITH_CLASSIFIER[backbone]
    paper = _PAPER_TRUNK[backbone] if padding == "paper" else {}
    if padding == "same":
        # VGG16 gets padded images, and AlexNet's levels are not to be told on a small image.
        input_shape = (None, None, input_shape[2])
    if backbone == "vgg16":
        # Not by its builder: ImageNet weights come at the end, as fc6 and fc7 have theirs too.
        images = images_input(input_shape, "caffe" if weights == "imagenet" else "torch")
        trunk = keras.Model(images, vgg.features(images, **paper))
        maps = {level: trunk.get_layer(name).output for level, name in _VGG_POOLS.items()}
    else:
        trunk = alex_net.alexnet(input_shape, weights=weights, **paper)
        maps = {"P5": trunk.output} if paper else dict(pyramid(trunk).output)
    maps["P5"] = network.classifier_features(maps["P5"], "valid" if paper else "same")
    model = keras.Model(trunk.inputs[0], maps, name=backbone)
    if weights == "imagenet":
        vgg.from_keras_vgg16(model, keras.applications.VGG16(weights="imagenet"))
    return Encoder(model, network.preprocessing(input_shape[2], weights), halves=backbone == "vgg16")
