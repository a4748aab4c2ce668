"""An image of any size on a canvas of one size, its shape kept, and boxes to the canvas and back.

Networks of a fixed input size are trained and run on such canvases.
"""

import dataclasses
import functools

import numpy as np

from keras_seg.data.resizing import resize_image
from keras_seg.utils.validation import bad_argument, check_pair

# ImageNet's mean colour, which is 0 after the usual preprocessing: what torchvision and Detectron2 pad with.
PADDING = (124, 116, 104)


@dataclasses.dataclass(frozen=True)
class Letterbox:
    """The image as large as the canvas allows, at its top left, and a constant colour on the rest.

    Boxes are float32 xyxy in pixels, continuous: pixel i spans i..i+1.

    Args:
        image_size: (height, width).
        canvas_size: int or (height, width).

    Attributes:
        content_size: (height, width) of the image on the canvas: rounded, at least 1.
        scale: (y, x), factor from the image's pixels to the canvas's along each axis. The two differ by what
            rounding does.

    Example:
        >>> letterbox = Letterbox((338, 500), (512, 512))
        >>> letterbox.content_size
        (346, 512)
        >>> letterbox.boxes_back([[0, 0, 512, 346]])
        array([[  0.,   0., 500., 338.]], dtype=float32)
    """

    image_size: tuple
    canvas_size: tuple

    def __post_init__(self):
        for name in ("image_size", "canvas_size"):
            object.__setattr__(self, name, check_pair(name, getattr(self, name)))

    @functools.cached_property
    def content_size(self):
        return scaled_size(self.image_size, fitting_scale(self.image_size, self.canvas_size))

    @functools.cached_property
    def scale(self):
        return tuple(part / side for part, side in zip(self.content_size, self.image_size, strict=True))

    def image(self, image):
        """The canvas with an image on it.

        Args:
            image: uint8 or float32 array (H, W, C), of `image_size`.

        Returns:
            Array (height, width, C) of the same dtype.

        Raises:
            ValueError: an image of another size.
        """
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[:2] != self.image_size:
            raise bad_argument("image.shape", f"({self.image_size[0]}, {self.image_size[1]}, C)", image.shape)
        canvas = blank_canvas(self.canvas_size, image.shape[2], image.dtype)
        height, width = self.content_size
        canvas[:height, :width] = resize_image(image, self.content_size)
        return canvas

    def boxes(self, boxes):
        """Boxes (..., 4) of the image as boxes of the canvas, float32."""
        return np.asarray(boxes, "float32") * self._factors

    def boxes_back(self, boxes):
        """Boxes (..., 4) of the canvas as boxes of the image, clipped to the image, float32."""
        height, width = self.image_size
        limits = np.array([width, height, width, height], "float32")
        return (np.asarray(boxes, "float32") / self._factors).clip(0, limits)

    @property
    def _factors(self):
        return np.array([*self.scale[::-1], *self.scale[::-1]], "float32")


def fitting_scale(image_size, canvas_size):
    """The largest factor by which an image still fits on a canvas; both (height, width)."""
    return min(part / side for part, side in zip(canvas_size, image_size, strict=True))


def scaled_size(image_size, scale):
    """(height, width) times a factor, in whole pixels, at least 1."""
    return tuple(max(1, round(side * scale)) for side in image_size)


def blank_canvas(size, channels, dtype):
    """An array (height, width, channels) of the padding's colour, grey unless it has three channels."""
    color = PADDING if channels == 3 else round(sum(PADDING) / len(PADDING))
    canvas = np.empty((*size, channels), dtype)
    # Row by row: filled pixel by pixel it takes ten times as long.
    canvas[...] = np.full((size[1], channels), color, dtype)
    return canvas
