"""Random changes of image and mask together, each sample from its own seed.

Keras' augmentation layers are not used here: RandomFlip and RandomCrop give uint8 masks back as float32,
every layer interpolates once more, and their seeds advance with each call, so the batches of a killed run
cannot be made again. Here a sample's changes depend on its seed alone, and the image is interpolated once.
"""

import dataclasses
import math

import tensorflow as tf

from keras_seg.data.color import between, change_color, color_amounts
from keras_seg.data.geometry import crop_start, elastic_displacement, flipped_range, inverse_map
from keras_seg.data.sampling import bilinear, nearest, take
from keras_seg.utils.validation import bad_argument, check_choice, check_integer, check_number

_DRAWS = 13


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What is changed, and by how much at most; the default changes nothing.

    Flips happen for half of the samples. Other amounts are drawn uniformly; scale, contrast, gamma and
    saturation uniformly in their logarithm, so that a factor and its inverse are equally likely. Images are
    sampled bilinearly, masks by the nearest pixel, with mirrored borders. Flips, shifts and crops alone move
    pixels without changing a value.

    Args:
        flip_horizontal: bool. Left to right.
        flip_vertical: bool. Upside down.
        rotation: float. Degrees at most, to either side; 180 is any angle.
        scale: (low, high). Factor of size.
        shift: float. Pixels at most along each axis, in whole pixels.
        elastic_sigma: float. Standard deviation of the displacements on the coarse grid, pixels (U-Net: 10).
        elastic_grid: int. Points of that grid along each side (U-Net: 3).
        brightness: float. At most this share of 255 is added or taken.
        contrast, gamma, saturation: float. 0.25 draws a factor (for gamma an exponent) in [1 / 1.25, 1.25].
        hue: float. Degrees at most, to either side.

    Example:

        augmentation = Augmentation(flip_horizontal=True, scale=(0.75, 1.5))
        image, mask = augmentation(image, mask, seed=(1, 2), crop_size=(288, 384))
    """

    flip_horizontal: bool = False
    flip_vertical: bool = False
    rotation: float = 0.0
    scale: tuple = (1.0, 1.0)
    shift: float = 0.0
    elastic_sigma: float = 0.0
    elastic_grid: int = 3
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self):
        for name in (
            "rotation",
            "shift",
            "elastic_sigma",
            "brightness",
            "contrast",
            "gamma",
            "saturation",
            "hue",
        ):
            check_number(name, getattr(self, name), 0)
        check_integer("elastic_grid", self.elastic_grid, 2)
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

    @property
    def interpolates(self):
        """True where pixels land between pixels."""
        return any((self.rotation, self.elastic_sigma, self.scale != (1.0, 1.0)))

    @property
    def is_identity(self):
        """True where nothing changes."""
        return self == Augmentation(elastic_grid=self.elastic_grid)

    def __call__(self, image, mask, weight=None, *, seed, crop_size=None, random_crop=True):
        """Change one sample.

        Args:
            image: uint8 or float32 (H, W, C), 0..255.
            mask: integer (H, W).
            weight: float32 (H, W) or None. Moves as the mask does.
            seed: pair of int. The same pair gives the same result, directly and inside tf.data.
            crop_size: (height, width) or None, which keeps the size.
            random_crop: bool. False crops the middle.

        Returns:
            (image, mask) or (image, mask, weight), at the crop's size, with their dtypes kept.
        """
        image, mask = tf.convert_to_tensor(image), tf.convert_to_tensor(mask)
        size = tf.unstack(tf.shape(image)[:2])
        crop = size if crop_size is None else crop_size
        draws = tf.unstack(tf.random.stateless_uniform((_DRAWS,), seed))
        flips = (draws[4] < 0.5) & self.flip_vertical, (draws[5] < 0.5) & self.flip_horizontal
        scale = tf.exp(between(draws[6], *map(math.log, self.scale)))
        window = crop
        if self.scale != (1.0, 1.0):
            window = [tf.cast(tf.round(tf.cast(side, "float32") / scale), "int32") for side in crop]
        starts = [
            crop_start(place, side, part, random_crop)
            + tf.cast(tf.round(between(move, -self.shift, self.shift)), "int32")
            for place, move, side, part in zip(draws[:2], draws[2:4], size, window, strict=True)
        ]
        others = [mask] if weight is None else [mask, tf.convert_to_tensor(weight)]
        if self.interpolates:
            center = [
                tf.cast(start, "float32") + (tf.cast(part, "float32") - 1) / 2
                for start, part in zip(starts, window, strict=True)
            ]
            angle = between(draws[7], -self.rotation, self.rotation) * (math.pi / 180)
            y, x = inverse_map(crop, center, flips, scale, angle, self._displacement(seed, crop))
            changed = bilinear(image, y, x)
            others = [nearest(other, y, x) for other in others]
        else:
            rows, columns = (flipped_range(*part) for part in zip(starts, crop, flips, strict=True))
            changed = take(image, rows, columns)
            others = [take(other, rows, columns) for other in others]
        if self.changes_color:
            changed = change_color(tf.cast(changed, "float32"), *color_amounts(draws[8:], self))
        if image.dtype == tf.uint8 and changed.dtype != tf.uint8:
            changed = tf.cast(tf.round(changed), "uint8")
        return (changed, *others)

    def _displacement(self, seed, crop):
        if not self.elastic_sigma:
            return None
        # A seed of its own: the uniform draws above use this sample's.
        seed = tf.random.fold_in(seed, 1)
        vectors = tf.random.stateless_normal((2, self.elastic_grid, self.elastic_grid), seed)
        return elastic_displacement(self.elastic_sigma * vectors, crop)


PRESETS = {
    "light": Augmentation(flip_horizontal=True),
    "road": Augmentation(
        flip_horizontal=True, scale=(0.75, 1.5), brightness=0.06, contrast=0.25, saturation=0.3, hue=8
    ),
    "microscopy": Augmentation(
        flip_horizontal=True,
        flip_vertical=True,
        rotation=180,
        scale=(0.8, 1.25),
        elastic_sigma=10,
        brightness=0.1,
        contrast=0.25,
        gamma=0.25,
    ),
    # U-Net, section 3.1: shift, rotation, elastic deformation, grey values. The paper gives no amounts but
    # those of the elastic deformation.
    "paper": Augmentation(rotation=180, shift=20, elastic_sigma=10, brightness=0.1, contrast=0.2, gamma=0.2),
    "default": Augmentation(flip_horizontal=True, scale=(0.8, 1.25), brightness=0.06, contrast=0.2),
}


def find_augmentation(augment):
    """The Augmentation that `augment` means: None, True, a preset's name, or an Augmentation itself."""
    if augment is None or augment is False:
        return None
    if isinstance(augment, Augmentation):
        return augment
    if augment is True:
        return PRESETS["default"]
    if not isinstance(augment, str):
        raise bad_argument(
            "augment", "None, True, a preset's name or an Augmentation", augment, error=TypeError
        )
    return PRESETS[check_choice("augment", augment, tuple(PRESETS))]
