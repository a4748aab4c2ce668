"""An image and its objects turned, scaled and cropped onto a canvas, by axis-aligned moves alone.

So a mask needs no interpolation until it is resized once, from its own pixels, by area.
"""

import dataclasses
import functools

import numpy as np

from keras_seg.data.letterbox import blank_canvas
from keras_seg.data.resizing import resize_areas, resize_image


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where an image comes to lie: first transposed, then mirrored, then scaled, then cropped or padded.

    `Placement(image_size, canvas_size, Letterbox(image_size, canvas_size).content_size)` is what `Letterbox`
    does.

    Args:
        image_size: (height, width).
        canvas_size: (height, width).
        content_size: (height, width) of the turned image after scaling. What is larger than the canvas is
            cropped; what is smaller lies at its top left.
        start: (y, x), whole pixels: the canvas's place in the content.
        transpose: bool. Rows become columns.
        flips: (bool, bool). Upside down, left to right. With `transpose`, all eight turns and mirror images.
    """

    image_size: tuple
    canvas_size: tuple
    content_size: tuple
    start: tuple = (0, 0)
    transpose: bool = False
    flips: tuple = (False, False)

    @functools.cached_property
    def turned_size(self):
        """(height, width) of the turned image before scaling."""
        return self.image_size[::-1] if self.transpose else self.image_size

    @functools.cached_property
    def scale(self):
        """(y, x), factor from the turned image's pixels to the canvas's."""
        return tuple(part / side for part, side in zip(self.content_size, self.turned_size, strict=True))

    @functools.cached_property
    def visible_size(self):
        """(height, width) of the canvas that the image covers, from the top left."""
        sizes = zip(self.content_size, self.start, self.canvas_size, strict=True)
        return tuple(min(part - start, side) for part, start, side in sizes)

    @functools.cached_property
    def window(self):
        """What is visible, xyxy in pixels of the turned image: four floats."""
        y, x = (start / scale for start, scale in zip(self.start, self.scale, strict=True))
        bottom, right = (
            (start + side) / scale
            for start, side, scale in zip(self.start, self.visible_size, self.scale, strict=True)
        )
        height, width = self.turned_size
        return x, y, min(right, width), min(bottom, height)

    def image(self, image):
        """The canvas, (height, width, C) of the image's dtype, from an image (H, W, C)."""
        height, width = self.visible_size
        size = (width, height) if self.transpose else (height, width)
        # Turned after resizing: the canvas is mostly the smaller of the two.
        resized = resize_image(image, size, self._unturned(self.window), self.transpose, self.flips)
        if self.visible_size == self.canvas_size:
            return resized
        canvas = blank_canvas(self.canvas_size, image.shape[2], image.dtype)
        canvas[:height, :width] = resized
        return canvas

    def boxes(self, boxes):
        """Boxes (K, 4) of the image as boxes of the canvas, not clipped, float64."""
        boxes = np.asarray(boxes, "float64").reshape(-1, 4)
        if self.transpose:
            boxes = boxes[:, [1, 0, 3, 2]]
        height, width = self.turned_size
        if self.flips[0]:
            boxes = np.stack([boxes[:, 0], height - boxes[:, 3], boxes[:, 2], height - boxes[:, 1]], axis=1)
        if self.flips[1]:
            boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
        y, x = self.start
        return boxes * self._factors - (x, y, x, y)

    def visible_part(self, mask, box):
        """What is left of one mask inside the canvas.

        Args:
            mask: bool (h, w), in the image's own orientation.
            box: float array (4,), the mask's place on the canvas, as from `boxes`.

        Returns:
            Pair: share of the mask's area that is visible, and the tight box around that on the canvas.
        """
        turned = self._turned(mask)
        height, width = self.visible_size
        origin = box[[0, 1, 0, 1]]
        # In pixels of the turned mask: the part of it that the canvas shows.
        x1, y1, x2, y2 = (np.array([0, 0, width, height]) - origin) / self._factors
        rows, columns = _cover(y1, y2, turned.shape[0]), _cover(x1, x2, turned.shape[1])
        share = float(rows @ turned @ columns) / np.count_nonzero(mask)
        shown = turned & (rows > 0)[:, None] & (columns > 0)
        if share <= 0 or not shown.any():
            return 0.0, np.zeros(4)
        ys, xs = np.nonzero(shown.any(axis=1))[0], np.nonzero(shown.any(axis=0))[0]
        tight = np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1]) * self._factors + origin
        return share, tight.clip(0, [width, height, width, height])

    def soft_mask(self, mask, box, visible, size):
        """A box's mask of one size, by the mean of what each of its pixels covers.

        Args:
            mask: bool (h, w), in the image's own orientation.
            box: float array (4,), the mask's place on the canvas, as from `boxes`.
            visible: float array (4,), the box on the canvas that the result spans.
            size: (height, width).

        Returns:
            float32 (height, width), within 0..1.
        """
        part = None if (visible == box).all() else (visible - box[[0, 1, 0, 1]]) / self._factors
        return resize_areas(self._turned(mask), size, part)

    @functools.cached_property
    def _factors(self):
        return np.array([*self.scale[::-1], *self.scale[::-1]])

    def _turned(self, array):
        array = array.swapaxes(0, 1) if self.transpose else array
        return array[:: -1 if self.flips[0] else 1, :: -1 if self.flips[1] else 1]

    def _unturned(self, box):
        """A box of the turned image in the image itself."""
        x1, y1, x2, y2 = box
        height, width = self.turned_size
        if self.flips[0]:
            y1, y2 = height - y2, height - y1
        if self.flips[1]:
            x1, x2 = width - x2, width - x1
        return (y1, x1, y2, x2) if self.transpose else (x1, y1, x2, y2)


def _cover(start, stop, pixels):
    """How much of each pixel lies between `start` and `stop`, float64 (pixels,)."""
    places = np.arange(pixels)
    return np.minimum(stop, places + 1).clip(places, None) - np.maximum(start, places).clip(None, places + 1)
