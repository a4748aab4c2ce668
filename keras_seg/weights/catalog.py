"""The networks of torchvision that can be imported: how each is built here, and its layers' names there."""

import dataclasses
import functools
import re
from collections.abc import Callable

import keras

from keras_seg.backbones import alex_net, google_net, resnet, vgg
from keras_seg.backbones.preprocessing import mode_affine
from keras_seg.layers.color_affine import ColorAffine
from keras_seg.models.fcn import fcn
from keras_seg.models.mask_rcnn import mask_rcnn
from keras_seg.utils.validation import check_choice

_COUNTER = "a counter of batches that Keras's batch normalization does without"
_AUXILIARY = "an auxiliary head, which serves torchvision's training only"


@dataclasses.dataclass(frozen=True)
class Architecture:
    """One network of torchvision.

    Attributes:
        task: "classifier", "semantic" or "detector".
        build: function (num_classes, input_shape) to a keras.Model that takes pixels 0..255.
        rules: tuple of (pattern, template). A layer whose whole name matches `pattern` is the module that
            `template` makes of the match, as in "layer1.0.conv1". The first that matches counts.
        first: str. Path of the module that sees the image.
        last: str. Path of the module that makes the scores.
        by_class: str. Pattern of other modules with outputs for each class, which do not serve other classes.
        head: str. Pattern of the modules that a network with this one as its encoder may lack.
        extras: tuple of (pattern, str). Tensors that have no place here, and why.
        old_names: tuple of (pattern, template). Tensors of files that older versions wrote, and their names
            today.
    """

    task: str
    build: Callable
    rules: tuple
    first: str
    last: str
    head: str
    by_class: str = ""
    extras: tuple = ()
    old_names: tuple = ()

    def renamed(self, tensors):
        """The same dict of tensors, those of old names under their new ones."""
        return {self._name_today(name): tensor for name, tensor in tensors.items()}

    def _name_today(self, name):
        for pattern, template in self.old_names:
            match = re.fullmatch(pattern, name)
            if match:
                return match.expand(template)
        return name

    def path_of(self, layer_name):
        """The path of a layer's module in torchvision, or None for a layer that is not this network's."""
        for pattern, template in self.rules:
            match = re.fullmatch(pattern, layer_name)
            if match:
                return match.expand(template)
        return None

    def is_by_class(self, path):
        """Whether the module of this path is for the checkpoint's own classes."""
        return path == self.last or re.fullmatch(self.by_class, path) is not None

    def is_head(self, path):
        """Whether the module of this path is one that an encoder may lack."""
        return re.fullmatch(self.head, path) is not None

    def reason_unused(self, tensor_name):
        """Why a tensor has no place here, or None if it should have one."""
        for pattern, reason in (*self.extras, (r".*\.num_batches_tracked", _COUNTER)):
            if re.fullmatch(pattern, tensor_name):
                return reason
        return None


def names():
    """The names of torchvision's networks that `from_torchvision` takes."""
    return tuple(sorted(_ARCHITECTURES))


def architecture(name):
    """The Architecture of a name; raises a ValueError that lists the names if there is none."""
    return _ARCHITECTURES[check_choice("name", name, names())]


def _normalized(channels):
    return mode_affine("torch", channels)


def _classifier(network, num_classes, input_shape, affine=_normalized):
    """A dense classifier behind its preprocessing, a function of the channels to (matrix, offset)."""
    net = network(input_shape, include_top=True, num_classes=num_classes)
    images = keras.Input(tuple(input_shape), name="images")
    matrix, offset = affine(input_shape[2])
    pixels = ColorAffine(matrix.tolist(), offset.tolist(), name="rescaling")(images)
    return keras.Model(images, net(pixels), name=net.name)


def _fcn(backbone, num_classes, input_shape):
    return fcn(num_classes, input_shape, variant="dilated", backbone=backbone, name=f"fcn_{backbone}")


def _resnet(network):
    return Architecture(
        task="classifier",
        build=functools.partial(_classifier, network),
        rules=_RESNET_RULES,
        first="conv1",
        last="fc",
        head="fc",
    )


def _fcn_resnet(backbone):
    trunk = tuple((pattern, f"backbone.{path}") for pattern, path in _RESNET_RULES if pattern != "fc")
    return Architecture(
        task="semantic",
        build=functools.partial(_fcn, backbone),
        rules=(*trunk, (r"classifier_(\d)", r"classifier.\1")),
        first="backbone.conv1",
        last="classifier.4",
        head=r"classifier\..*",
        extras=((r"aux_classifier\..*", _AUXILIARY),),
    )


_RESNET_RULES = (
    (r"conv1|bn1", r"\g<0>"),
    (r"layer(\d)_(\d+)_downsample_([01])", r"layer\1.\2.downsample.\3"),
    (r"layer(\d)_(\d+)_((conv|bn)\d)", r"layer\1.\2.\3"),
    ("fc", "fc"),
)

_ALEXNET = Architecture(
    task="classifier",
    build=functools.partial(_classifier, alex_net.alexnet),
    # The numbers of `features` and `classifier` count ReLUs, pools and dropouts too.
    rules=(
        *((f"conv{index + 1}", f"features.{number}") for index, number in enumerate((0, 3, 6, 8, 10))),
        *((f"fc{index + 6}", f"classifier.{number}") for index, number in enumerate((1, 4, 6))),
    ),
    first="features.0",
    last="classifier.6",
    head=r"classifier\.\d",
)

