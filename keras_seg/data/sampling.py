"""Reading an image at given places: whole rows and columns for flips and crops, bilinear for the rest.

Places are in pixels of the image, (0, 0) the centre of its first pixel. Beyond the border the image is
mirrored, without repeating the edge pixel (d c b | a b c d | c b a).
"""

import tensorflow as tf


def mirror(places, size):
    """Fold places outside 0..size - 1 back inside, as mirrors at both edges would.

    Args:
        places: integer or float tensor.
        size: scalar tensor or int, the length of the axis.

    Returns:
        Tensor like `places`, within [0, size - 1].
    """
    last = tf.cast(size - 1, places.dtype)
    period = tf.maximum(2 * last, 1)
    return tf.abs(last - tf.abs(tf.math.floormod(places, period) - last))


def take(image, rows, columns):
    """Pixels at whole rows and columns, mirrored: an exact copy without interpolation.

    Args:
        image: tensor (H, W, ...).
        rows, columns: int32 tensors (h,) and (w,); any integers.

    Returns:
        Tensor (h, w, ...) of the image's dtype.
    """
    shape = tf.shape(image)
    return tf.gather(tf.gather(image, mirror(rows, shape[0]), axis=0), mirror(columns, shape[1]), axis=1)


def nearest(image, y, x):
    """The pixel nearest to each place; the dtype stays.

    Args:
        image: tensor (H, W).
        y, x: float32 tensors (h, w).

    Returns:
        Tensor (h, w) of the image's dtype.
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    rows = mirror(tf.cast(tf.round(y), "int32"), height)
    columns = mirror(tf.cast(tf.round(x), "int32"), width)
    return tf.gather(tf.reshape(image, (-1,)), rows * width + columns)


def bilinear(image, y, x):
    """Bilinear interpolation at each place.

    Args:
        image: tensor (H, W, C), uint8 or float32.
        y, x: float32 tensors (h, w).

    Returns:
        float32 tensor (h, w, C).
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    y, x = mirror(y, height), mirror(x, width)
    top, left = tf.floor(y), tf.floor(x)
    down, right = (y - top)[..., None], (x - left)[..., None]
    top, left = tf.cast(top, "int32"), tf.cast(left, "int32")
    pixels = tf.reshape(image, (-1, image.shape[-1]))

    def at(row, column):
        return tf.cast(tf.gather(pixels, row * width + column), "float32")

    # At the last row or column the further neighbour has weight 0, so any pixel inside will do.
    bottom, far = tf.minimum(top + 1, height - 1), tf.minimum(left + 1, width - 1)
    upper = at(top, left) * (1 - right) + at(top, far) * right
    lower = at(bottom, left) * (1 - right) + at(bottom, far) * right
    return upper * (1 - down) + lower * down
