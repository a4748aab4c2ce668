"""Boxes laid on their feature maps, and the maps as one table of vectors: what RoIAlign and RoIPool share."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_seg.ops.boxes import float_boxes, sizes_differ
from keras_seg.ops.fast import refuse_symbolic
from keras_seg.ops.pyramid_levels import assign_pyramid_levels, level_numbers
from keras_seg.ops.row_gather import take_rows
from keras_seg.utils.validation import bad_argument, check_positive, check_rank

# The layers that do in the functional API what these ops do with tensors.
LAYERS = {
    "roi_align": "keras_seg.layers.RoIAlign",
    "multilevel_roi_align": "keras_seg.layers.RoIAlign",
    "roi_pool": "keras_seg.layers.RoIPool",
    "multilevel_roi_pool": "keras_seg.layers.RoIPool",
}


class Regions(NamedTuple):
    """Boxes, flat over the batch, each with its place in the table of feature vectors.

    Row `first_rows + y * widths + x` of the table is pixel (y, x) of the map that the box lies on. One table
    holds every image and every level of a pyramid, so one gather serves boxes of all of them.

    Attributes:
        boxes: tensor (B, 4), xyxy in pixels of the box's own map, float32.
        heights: tensor (B,), int32. That map's height.
        widths: tensor (B,), int32. That map's width.
        first_rows: tensor (B,), int32. The table's row of that map's pixel (0, 0).
    """

    boxes: Any
    heights: Any
    widths: Any
    first_rows: Any


def lay_on_map(op, features, boxes, spatial_scale):
    """Check a call's tensors and lay the boxes on a single map.

    Args:
        op: str. The op's public name, for the error messages.
        features: tensor (N, H, W, C), floating point.
        boxes: tensor (N, K, 4), xyxy in absolute pixels of the image.
        spatial_scale: float. Map pixels per image pixel.

    Returns:
        Triple of the table (N * H * W, C), the regions, and the leading output axes (N, K).
    """
    spatial_scale = check_positive("spatial_scale", spatial_scale)
    (features,), boxes = _checked_maps(op, {"features": features}, boxes)
    batch, height, width, channels = ops.shape(features)
    count = ops.shape(boxes)[1]
    image = ops.broadcast_to(ops.arange(batch, dtype="int32")[:, None], (batch, count))
    first_rows = ops.reshape(image * (height * width), (-1,))
    regions = Regions(
        boxes=ops.reshape(boxes, (-1, 4)) * spatial_scale,
        heights=ops.zeros_like(first_rows) + height,
        widths=ops.zeros_like(first_rows) + width,
        first_rows=first_rows,
    )
    return ops.reshape(features, (-1, channels)), regions, (batch, count)


def lay_on_pyramid(op, features, boxes, canonical_size, canonical_level):
    """Check a call's tensors and lay each box on the one level of a pyramid that fits its size.

    Args:
        op: str. The op's public name, for the error messages.
        features: dict of level name to tensor (N, H, W, C), floating point.
        boxes: tensor (N, K, 4), xyxy in absolute pixels of the image.
        canonical_size: float. Side of the box that belongs to `canonical_level`.
        canonical_level: int.

    Returns:
        As `lay_on_map`; the table holds, for each image in turn, each level in turn.
    """
    numbers = level_numbers("features", features)
    maps, boxes = _checked_maps(op, maps_by_argument({name: features[name] for name in numbers}), boxes)
    batch, count = ops.shape(boxes)[:2]
    channels = maps[0].shape[-1]
    heights = [ops.shape(level)[1] for level in maps]
    widths = [ops.shape(level)[2] for level in maps]
    starts = [0]
    for height, width in zip(heights, widths, strict=True):
        starts.append(starts[-1] + height * width)

    smallest = min(numbers.values())
    levels = assign_pyramid_levels(
        boxes, smallest, max(numbers.values()), canonical_size=canonical_size, canonical_level=canonical_level
    )
    position = ops.reshape(levels - smallest, (-1,))

    def of_each_box(values, dtype="int32"):
        if all(isinstance(value, (int, float)) for value in values):  # sizes are known: a constant
            return take_rows(np.array(values, dtype), position)
        return take_rows(ops.stack([ops.cast(value, dtype) for value in values]), position)

    scale = of_each_box([2.0**-number for number in numbers.values()], "float32")
    image = ops.broadcast_to(ops.arange(batch, dtype="int32")[:, None], (batch, count))
    regions = Regions(
        boxes=ops.reshape(boxes, (-1, 4)) * scale[:, None],
        heights=of_each_box(heights),
        widths=of_each_box(widths),
        first_rows=ops.reshape(image * starts[-1], (-1,)) + of_each_box(starts[:-1]),
    )
    table = ops.concatenate([ops.reshape(level, (batch, -1, channels)) for level in maps], axis=1)
    return ops.reshape(table, (-1, channels)), regions, (batch, count)


def output_of(operation, table, regions, leading):
    """Run an operation on a table and regions, and give its result the call's shape.

    Args:
        operation: callable from table (T, C) and B regions to a tensor (B, h, w, C) of the table's dtype,
            with `output_size`.
        table, regions, leading: what `lay_on_map` returns.

    Returns:
        Tensor (N, K, h, w, C), the table's dtype.
    """
    if any(isinstance(count, int) and count == 0 for count in leading):
        # An empty part of the table, so that a gradient of zeros reaches the features.
        return ops.reshape(table[:0], (*leading, *operation.output_size, table.shape[-1]))
    result = operation(table, regions)
    return ops.reshape(result, (*leading, *result.shape[1:]))


def wide_dtype(values):
    """The dtype to compute in: float32, or float64 for values of that."""
    return "float64" if keras.backend.standardize_dtype(values.dtype) == "float64" else "float32"


def check_maps(named, boxes_shape):
    """Raise a ValueError unless maps and boxes fit each other, as far as their shapes are known.

    Args:
        named: dict of the argument, as the user would write it, to a map's shape and dtype.
        boxes_shape: tuple.
    """
    first = None
    for name, (shape, dtype) in named.items():
        check_rank(name, shape, 4, "(N, H, W, C)")
        if not keras.backend.is_float_dtype(dtype):
            raise bad_argument(f"{name}.dtype", "a floating-point type", dtype, "Cast the features first.")
        first = first or (name, shape, dtype)
        if dtype != first[2]:
            raise bad_argument(f"{name}.dtype", f"{first[2]} like that of `{first[0]}`", dtype)
        if sizes_differ(shape[-1], first[1][-1]):
            expected = f"(N, H, W, {first[1][-1]}), as many channels as `{first[0]}` has"
            raise bad_argument(f"{name}.shape", expected, tuple(shape))
        if sizes_differ(shape[0], first[1][0]):
            expected = f"({first[1][0]}, H, W, C), as many images as `{first[0]}` has"
            raise bad_argument(f"{name}.shape", expected, tuple(shape))
    if len(boxes_shape) != 3 or boxes_shape[-1] not in (4, None):
        raise bad_argument("boxes.shape", "(N, K, 4)", tuple(boxes_shape))
    if first is not None and sizes_differ(first[1][0], boxes_shape[0]):
        expected = f"({first[1][0]}, K, 4), K boxes for each image of `{first[0]}`"
        raise bad_argument("boxes.shape", expected, tuple(boxes_shape))


def maps_by_argument(features):
    """The maps of a pyramid or a single one, each by the words that name it in an error: a dict."""
    if isinstance(features, dict):
        return {f'features["{name}"]': level for name, level in features.items()}
    return {"features": features}


def _checked_maps(op, named, boxes):
    """The maps, a list, and the boxes as tensors, boxes in float32 and cut off from the gradient.

    Args:
        op: str.
        named: dict of the argument, as the user would write it, to a map.
        boxes: what the user gave.
    """
    refuse_symbolic(op, LAYERS[op], boxes, *named.values())
    maps = [_as_tensor(name, value) for name, value in named.items()]
    kinds = [(tuple(value.shape), keras.backend.standardize_dtype(value.dtype)) for value in maps]
    boxes = float_boxes("boxes", _as_tensor("boxes", boxes), "(N, K, 4)")
    check_maps(dict(zip(named, kinds, strict=True)), tuple(boxes.shape))
    # No gradient reaches the boxes: the paper's RoIAlign takes them as given, and so does torchvision.
    return maps, ops.stop_gradient(boxes)


def _as_tensor(name, value):
    if value is None or isinstance(value, (str, dict)):
        raise bad_argument(name, "a tensor", value, error=TypeError)
    return ops.convert_to_tensor(value)
