"""Suppression on TensorFlow's own kernels: by pairs of boxes near each other, found in a grid.

Shapes vary here, so XLA cannot compile it. `tf.image.non_max_suppression` compares each box with all that
were kept, in one thread, and knows no classes. The tiles, compiled by XLA, would be faster than both, but
TensorFlow Serving refuses such parts on CPUs unless told otherwise.
"""

import tensorflow as tf

from keras_seg.ops.suppression_pairs import STRIDE, pair_rows, places_of

# Boxes of an image that are decided in the first round. Later rounds take four times as many each: where few
# boxes stay, a small first round leaves little to do; where most stay, the number of rounds is small.
FIRST_ROUND = 256
# Most pairs of one round, which bounds memory: about 60 bytes a pair.
PAIRS = 2**19


def kept_by_pairs(boxes, valid, classes, iou_threshold, max_output):
    """`kept_by_tiles`, with the same arguments and results, for shapes that are known only at run time."""
    # Eager calls are 10 ms in place of 60 or more as a graph; within one, another graph only takes memory.
    kept = _kept_by_pairs if tf.inside_function() else _kept_as_graph
    return kept(boxes, valid, classes, iou_threshold, max_output)


def _kept_by_pairs(boxes, valid, classes, iou_threshold, max_output):
    rows = pair_rows(boxes, valid, classes, iou_threshold)
    images = tf.shape(valid)[0]

    def decide(kept, waiting, taken, limit):
        head, first, second = _overlapping(rows, waiting, limit, iou_threshold)
        stays = _settle(first, second, tf.size(waiting))
        dropped = tf.gather(waiting, tf.where(~stays))
        kept = tf.tensor_scatter_nd_update(kept, dropped, tf.zeros_like(dropped[:, 0], "bool"))
        image = tf.gather(rows.image, waiting)
        taken += tf.math.unsorted_segment_sum(tf.cast(stays[:head], "int32"), image[:head], images)
        wanted = stays[head:] & (tf.gather(taken, image[head:]) < max_output)
        waiting = tf.gather(waiting[head:], tf.where(wanted)[:, 0])
        return kept, waiting, taken, 4 * tf.minimum(limit, tf.size(kept))

    kept = tf.reshape(tf.transpose(valid), (-1,))
    waiting = tf.cast(tf.where(rows.active)[:, 0], "int32")
    vector = tf.TensorShape([None])
    kept, *_ = tf.while_loop(
        lambda kept, waiting, taken, limit: tf.size(waiting) > 0,
        decide,
        (kept, waiting, tf.zeros((images,), "int32"), FIRST_ROUND * images),
        shape_invariants=(vector, vector, vector, tf.TensorShape([])),
    )
    places, count = places_of(kept, images, max_output)
    return tf.ensure_shape(places, (valid.shape[0], max_output)), tf.ensure_shape(count, (valid.shape[0],))


_kept_as_graph = tf.function(_kept_by_pairs, reduce_retracing=True, autograph=False)


def _overlapping(rows, waiting, limit, iou_threshold):
    """How many waiting rows are decided now, and the pairs (first, second) where the first drops the second.

    The pairs are numbers of waiting rows; `first` is one of those that are decided now.
    """
    key = tf.gather(rows.key, waiting)
    order = tf.argsort(key)
    key = tf.gather(key, order)
    head = _leading(waiting, tf.minimum(limit, tf.size(waiting)))
    strips, lowest = tf.gather(rows.strips, head), tf.gather(rows.lowest, head)
    lowest = tf.raw_ops.RaggedRange(
        starts=lowest, limits=lowest + strips * STRIDE, deltas=tf.constant(STRIDE, "int64")
    )[1]
    asker = _repeated_rows(strips)
    highest = lowest + tf.gather(tf.gather(rows.span, head), asker)
    start, stop = _places(tf.raw_ops.LowerBound, key, lowest), _places(tf.raw_ops.UpperBound, key, highest)

    pairs = tf.gather(tf.cumsum(stop - start), tf.cumsum(strips) - 1)
    decided = tf.maximum(_places(tf.raw_ops.UpperBound, pairs, [PAIRS])[0], 1)
    windows = tf.reduce_sum(_leading(strips, decided))
    start, stop = _leading(start, windows), _leading(stop, windows)
    first = tf.gather(asker, _repeated_rows(stop - start))
    second = tf.raw_ops.RaggedRange(starts=start, limits=stop, deltas=1)[1]

    boxes = tf.gather(rows.boxes, waiting)
    left1, top1, right1, bottom1, area1 = tf.unstack(tf.gather(boxes, first), axis=1)
    left2, top2, right2, bottom2, area2 = tf.unstack(tf.gather(tf.gather(boxes, order), second), axis=1)
    width = tf.nn.relu(tf.minimum(right1, right2) - tf.maximum(left1, left2))
    height = tf.nn.relu(tf.minimum(bottom1, bottom2) - tf.maximum(top1, top2))
    shared = width * height
    above = tf.where(shared / (area1 + area2 - shared) > iou_threshold)[:, 0]
    first, second = tf.gather(first, above), tf.gather(order, tf.gather(second, above))
    drops = first < second
    if rows.label is not None:
        label = tf.gather(rows.label, waiting)
        drops &= tf.gather(label, first) == tf.gather(label, second)
    drops = tf.where(drops)[:, 0]
    return decided, tf.gather(first, drops), tf.gather(second, drops)


def _leading(rows, count):
    return tf.slice(rows, [0], [count])


def _places(bound, ordered, values):
    """Where values (M,) belong among ordered ones (K,): `tf.searchsorted` by fewer operations."""
    return tf.squeeze(bound(sorted_inputs=ordered[None], values=tf.expand_dims(values, 0)), 0)


def _repeated_rows(counts):
    """0, 0, 1, ...: each row's number as often as its count; fewer operations than `tf.repeat`."""
    return tf.cast(tf.where(tf.sequence_mask(counts))[:, 0], "int32")


def _settle(first, second, size):
    """Which of `size` rows stay, bool: those that no row that stays drops. A few rounds on most images."""

    def settle(stays, _):
        dropped = tf.math.unsorted_segment_max(tf.gather(stays, first), second, size)
        return tf.cast(dropped <= 0, "int32"), stays

    start = (tf.ones((size,), "int32"), tf.zeros((size,), "int32"))
    vector = tf.TensorShape([None])
    stays, _ = tf.while_loop(
        lambda stays, before: tf.reduce_any(stays != before), settle, start, shape_invariants=(vector, vector)
    )
    return stays > 0
