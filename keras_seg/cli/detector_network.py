"""Mask R-CNN on the command line: the builder's options, and how they become a model."""

import dataclasses

from keras_seg.cli.networks import Network, add_weights, load_encoder_weights
from keras_seg.cli.options import image_size

# As arguments of the builder, where the user gave them: C4 has defaults of its own.
_SETTINGS = (
    "anchor_sizes", "anchor_ratios", "canonical_size", "rpn_thresholds", "rpn_samples",
    "rpn_positive_fraction", "pre_nms", "max_proposals", "rpn_nms_threshold", "roi_threshold", "roi_samples",
    "roi_positive_fraction", "crowd_threshold", "box_weights", "smooth_l1_beta", "roi_layer",
    "sampling_ratio", "score_threshold", "nms_threshold", "max_detections",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class DetectorNetwork(Network):
    """A network that is trained on objects, and built for one size of its images."""

    finds_objects = True

    def build(self, data, options, **changes):
        """The network for a data source that has objects.

        Args:
            data: Source, which has the classes of objects and the number of channels.
            options: dict of the command's options.
            **changes: builder's arguments in place of the options'.
        """
        from keras_seg.models.mask_rcnn import mask_rcnn

        arguments = {name: options[name] for name in self.builder_options}
        given = {name: options[name] for name in _SETTINGS if options[name] is not None}
        shape = (*options["image_size"], data.channels)
        model = mask_rcnn(
            len(data.object_names), shape, **arguments, **given, **({"seed": options["seed"]} | changes)
        )
        load_encoder_weights(model, options)
        return model


def _add_options(group):
    group.add_argument(
        "--image-size",
        type=image_size,
        default=(512, 512),
        metavar="HxW",
        help="of the network; images are letterboxed to it",
    )
    group.add_argument(
        "--backbone",
        default="resnet50_fpn",
        help="as resnet18_fpn, resnet50_c4, efficientnet_lite0, ConvNeXtTiny",
    )
    group.add_argument(
        "--normalization",
        choices=("batch", "frozen_batch", "group"),
        default="batch",
        help="frozen_batch for pretrained backbones, group for small batches",
    )
    for part in ("neck", "head"):
        group.add_argument(f"--{part}-normalization", choices=("batch", "group"), help="none if not given")
    group.add_argument("--box-convolutions", action="store_true", help="four convolutions in the box head")
    group.add_argument("--rpn-convolutions", type=int, default=1)
    group.add_argument("--pyramid-filters", type=int, default=256, help="channels of the pyramid")
    group.add_argument("--head-units", type=int, default=1024, help="units of the box head")
    group.add_argument("--mask-filters", type=int, default=256, help="channels of the mask head")
    add_weights(group)
    group.add_argument(
        "--anchor-sizes", type=float, nargs="+", metavar="PX", help="one a level, finest first; 32 to 512"
    )
    group.add_argument("--anchor-ratios", type=float, nargs="+", metavar="R", help="height over width")
    group.add_argument(
        "--canonical-size", type=float, metavar="PX", help="side of a box that is read on P4; 224"
    )
    group.add_argument(
        "--rpn-thresholds", type=float, nargs=2, metavar="IOU", help="background below, objects from; 0.3 0.7"
    )
    group.add_argument("--rpn-samples", type=int, help="anchors of an image in the loss; 256")
    group.add_argument("--rpn-positive-fraction", type=float, help="the most of them that are objects; 0.5")
    pair = {"type": int, "nargs": 2, "metavar": ("TRAIN", "PREDICT")}
    group.add_argument("--pre-nms", **pair, help="anchors of a level that are decoded; 2000 1000")
    group.add_argument("--max-proposals", **pair, help="proposals of an image; 2000 1000")
    group.add_argument("--rpn-nms-threshold", type=float, help="IoU above which a proposal goes; 0.7")
    group.add_argument("--roi-threshold", type=float, help="IoU from which a proposal is an object; 0.5")
    group.add_argument("--roi-samples", type=int, help="proposals of an image in the losses; 512, C4 64")
    group.add_argument("--roi-positive-fraction", type=float, help="the most of them that are objects; 0.25")
    group.add_argument(
        "--crowd-threshold",
        type=float,
        metavar="PART",
        help="background of which a crowd region covers more is in no loss; 0.7",
    )
    group.add_argument(
        "--box-weights",
        type=float,
        nargs=4,
        metavar=("X", "Y", "W", "H"),
        help="of the box head's deltas; 10 10 5 5",
    )
    group.add_argument("--smooth-l1-beta", type=float, help="where the loss of deltas turns into a line; 1/9")
    group.add_argument("--roi-layer", choices=("align", "pool"), help="align is the paper's")
    group.add_argument("--sampling-ratio", type=int, help="samples along a side of RoIAlign's bins; 2")
    group.add_argument("--score-threshold", type=float, help="a detection scores above it; 0.05")
    group.add_argument("--nms-threshold", type=float, help="IoU above which a detection goes; 0.5")
    group.add_argument("--max-detections", type=int, help="of an image; 100")


MASK_RCNN = DetectorNetwork(
    "mask_rcnn",
    "train a Mask R-CNN",
    _add_options,
    (
        "backbone", "normalization", "neck_normalization", "head_normalization", "box_convolutions",
        "rpn_convolutions", "pyramid_filters", "head_units", "mask_filters", "weights",
    ),
    (
        "keras-seg train mask_rcnn --data coco:train.json,images --val coco:val.json,images --epochs 12",
        "keras-seg train mask_rcnn --data labelme:my/photos --bad skip --out runs/mine \\",
        "    --normalization frozen_batch \\",
        "    --encoder-weights maskrcnn_resnet50_fpn=maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
        "keras-seg train mask_rcnn --data nuclei:nuclei --augment microscopy --image-size 256x256 \\",
        "    --backbone resnet18_fpn --anchor-sizes 8 16 32 64 128 --precision mixed_bfloat16",
        "keras-seg train mask_rcnn --resume --out runs/mine    # go on with a run that was stopped",
    ),
)  # fmt: skip
