"""Random changes of an image and its objects together: turns, size, place and colour.

All moves are along the axes, so that masks stay exact; elastic deformation and free rotation are left to
masks of classes (`keras_seg.data.Augmentation`).
"""

import dataclasses
import math

import numpy as np

from keras_seg.data.augmentation import PRESETS as MASK_PRESETS
from keras_seg.data.letterbox import fitting_scale, scaled_size
from keras_seg.data.placement import Placement
from keras_seg.utils.validation import bad_argument, check_choice, check_number


@dataclasses.dataclass(frozen=True)
class ObjectAugmentation:
    """What is changed, and by how much at most; the default only drops objects that can hardly be seen.

    Flips and transposition happen for half of the samples, the size's factor is drawn uniformly in its
    logarithm, and the place of a crop uniformly among whole pixels. What is smaller than the canvas lies at
    its top left.

    Args:
        flip_horizontal: bool. Left to right.
        flip_vertical: bool. Upside down.
        transpose: bool. Rows become columns; with both flips, all eight turns and mirror images.
        scale: (low, high). Factor of size; (0.1, 2) is large-scale jitter.
        fit: bool. True: at the factor 1 the image fits the canvas, as it does without augmentation. False: at
            the factor 1 the image's pixels stay as large as they are, and a crop is taken.
        min_visible: float, share of an object's area. Objects of which less is left are dropped.
        min_area: float, pixels of the canvas. Objects of which less is left are dropped.
        brightness, contrast, gamma, saturation, hue: float, as in `Augmentation`.

    Reference:
        G. Ghiasi et al., 2021, Simple copy-paste is a strong data augmentation method for instance
        segmentation (large-scale jitter).
    """

    flip_horizontal: bool = False
    flip_vertical: bool = False
    transpose: bool = False
    scale: tuple = (1.0, 1.0)
    fit: bool = True
    min_visible: float = 0.1
    min_area: float = 4.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self):
        for name in ("brightness", "contrast", "gamma", "saturation", "hue", "min_area"):
            check_number(name, getattr(self, name), 0)
        check_number("min_visible", self.min_visible, 0, 1)
        if not isinstance(self.scale, (tuple, list)) or len(self.scale) != 2:
            raise bad_argument("scale", "a pair (low, high)", self.scale, error=TypeError)
        low, high = (check_number("scale", factor, 0) for factor in self.scale)
        if not 0 < low <= high:
            raise bad_argument("scale", "a pair (low, high), 0 < low <= high", self.scale)
        object.__setattr__(self, "scale", (low, high))

    @property
    def changes_color(self):
        """True where grey values or colours change."""
        return any((self.brightness, self.contrast, self.gamma, self.saturation, self.hue))

    def place(self, image_size, canvas_size, random):
        """Draw where one image comes to lie.

        Args:
            image_size, canvas_size: (height, width).
            random: numpy.random.Generator. Six numbers are drawn from it, whatever they are used for.

        Returns:
            Placement.
        """
        draws = random.random(6)
        allowed = self.transpose, self.flip_vertical, self.flip_horizontal
        transpose, *flips = (bool(draw < 0.5 and on) for draw, on in zip(draws[:3], allowed, strict=True))
        turned = image_size[::-1] if transpose else image_size
        low, high = map(math.log, self.scale)
        factor = math.exp(low + draws[3] * (high - low))
        content = scaled_size(turned, factor * (fitting_scale(turned, canvas_size) if self.fit else 1))
        start = tuple(
            int(draw * (max(0, part - side) + 1))
            for draw, part, side in zip(draws[4:], content, canvas_size, strict=True)
        )
        return Placement(image_size, canvas_size, content, start, transpose, tuple(flips))


def _colors(name):
    preset = MASK_PRESETS[name]
    return {key: getattr(preset, key) for key in ("brightness", "contrast", "gamma", "saturation", "hue")}


PRESETS = {
    "light": ObjectAugmentation(flip_horizontal=True),
    "road": ObjectAugmentation(flip_horizontal=True, scale=(0.75, 1.5), **_colors("road")),
    "microscopy": ObjectAugmentation(
        flip_horizontal=True, flip_vertical=True, transpose=True, scale=(0.8, 1.25), **_colors("microscopy")
    ),
    "large-scale": ObjectAugmentation(flip_horizontal=True, scale=(0.1, 2)),
    "default": ObjectAugmentation(flip_horizontal=True, scale=(0.8, 1.25), **_colors("default")),
}


def find_object_augmentation(augment):
    """The ObjectAugmentation that `augment` means: None, True, a preset's name, or one itself."""
    if augment is None or augment is False:
        return None
    if isinstance(augment, ObjectAugmentation):
        return augment
    if augment is True:
        return PRESETS["default"]
    if not isinstance(augment, str):
        raise bad_argument(
            "augment", "None, True, a preset's name or an ObjectAugmentation", augment, error=TypeError
        )
    return PRESETS[check_choice("augment", augment, tuple(PRESETS))]


def visible_objects(objects, placement, min_visible=0.0, min_area=0.0):
    """Which objects are left on the canvas, and where.

    Args:
        objects: Objects.
        placement: Placement.
        min_visible: float. Objects with a smaller share of their area on the canvas are left out.
        min_area: float. Objects with less area there are left out, pixels of the canvas. Neither holds for
            crowd regions, what is left of which would become background.

    Returns:
        rows: int array (R,), of `objects`, ascending.
        boxes: float64 (R, 4), the masks' places on the canvas, not clipped.
        visible: float64 (R, 4), the tight boxes around what is visible.
    """
    boxes = placement.boxes(objects.boxes)
    height, width = placement.visible_size
    visible = boxes.clip(0, [width, height, width, height])
    inside = (visible[:, 2:] > visible[:, :2]).all(axis=1)
    shares = inside.astype("float64")
    for row in np.nonzero(inside & (visible != boxes).any(axis=1))[0]:
        shares[row], visible[row] = placement.visible_part(objects.masks[row], boxes[row])
    areas = shares * objects.areas * (placement.scale[0] * placement.scale[1])
    enough = (shares >= min_visible) & (areas >= min_area)
    rows = np.nonzero((shares > 0) & (enough | objects.crowd))[0]
    return rows, boxes[rows], visible[rows]
