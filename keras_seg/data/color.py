"""Changes of grey value and colour: brightness, contrast, saturation and hue as one small matrix, and gamma.

Images are float32, 0..255; values are clipped to that range at the end, not between.
"""

import math

import numpy as np
import tensorflow as tf

# RGB to luma and two colour axes (YIQ), the space in which a turn changes hue and nothing else.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], "float32")
_RGB = np.linalg.inv(_YIQ).astype("float32")


def change_color(image, brightness, contrast, gamma, saturation, hue):
    """Change an image's colours; None leaves a property out and costs nothing.

    Args:
        image: float32 tensor (H, W, C), 0..255, C 1 or 3.
        brightness: scalar or None. Added, as a share of 255.
        contrast: scalar or None. Factor of the distance to the image's mean.
        gamma: scalar or None. Exponent of the value divided by 255.
        saturation: scalar or None. Factor of the distance to grey; colour images only.
        hue: scalar or None. Turn in the I-Q plane of YIQ, degrees; colour images only.

    Returns:
        float32 tensor (H, W, C), 0..255.
    """
    if image.shape[-1] == 3 and (saturation is not None or hue is not None):
        image = tf.tensordot(image, _mixing(saturation, hue), axes=[[-1], [1]])
    if contrast is not None:
        mean = tf.reduce_mean(image)
        image = (image - mean) * contrast + mean
    if brightness is not None:
        image += 255 * brightness
    image = tf.clip_by_value(image, 0, 255)
    return image if gamma is None else 255 * (image / 255) ** gamma


def color_amounts(draws, limits):
    """The arguments of `change_color` for one sample; None for what does not change.

    Args:
        draws: five scalar tensors within [0, 1).
        limits: object with the numbers `brightness`, `contrast`, `gamma`, `saturation` and `hue`, as in
            `Augmentation`.
    """
    spreads = limits.contrast, limits.gamma, limits.saturation
    return (
        between(draws[0], -limits.brightness, limits.brightness) if limits.brightness else None,
        *(
            _factor(draw, spread) if spread else None
            for draw, spread in zip(draws[1:4], spreads, strict=True)
        ),
        between(draws[4], -limits.hue, limits.hue) if limits.hue else None,
    )


def between(draw, low, high):
    """A number of [low, high) from one of [0, 1)."""
    return low + draw * (high - low)


def _factor(draw, spread):
    reach = math.log1p(spread)
    return tf.exp(between(draw, -reach, reach))


def _mixing(saturation, hue):
    """The 3 x 3 matrix from RGB to RGB: to YIQ, a turn and a stretch there, and back."""
    stretch = 1.0 if saturation is None else saturation
    angle = tf.constant(0.0) if hue is None else hue * (math.pi / 180)
    cosine, sine = stretch * tf.cos(angle), stretch * tf.sin(angle)
    turn = tf.stack([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])
    return _RGB @ turn @ _YIQ
