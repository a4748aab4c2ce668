"""Boxes laid on their feature maps, and the maps as one table of vectors: what RoIAlign and RoIPool share."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_seg.ops.boxes import float_boxes
from keras_seg.ops.fast import refuse_symbolic
from keras_seg.ops.pyramid_levels import assign_pyramid_levels, level_numbers
from keras_seg.utils.validation import bad_argument, check_number, check_rank

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
    check_number("spatial_scale", spatial_scale)
    if spatial_scale <= 0:
        raise bad_argument("spatial_scale", "a positive number", spatial_scale)
    features, boxes = _checked_maps(op, {"features": features}, boxes)
    (features,) = features.values()
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
    features, boxes = _checked_maps(op, features, boxes)
    maps = [features[name] for name in numbers]
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
        return ops.take(ops.stack([ops.cast(value, dtype) for value in values]), position, axis=0)

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
    """Run an operation on a table and regions in float32 or more; its result in the call's shape and dtype.

    Args:
        operation: callable from table (T, C) and B regions to a tensor (B, h, w, C), with `output_size`.
        table, regions, leading: what `lay_on_map` returns.

    Returns:
        Tensor (N, K, h, w, C), the table's dtype.
    """
    if any(isinstance(count, int) and count == 0 for count in leading):
        # An empty part of the table, so that a gradient of zeros reaches the features.
        return ops.reshape(table[:0], (*leading, *operation.output_size, table.shape[-1]))
    dtype = keras.backend.standardize_dtype(table.dtype)
    wide = table if dtype == "float64" else ops.cast(table, "float32")
    result = operation(wide, regions)
    return ops.cast(ops.reshape(result, (*leading, *result.shape[1:])), dtype)


def _checked_maps(op, features, boxes):
    """The maps and the boxes as tensors, boxes in float32 and cut off from the gradient."""
    refuse_symbolic(op, LAYERS[op], boxes, *features.values())
    features = {name: _as_tensor(name, value) for name, value in features.items()}
    boxes = float_boxes("boxes", _as_tensor("boxes", boxes), "(N, K, 4)")
    first = next(iter(features.values()))
    for name, value in features.items():
        check_rank(name, value.shape, 4, "(N, H, W, C)")
        dtype = keras.backend.standardize_dtype(value.dtype)
        if not keras.backend.is_float_dtype(dtype):
            raise bad_argument(f"{name}.dtype", "a floating-point type", dtype, "Cast the features first.")
        if value.dtype != first.dtype:
            wanted = keras.backend.standardize_dtype(first.dtype)
            raise bad_argument(f"{name}.dtype", f"{wanted} like the first level's", dtype)
        if value.shape[-1] != first.shape[-1]:
            raise bad_argument(
                f"{name}.shape", f"(N, H, W, {first.shape[-1]}) like the first level", value.shape
            )
        if None not in (value.shape[0], boxes.shape[0]) and value.shape[0] != boxes.shape[0]:
            expected = f"({value.shape[0]}, K, 4), K boxes for each image of `{name}`"
            raise bad_argument("boxes.shape", expected, tuple(boxes.shape))
    # No gradient reaches the boxes: the paper's RoIAlign takes them as given, and so does torchvision.
    return features, ops.stop_gradient(boxes)


def _as_tensor(name, value):
    if value is None or isinstance(value, (str, dict)):
        raise bad_argument(name, "a tensor", value, error=TypeError)
    return ops.convert_to_tensor(value)
