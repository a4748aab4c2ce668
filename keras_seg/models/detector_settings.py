"""Every number of the Mask R-CNN method that is not a weight, checked once and saved with the model."""

import dataclasses

from keras_seg.losses.detection import SMOOTH_L1_BETA
from keras_seg.ops.anchors import anchor_grid
from keras_seg.ops.detection_selection import BOX_WEIGHTS
from keras_seg.ops.roi_alignment import check_sampling_ratio
from keras_seg.utils.validation import bad_argument, check_choice, check_integer, check_number


@dataclasses.dataclass(frozen=True)
class DetectorSettings:
    """Settings of `keras_seg.mask_rcnn`; pairs are (training, prediction).

    Attributes:
        anchor_sizes: tuple of float. Square roots of the anchors' areas in pixels, one a level, finest
            first; all of them on the one map of C4.
        anchor_ratios: tuple of float, height over width.
        rpn_thresholds: (low, high). Anchors are background below, objects from the second on.
        rpn_samples: int. Anchors of an image in the loss.
        rpn_positive_fraction: float. The most of them that are objects.
        pre_nms: pair of int. Anchors of each level that are decoded.
        max_proposals: pair of int. Proposals of an image.
        rpn_nms_threshold: float. IoU above which a proposal goes.
        roi_threshold: float. IoU from which a proposal is an object.
        roi_samples: int. Proposals of an image in the losses of the heads.
        roi_positive_fraction: float. The most of them that are objects.
        crowd_threshold: float. Background that a crowd region covers by more than this part of its area is
            in no loss.
        box_weights: four float (wx, wy, ww, wh). What the deltas of the box head are multiplied by, see
            `keras_seg.ops.encode_boxes`.
        smooth_l1_beta: float. Where the loss of deltas turns from a square into a line.
        roi_layer: "align" or "pool".
        sampling_ratio: int. Of RoIAlign, see `keras_seg.ops.roi_align`.
        aligned: bool. Half-pixel rule of RoIAlign.
        canonical_size: float. Side in pixels of a box that is read on P4.
        score_threshold: float. A detection's probability is above it.
        nms_threshold: float. IoU above which a detection of the same class goes.
        max_detections: int. Of an image.
        seed: int, of the sampling.

    Raises:
        ValueError, TypeError: a number out of range.
    """

    anchor_sizes: tuple = (32, 64, 128, 256, 512)
    anchor_ratios: tuple = (0.5, 1.0, 2.0)
    rpn_thresholds: tuple = (0.3, 0.7)
    rpn_samples: int = 256
    rpn_positive_fraction: float = 0.5
    pre_nms: tuple = (2000, 1000)
    max_proposals: tuple = (2000, 1000)
    rpn_nms_threshold: float = 0.7
    roi_threshold: float = 0.5
    roi_samples: int = 512
    roi_positive_fraction: float = 0.25
    crowd_threshold: float = 0.7
    box_weights: tuple = BOX_WEIGHTS
    smooth_l1_beta: float = SMOOTH_L1_BETA
    roi_layer: str = "align"
    sampling_ratio: int = 2
    aligned: bool = True
    canonical_size: float = 224
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    max_detections: int = 100
    seed: int = 0

    def __post_init__(self):
        for name in (
            "anchor_sizes", "anchor_ratios", "rpn_thresholds", "pre_nms", "max_proposals", "box_weights",
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, (tuple, list)) or not value:
                raise bad_argument(name, "a tuple of numbers", value)
            # JSON gives lists back; a frozen dataclass takes the tuple this way only.
            object.__setattr__(self, name, tuple(value))
        for name in ("pre_nms", "max_proposals", "rpn_thresholds"):
            if len(getattr(self, name)) != 2:
                kind = "(low, high)" if name == "rpn_thresholds" else "(training, prediction)"
                raise bad_argument(name, f"a pair {kind}", getattr(self, name))
        for name in ("pre_nms", "max_proposals"):
            for value in getattr(self, name):
                check_integer(name, value)
        if len(self.box_weights) != 4:
            raise bad_argument("box_weights", "four positive numbers (wx, wy, ww, wh)", self.box_weights)
        check_number("smooth_l1_beta", self.smooth_l1_beta, 1e-6)
        for name in ("anchor_sizes", "anchor_ratios", "box_weights"):
            for value in getattr(self, name):
                check_number(name, value, 1e-6)
        for name in ("rpn_samples", "roi_samples", "max_detections"):
            check_integer(name, getattr(self, name))
        check_integer("seed", self.seed, 0)
        low, high = (check_number("rpn_thresholds", value, 0, 1) for value in self.rpn_thresholds)
        if low > high:
            raise bad_argument("rpn_thresholds", "a pair (low, high), low first", self.rpn_thresholds)
        for name in (
            "rpn_positive_fraction", "rpn_nms_threshold", "roi_threshold", "roi_positive_fraction",
            "crowd_threshold", "score_threshold", "nms_threshold",
        ):  # fmt: skip
            check_number(name, getattr(self, name), 0, 1)
        check_number("canonical_size", self.canonical_size, 1)
        check_choice("roi_layer", self.roi_layer, ("align", "pool"))
        check_sampling_ratio(self.sampling_ratio)

    def as_dict(self):
        """Plain values, as `DetectorSettings(**values)` takes them."""
        return dataclasses.asdict(self)

    def anchors_of(self, image_size, map_sizes):
        """The anchors of each level.

        Args:
            image_size: (height, width) in pixels.
            map_sizes: dict of level name to (h, w).

        Returns:
            dict of level name to `ops.anchors.AnchorGrid`.
        """
        levels = sorted(map_sizes)
        if len(levels) == 1:
            level = levels[0]
            return {level: anchor_grid(image_size, map_sizes[level], self.anchor_sizes, self.anchor_ratios)}
        if len(levels) != len(self.anchor_sizes):
            raise bad_argument(
                "anchor_sizes", f"{len(levels)} sizes, one for each of {', '.join(levels)}", self.anchor_sizes
            )
        return {
            level: anchor_grid(image_size, map_sizes[level], (size,), self.anchor_ratios)
            for level, size in zip(levels, self.anchor_sizes, strict=True)
        }

    def anchors_per_pixel(self, num_levels):
        """How many anchors stand at each pixel of a map."""
        return len(self.anchor_ratios) * (len(self.anchor_sizes) if num_levels == 1 else 1)
