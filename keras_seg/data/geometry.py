"""Where each pixel of an augmented crop comes from: flip, rotation, scale, shift and elastic in one map.

All moves make one inverse map from pixels of the crop to places in the image, so that the image is
interpolated once and the cost is that of the crop. Angles turn counter-clockwise as seen on the screen.
"""

import tensorflow as tf


def crop_start(draw, image_side, crop_side, random):
    """First whole row (or column) of a crop: uniform over all that fit, or the middle one.

    A crop larger than the image has the image in its middle; `start` is negative then.

    Args:
        draw: float32 scalar tensor in [0, 1).
        image_side, crop_side: int32 scalar tensors.
        random: bool. False takes the middle.
    """
    slack = image_side - crop_side
    middle = tf.math.floordiv(slack, 2)
    if not random:
        return middle
    uniform = tf.cast(draw * tf.cast(slack + 1, "float32"), "int32")
    return tf.where(slack > 0, tf.minimum(uniform, slack), middle)


def flipped_range(start, count, flip):
    """The `count` indices from `start` on, backwards where `flip`, a scalar boolean tensor, is true."""
    indices = start + tf.range(count)
    return tf.where(flip, tf.reverse(indices, [0]), indices)


def inverse_map(crop_size, center, flips, scale, angle, displacement=None):
    """Places in the image for every pixel of a crop.

    A pixel's offset from the middle of the crop is displaced, divided by the scale, turned and flipped, and
    then counted from `center`.

    Args:
        crop_size: pair of int or int32 scalars, (h, w).
        center: pair of float32 scalars (y, x), the place in the image that the crop's middle shows.
        flips: pair of boolean scalars, upside down and left to right.
        scale: float32 scalar; at 2 things look twice as large.
        angle: float32 scalar, radians.
        displacement: float32 (2, h, w) or None. Added to the offsets (y, x), in pixels of the crop.

    Returns:
        y, x: float32 tensors (h, w).
    """
    y, x = (_offsets(side) for side in crop_size)
    y, x = y[:, None], x[None, :]
    if displacement is not None:
        y, x = y + displacement[0], x + displacement[1]
    cosine, sine = tf.cos(angle) / scale, tf.sin(angle) / scale
    up, left = (tf.where(flip, -1.0, 1.0) for flip in flips)
    return center[0] + up * (cosine * y + sine * x), center[1] + left * (cosine * x - sine * y)


def elastic_displacement(vectors, crop_size):
    """Smooth displacement of every pixel from random vectors on a coarse grid, by bicubic interpolation.

    The grid spans the crop from corner to corner. The bicubic kernel is Catmull-Rom (Keys, a = -0.5), which
    passes through the grid's vectors exactly; beyond the grid its edge vectors are repeated. Written as two
    products with small matrices, which is much cheaper than `tf.image.resize` and puts grid points on the
    corners, where `resize` puts them half a cell inside. Source: U-Net, section 3.1.

    Args:
        vectors: float32 (2, g, g), displacements (y, x) in pixels.
        crop_size: pair of int or int32 scalars, (h, w).

    Returns:
        float32 (2, h, w).
    """
    grid = vectors.shape[-1]
    rows, columns = (_catmull_rom(side, grid) for side in crop_size)
    return tf.einsum("yi,kij,xj->kyx", rows, vectors, columns)


def _offsets(side):
    side = tf.cast(side, "float32")
    return tf.range(side) - (side - 1) / 2


def _catmull_rom(side, grid):
    """Interpolation weights (side, grid) from `grid` points spread evenly over `side` pixels."""
    side = tf.cast(side, "float32")
    places = tf.range(side) * (grid - 1) / tf.maximum(side - 1, 1)
    first = tf.minimum(tf.floor(places), grid - 2)
    t = places - first
    kernel = (
        t * (-0.5 + t * (1 - 0.5 * t)),
        1 + t * t * (1.5 * t - 2.5),
        t * (0.5 + t * (2 - 1.5 * t)),
        t * t * (0.5 * t - 0.5),
    )
    weights = 0.0
    for tap, weight in enumerate(kernel):
        point = tf.clip_by_value(tf.cast(first, "int32") + tap - 1, 0, grid - 1)
        weights += weight[:, None] * tf.one_hot(point, grid)
    return weights
