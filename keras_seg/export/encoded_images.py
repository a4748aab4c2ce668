"""Encoded images to pixels by TensorFlow's stock ops, as `keras_seg.data.read_image` reads files."""


def decode(encoded, channels):
    """float32 (h, w, channels), 0..255, from PNG, JPEG, BMP or the first frame of a GIF.

    As `keras_seg.data.read_image` reads them, except that the EXIF orientation of a photograph is not
    applied: 16-bit PNG is divided by 257, grey is made by the ITU-R 601 luma, alpha is dropped unless the
    model has four channels.

    Args:
        encoded: string tensor (), the file's bytes.
        channels: 1, 3 or 4.
    """
    import tensorflow as tf

    # Asked for one channel, the ops refuse CMYK, GIF and BMP.
    wanted = 3 if channels == 1 else channels

    def png():
        # 8-bit samples come as multiples of 257, which the division gives back exactly.
        return tf.cast(tf.io.decode_png(encoded, wanted, tf.uint16), tf.float32) / 257

    def jpeg():
        # The op's default is a faster transform that is off by up to 6 grey values from libjpeg's own.
        return tf.cast(tf.io.decode_jpeg(encoded, wanted, dct_method="INTEGER_ACCURATE"), tf.float32)

    def other():
        return tf.cast(tf.io.decode_image(encoded, wanted, expand_animations=False), tf.float32)

    cases = [(tf.strings.substr(encoded, 0, 4) == b"\x89PNG", png)]
    if wanted == 3:
        cases.append((tf.io.is_jpeg(encoded), jpeg))
    image = tf.ensure_shape(tf.case(cases, default=other), (None, None, wanted))
    if channels == 1:
        red, green, blue = tf.split(image, 3, axis=-1)
        # 0.299 r + 0.587 g + 0.114 b, written so that a grey image stays exactly what it is.
        image = red + 0.587 * (green - red) + 0.114 * (blue - red)
    return image
