"""Masks of boxes at the image's size as PNG, by TensorFlow's stock ops.

The rules are those of `keras_seg.inference`: a mask is computed where its box is, one at a time, and of masks
that are mostly hidden nothing is drawn.
"""

THRESHOLD = 0.5


def id_map_png(masks, boxes, image_size, count):
    """The map of objects as a 16-bit PNG: what `Detections.id_map` gives.

    Args:
        masks: float32 (D, m, n), probabilities.
        boxes: float32 (D, 4), xyxy in pixels of the image; may reach beyond it.
        image_size: int32 (2,), (height, width).
        count: int32 (). The first `count` objects are painted.

    Returns:
        string tensor ().
    """
    import tensorflow as tf

    def paint(index, ids):
        window, (top, left, bottom, right) = _pasted(masks[index], boxes[index], image_size)
        under = ids[top:bottom, left:right]
        shows = tf.logical_and(window, under == 0)
        half_shows = 2 * tf.math.count_nonzero(shows) >= tf.math.count_nonzero(window)
        shows = tf.logical_and(shows, half_shows)
        painted = tf.where(shows, tf.cast(index + 1, tf.int32), under)
        band = tf.concat([ids[top:bottom, :left], painted, ids[top:bottom, right:]], axis=1)
        return index + 1, tf.concat([ids[:top], band, ids[bottom:]], axis=0)

    _, ids = tf.while_loop(
        lambda index, _: index < count,
        paint,
        (0, tf.zeros(image_size, tf.int32)),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None])),
        parallel_iterations=1,
    )
    return tf.io.encode_png(tf.cast(ids, tf.uint16)[..., None])


def mask_pngs(masks, boxes, image_size, count):
    """Each mask as an 8-bit PNG of the image's size, 255 where the object is.

    Args:
        masks, boxes, image_size: as for `id_map_png`.
        count: int32 (). Objects; later rows are padding.

    Returns:
        string tensor (D,), empty in padding rows.
    """
    import tensorflow as tf

    def encode(index):
        window, (top, left, bottom, right) = _pasted(masks[index], boxes[index], image_size)
        margins = [[top, image_size[0] - bottom], [left, image_size[1] - right]]
        full = tf.pad(tf.where(window, tf.constant(255, tf.uint8), tf.constant(0, tf.uint8)), margins)
        return tf.io.encode_png(full[..., None])

    return tf.map_fn(
        lambda index: tf.cond(index < count, lambda: encode(index), lambda: tf.constant("", tf.string)),
        tf.range(tf.shape(masks)[0]),
        parallel_iterations=4,
        fn_output_signature=tf.string,
    )


def _pasted(mask, box, image_size):
    """A mask where its box is: bool (h, w), and the place (top, left, bottom, right) of it in the image."""
    import tensorflow as tf

    x1, y1, x2, y2 = tf.unstack(box)
    low, high = tf.stack([y1, x1]), tf.stack([y2, x2])
    has_area = tf.reduce_all(tf.logical_and(tf.math.is_finite(high - low), high > low))
    low, high = (tf.where(has_area, ends, tf.zeros_like(ends)) for ends in (low, high))
    reach = (high - low) / tf.cast(tf.shape(mask), tf.float32) / 2
    limits = tf.cast(image_size, tf.float32)
    first = tf.cast(tf.clip_by_value(tf.floor(low - reach), 0.0, limits), tf.int32)
    last = tf.cast(tf.clip_by_value(tf.math.ceil(high + reach), 0.0, limits), tf.int32)
    rows = _resizing(low[0], high[0], mask.shape[0], first[0], last[0])
    columns = _resizing(low[1], high[1], mask.shape[1], first[1], last[1])
    values = tf.matmul(tf.matmul(rows, mask), columns, transpose_b=True)
    return values >= THRESHOLD, (first[0], first[1], last[0], last[1])


def _resizing(low, high, size, first, last):
    """The matrix that resizes `size` values to the span `low`..`high` of pixels from `first` to `last`."""
    import tensorflow as tf

    centres = tf.cast(tf.range(first, last), tf.float32) + 0.5
    # Where a box has no area there are no pixels, and nothing to divide.
    places = tf.math.divide_no_nan(centres - low, high - low) * size - 0.5
    distances = tf.abs(places[:, None] - tf.range(size, dtype=tf.float32))
    return tf.nn.relu(1 - distances)
