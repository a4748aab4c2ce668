"""The letterbox of `keras_seg.data.letterbox` as TensorFlow ops, for sizes known only when the graph runs."""

import dataclasses

from keras_seg.data.letterbox import blank_canvas


@dataclasses.dataclass(frozen=True)
class GraphLetterbox:
    """How an image is resized, its shape kept, onto a canvas of one size, and boxes back.

    Args:
        image_size: int32 tensor (2,), (height, width).
        canvas_size: (height, width), integers.
    """

    image_size: object
    canvas_size: tuple

    @property
    def content_size(self):
        """int32 (2,): the image's on the canvas, rounded as Python rounds, at least 1."""
        import tensorflow as tf

        sides = tf.cast(self.image_size, tf.float64)
        scale = tf.reduce_min(tf.constant(self.canvas_size, tf.float64) / sides)
        return tf.maximum(1, tf.cast(tf.round(sides * scale), tf.int32))

    def canvas(self, image):
        """float32 (height, width, C) with an image float32 (h, w, C) at its top left.

        Resized values are not rounded to whole ones, as they are in a data pipeline of 8-bit images.
        """
        import tensorflow as tf

        height, width = self.canvas_size
        content = self.content_size
        resized = tf.image.resize(image, content, antialias=True)
        padded = tf.pad(resized, [[0, height - content[0]], [0, width - content[1]], [0, 0]])
        rows, columns = tf.range(height)[:, None, None], tf.range(width)[None, :, None]
        inside = tf.logical_and(rows < content[0], columns < content[1])
        blank = tf.constant(blank_canvas(self.canvas_size, image.shape[-1], "float32"))
        return tf.ensure_shape(tf.where(inside, padded, blank), (height, width, image.shape[-1]))

    def boxes_back(self, boxes):
        """Boxes float32 (..., 4) of the canvas in the image's pixels, not clipped to it."""
        import tensorflow as tf

        scale = tf.cast(self.content_size, tf.float64) / tf.cast(self.image_size, tf.float64)
        return boxes / tf.cast(tf.gather(scale, [1, 0, 1, 0]), tf.float32)
