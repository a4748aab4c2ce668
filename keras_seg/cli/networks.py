"""What `keras-seg train` can train: each network's options, and how they become a model."""

import argparse
import dataclasses
import importlib
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Network:
    """One network of the library, as the command line knows it.

    Attributes:
        name: str. What the user types, and the builder's name in `keras_seg`.
        summary: str, for the help.
        add_options: callable that adds the builder's options to an argument group.
        builder_options: tuple of the options that go to the builder as they are.
        examples: tuple of str.
        crop: (height, width) in pixels, or None. The size that the network is built for and trained on where
            the user names none; None for one that takes any.
        learning_rate: float. The peak where the user names none.
        finds_objects: bool. True where the network is trained on objects, not on masks of classes.
    """

    finds_objects = False

    name: str
    summary: str
    add_options: Callable
    builder_options: tuple
    examples: tuple
    crop: tuple | None = None
    learning_rate: float = 1e-3

    def build(self, data, options, **changes):
        """The network for a data source.

        Args:
            data: Source, which has the numbers of classes and channels.
            options: dict of the command's options.
            **changes: further arguments of the builder.
        """
        builder = getattr(importlib.import_module("keras_seg"), self.name)
        given = {name: options[name] for name in self.builder_options if options[name] is not None}
        sides = (options["crop"] or self.crop) if self.crop else (None, None)
        model = builder(data.num_classes, (*sides, data.channels), **(given | changes))
        load_encoder_weights(model, options)
        return model


def _add_unet_options(group):
    group.add_argument("--filters", type=int, default=64, help="channels at full resolution")
    group.add_argument("--depth", type=int, default=4, help="how often the size is halved")
    group.add_argument("--padding", choices=("same", "valid"), default="same", help="valid is the paper's")
    group.add_argument(
        "--up", choices=("transpose", "bilinear"), default="transpose", help="how maps are doubled"
    )
    group.add_argument(
        "--normalization", choices=("batch", "group", "instance", "layer"), help="none if not given"
    )
    group.add_argument("--dropout", type=float, default=0.5, help="rate at the end of the contracting path")
    group.add_argument(
        "--backbone", help="encoder in place of the paper's, as efficientnet_lite0 or ResNet50"
    )
    add_weights(group)


def _add_fcn_options(group):
    from keras_seg.training.recipes import RECIPES

    group.add_argument(
        "--variant",
        choices=("32s", "16s", "8s", "dilated"),
        help="stride of the finest scores; dilated is torchvision's; 8s if not given",
    )
    group.add_argument("--backbone", default="vgg16", help="encoder, as vgg16, resnet50, efficientnet_lite0")
    group.add_argument(
        "--padding", choices=("same", "paper"), default="same", help="paper: 100 pixels and published crops"
    )
    group.add_argument(
        "--at-once", action="store_true", help="scale the skips, to train all streams from the start"
    )
    group.add_argument(
        "--learn-upsampling",
        type=_learned,
        default=False,
        metavar="{yes,no,intermediate}",
        help="upsampling kernels that are trained; no if not given",
    )
    add_weights(group)
    group.add_argument("--staged", action="store_true", help="train 32s, then 16s from it, then 8s from that")
    group.add_argument(
        "--stage-epochs", type=int, nargs=3, metavar="N", help="epochs of each stage; --epochs if not given"
    )
    group.add_argument(
        "--stage-rates",
        type=float,
        nargs=3,
        metavar="F",
        help="each stage's learning rate as a multiple of --learning-rate; 1, 0.1 and 0.1 if not given",
    )
    group.add_argument(
        "--recipe", choices=RECIPES, help="published settings, which replace the options that they set"
    )


