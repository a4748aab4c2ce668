"""Anchors: the boxes that a region proposal network moves, laid over every pixel of every map."""

import dataclasses

import numpy as np
from keras import ops

from keras_seg.utils.validation import bad_argument, check_pair


def anchor_boxes(image_size, map_size, sizes, ratios=(0.5, 1.0, 2.0)):
    """The anchors of one map, centred at the corner of each of its pixels, row by row.

    At each pixel stand len(sizes) x len(ratios) anchors, all ratios' of the first size last: the order is
    ratio by ratio, and in it size by size. Sides are sqrt(size^2 / ratio) and ratio times that, the corners
    around the centre rounded to whole pixels.

    Reference:
        Ren et al., 2015, Faster R-CNN, section 3.1.1. Rounding, centres at corners and the distance of
        centres, floor(image / map), are torchvision's: its weights were trained with them.

    Args:
        image_size: (height, width), pixels, or one for both.
        map_size: (h, w), pixels of the map, or one for both; at most the image's.
        sizes: sequence of positive numbers: square roots of the anchors' areas, pixels.
        ratios: sequence of positive numbers: height over width.

    Returns:
        float32 NumPy array (h * w * len(ratios) * len(sizes), 4), xyxy in pixels; not clipped to the image.

    Raises:
        ValueError: sizes or ratios that are empty or not positive, or a map larger than the image.

    Example:
        >>> keras_seg.ops.anchor_boxes(64, 4, sizes=(32,), ratios=(1.0,))[1]
        array([ 0., -16., 32., 16.], dtype=float32)
    """
    return anchor_grid(image_size, map_size, sizes, ratios).boxes(np)


@dataclasses.dataclass(frozen=True)
class AnchorGrid:
    """The anchors of one map before they are laid out.

    A graph lays them out when it runs: as a constant, those of a 512 x 512 image are a megabyte in each of
    the many copies that TensorFlow makes of a graph.

    Attributes:
        corners: float32 NumPy array (A, 4), the anchors of the first pixel.
        strides: pair of ints (y, x), pixels of the image from one pixel of the map to the next.
        map_size: pair of ints (h, w).
    """

    corners: np.ndarray
    strides: tuple
    map_size: tuple

    def __len__(self):
        return self.map_size[0] * self.map_size[1] * len(self.corners)

    def boxes(self, library=ops):
        """What `anchor_boxes` returns, as an array of `library`, numpy or keras.ops."""
        y, x = (
            np.arange(pixels, dtype="float32")[:, None] * np.float32(stride)
            for pixels, stride in zip(self.map_size, self.strides, strict=True)
        )
        # By one sum of two small constants: a detector's graph lays out the anchors of five maps.
        down = y[:, None, None] * np.float32([0, 1, 0, 1])
        across = x[:, None] * np.float32([1, 0, 1, 0]) + self.corners
        return library.reshape(library.array(down) + library.array(across), (-1, 4))


def anchor_grid(image_size, map_size, sizes, ratios):
    """The grid of `anchor_boxes`, with the same arguments and errors."""
    image_size, map_size = check_pair("image_size", image_size), check_pair("map_size", map_size)
    sizes, ratios = _positive("sizes", sizes), _positive("ratios", ratios)
    if any(pixels > side for pixels, side in zip(map_size, image_size, strict=True)):
        raise bad_argument("map_size", f"at most the image's size, {image_size}", map_size)
    # In float32 from the start: one ratio's half side lies on .5, where float64 rounds the other way.
    heights = np.sqrt(ratios)[:, None] * sizes
    widths = (1 / np.sqrt(ratios))[:, None] * sizes
    corners = np.stack([-widths, -heights, widths, heights], axis=-1).reshape(-1, 4)
    corners = np.round(corners / 2)
    strides = tuple(side // pixels for side, pixels in zip(image_size, map_size, strict=True))
    return AnchorGrid(corners, strides, map_size)


def _positive(name, values):
    array = np.asarray(values, "float32")
    if array.ndim != 1 or not array.size or not (array > 0).all():
        raise bad_argument(name, "a sequence of positive numbers, at least one", values)
    return array