_GOOGLENET = Architecture(
    task="classifier",
    build=functools.partial(_classifier, google_net.googlenet),
    rules=(
        (r"(conv[123])_(conv|bn)", r"\1.\2"),
        (r"(inception\d[a-e])_(branch1)_(conv|bn)", r"\1.\2.\3"),
        (r"(inception\d[a-e])_(branch\d)_(\d)_(conv|bn)", r"\1.\2.\3.\4"),
        ("fc", "fc"),
    ),
    first="conv1.conv",
    last="fc",
    head="fc",
    extras=((r"aux[12]\..*", _AUXILIARY),),
)

_VGG16_CONVOLUTIONS = {
    "conv1_1": 0,
    "conv1_2": 2,
    "conv2_1": 5,
    "conv2_2": 7,
    "conv3_1": 10,
    "conv3_2": 12,
    "conv3_3": 14,
    "conv4_1": 17,
    "conv4_2": 19,
    "conv4_3": 21,
    "conv5_1": 24,
    "conv5_2": 26,
    "conv5_3": 28,
}
_VGG16 = Architecture(
    task="classifier",
    build=functools.partial(_classifier, vgg.vgg16),
    rules=(
        *((name, f"features.{number}") for name, number in _VGG16_CONVOLUTIONS.items()),
        *((f"fc{index + 6}", f"classifier.{number}") for index, number in enumerate((0, 3, 6))),
    ),
    first="features.0",
    last="classifier.6",
    head=r"classifier\.\d",
)

# Each convolution is followed by its batch normalization and its ReLU, each block by its pool.
_VGG16_BN_CONVOLUTIONS = {
    name: 3 * count + block
    for count, (block, name) in enumerate((int(name[4]) - 1, name) for name in _VGG16_CONVOLUTIONS)
}
_VGG16_BN = dataclasses.replace(
    _VGG16,
    build=functools.partial(_classifier, vgg.vgg16_bn),
    rules=(
        *((name, f"features.{number}") for name, number in _VGG16_BN_CONVOLUTIONS.items()),
        *((f"bn{name[4:]}", f"features.{number + 1}") for name, number in _VGG16_BN_CONVOLUTIONS.items()),
        *(rule for rule in _VGG16.rules if rule[0].startswith("fc")),
    ),
)

_MASKRCNN_RULES = (
    *((pattern, f"backbone.body.{path}") for pattern, path in _RESNET_RULES if pattern != "fc"),
    *(
        (f"{ours}_P{level + 2}{norm}", f"backbone.fpn.{theirs}_blocks.{level}.{int(bool(norm))}")
        for ours, theirs in (("inner", "inner"), ("output", "layer"))
        for level in range(4)
        for norm in ("", "_norm")
    ),
    (r"conv_(\d)_0", r"rpn.head.conv.\1.0"),
    ("cls_logits|bbox_pred", r"rpn.head.\g<0>"),
    ("fc6|fc7", r"roi_heads.box_head.\g<0>"),
    (r"box_head_(\d)_([01])", r"roi_heads.box_head.\1.\2"),
    ("box_head_5", "roi_heads.box_head.5"),
    ("cls_score", "roi_heads.box_predictor.cls_score"),
    ("box_pred", "roi_heads.box_predictor.bbox_pred"),
    (r"mask_head_(\d)_([01])", r"roi_heads.mask_head.\1.\2"),
    ("conv5_mask|mask_fcn_logits", r"roi_heads.mask_predictor.\g<0>"),
)


def _mask_rcnn(num_classes, input_shape, **options):
    # torchvision's RoIAlign has no half-pixel shift here.
    return mask_rcnn(num_classes, input_shape, backbone="resnet50_fpn", aligned=False, **options)


_MASKRCNN = Architecture(
    task="detector",
    build=functools.partial(_mask_rcnn, normalization="frozen_batch", name="maskrcnn_resnet50_fpn"),
    rules=_MASKRCNN_RULES,
    first="backbone.body.conv1",
    last="roi_heads.box_predictor.cls_score",
    head=r"(backbone\.fpn|rpn|roi_heads)\..*",
    by_class=r"roi_heads\.(box_predictor\.bbox_pred|mask_predictor\.mask_fcn_logits)",
    # The published file is from before convolutions could have a normalization.
    old_names=(
        (r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)", r"\1.0.\2"),
        (r"rpn\.head\.conv\.(weight|bias)", r"rpn.head.conv.0.0.\1"),
        *(
            (
                rf"roi_heads\.mask_head\.mask_fcn{index + 1}\.(weight|bias)",
                rf"roi_heads.mask_head.{index}.0.\1",
            )
            for index in range(4)
        ),
    ),
)

_MASKRCNN_V2 = dataclasses.replace(
    _MASKRCNN,
    build=functools.partial(
        _mask_rcnn,
        neck_normalization="batch",
        head_normalization="batch",
        box_convolutions=True,
        rpn_convolutions=2,
        name="maskrcnn_resnet50_fpn_v2",
    ),
    old_names=(),
)

_ARCHITECTURES = {
    "alexnet": _ALEXNET,
    "fcn_resnet50": _fcn_resnet("resnet50"),
    "fcn_resnet101": _fcn_resnet("resnet101"),
    "googlenet": _GOOGLENET,
    "maskrcnn_resnet50_fpn": _MASKRCNN,
    "maskrcnn_resnet50_fpn_v2": _MASKRCNN_V2,
    "resnet18": _resnet(resnet.resnet18),
    "resnet34": _resnet(resnet.resnet34),
    "resnet50": _resnet(resnet.resnet50),
    "resnet101": _resnet(resnet.resnet101),
    "vgg16": _VGG16,
    "vgg16_bn": _VGG16_BN,
}