def _add_deconvnet_options(group):
    group.add_argument(
        "--width",
        type=float,
        default=1.0,
        help="channels as a multiple of the published, as 0.25 for small data",
    )
    add_weights(group)
    group.add_argument(
        "--two-stage",
        action="store_true",
        help="train on crops around single objects, then on object proposals, as the paper does",
    )
    group.add_argument(
        "--stage-epochs", type=int, nargs=2, metavar="N", help="epochs of each stage; --epochs if not given"
    )
    group.add_argument(
        "--proposals",
        metavar="{selective_search,FILE}",
        help="of the second stage: found at its start by selective search if not given, or of a file that "
        "`keras-seg propose` wrote",
    )
    group.add_argument(
        "--val-proposals",
        metavar="{selective_search,FILE}",
        help="of the held-out images, where --proposals is a file without theirs",
    )
    group.add_argument(
        "--statistics-steps",
        type=int,
        help="batches that measure the batch statistics anew after the second stage; 100 if not given",
    )


def add_weights(group):
    """The options of all networks that name pretrained weights."""
    group.add_argument("--weights", help='"imagenet" for the backbone, or a .keras or .weights.h5 file')
    group.add_argument(
        "--encoder-weights",
        type=_named_checkpoint,
        metavar="NAME=FILE",
        help="a checkpoint of torchvision for the encoder, as resnet50=resnet50-11ad3fa6.pth; names as in "
        "keras-seg import-weights",
    )


def load_encoder_weights(model, options):
    """Do what `--encoder-weights` asks for, and say what was loaded."""
    # Runs of older versions have no such option in their config.
    if options.get("encoder_weights"):
        from keras_seg.weights import load_encoder

        print(load_encoder(model, *options["encoder_weights"]), flush=True)


def _named_checkpoint(text):
    from keras_seg.weights import names

    name, separator, file = text.partition("=")
    if not (separator and file and name in names()):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE with a name of {', '.join(names())}")
    return name, file


def _learned(text):
    choices = {"yes": True, "no": False, "intermediate": "intermediate"}
    if text not in choices:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(choices)}")
    return choices[text]


NETWORKS = (
    Network(
        "unet",
        "train a U-Net",
        _add_unet_options,
        ("filters", "depth", "padding", "up", "normalization", "dropout", "backbone", "weights"),
        (
            "keras-seg train unet --data shapes:200 --val shapes:count=50,seed=1 --filters 16 --epochs 10",
            "keras-seg train unet --data folder:my/data --crop 256x256 --augment default --out runs/mine",
            "keras-seg train unet --data isbi:isbi2012#0:20 --val isbi:isbi2012#20:24 \\",
            "    --pixel-weights border --augment microscopy --crop 256x256 --precision mixed_bfloat16",
            "keras-seg train unet --data folder:my/data --backbone efficientnet_lite0 --weights imagenet \\",
            "    --depth 5 --filters 16 --normalization batch",
            "keras-seg train unet --resume --out runs/mine        # go on with a run that was stopped",
            "tensorboard --logdir runs                            # curves and pictures in a browser",
        ),
    ),
    Network(
        "fcn",
        "train an FCN",
        _add_fcn_options,
        ("variant", "backbone", "padding", "at_once", "learn_upsampling", "weights"),
        (
            "keras-seg train fcn --data folder:my/data --backbone resnet50 --staged --out runs/mine",
            "keras-seg train fcn --data voc:VOC2012 --val voc:VOC2012,set=val --backbone vgg16 \\",
            "    --weights imagenet --padding paper --staged --recipe fcn-heavy",
            "keras-seg train fcn --data folder:my/data --variant dilated --backbone resnet50 \\",
            "    --encoder-weights resnet50=resnet50-11ad3fa6.pth",
            "keras-seg train fcn --staged --resume --out runs/mine    # go on with a run that was stopped",
        ),
    ),
    Network(
        "deconvnet",
        "train a DeconvNet",
        _add_deconvnet_options,
        ("width", "weights"),
        (
            "keras-seg train deconvnet --two-stage --data voc:VOC2012,set=train --val voc:VOC2012,set=val \\",
            "    --weights imagenet --optimizer sgd --learning-rate 0.01 --weight-decay 5e-4",
            "keras-seg train deconvnet --data folder:my/data --width 0.25 --out runs/mine",
            "keras-seg train deconvnet --two-stage --resume --out runs/mine   # go on where it was stopped",
            "keras-seg evaluate runs/mine --data voc:VOC2012,set=val --proposals selective_search --crf",
        ),
        crop=(224, 224),
        learning_rate=1e-2,
    ),
)
