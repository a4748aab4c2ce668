"""The portable form of suppression: boxes by falling score, decided one tile after the other.

A tile is held against the boxes kept so far, then against itself. That is K times the number kept, in blocks
that a compiler fuses into one loop; memory is K plus one block. Shapes are fixed, so it runs under jit.
"""

from keras import ops

from keras_seg.ops.fast import on_accelerator

# Boxes that are decided together. A block of pairs, 16384 floats, stays in the cache next to a core; on an
# accelerator each of the turns over blocks is a launch or more, and fewer are better.
TILE = 128
LARGE_TILE = 1024


def kept_by_tiles(boxes, valid, classes, iou_threshold, max_output):
    """The boxes that stay, for boxes that are already in order.

    Args:
        boxes: float32 (N, K, 4), by falling score.
        valid: bool (N, K): true for the first rows of an image, false for those that are never kept.
        classes: integers (N, K), or None for one class.
        iou_threshold: float, a value of float32.
        max_output: int.

    Returns:
        `(places, count)`: int32 (N, max_output), rows of the kept boxes in rising order, then -1; int32 (N,).
    """
    images, total = ops.shape(valid)
    most = min(max_output, total) if isinstance(total, int) else max_output
    # A tile may overshoot, and the last entry takes what is not kept: one tile more than can be asked for.
    side = _tile_side(total)
    capacity = -(-most // side) * side + side
    columns, valid = _columns(boxes, valid, classes, side)
    within = ops.arange(side, dtype="int32")

    def unfinished(tile, kept, count):
        return ops.logical_and(tile < tiles, ops.any(count < max_output))

    def decide_tile(tile, kept, count):
        rows = tile * side + within
        tile_columns = [ops.take(column, rows, axis=1) for column in columns]
        candidates = ops.logical_and(ops.take(valid, rows, axis=1), ops.expand_dims(count < max_output, 1))

        def drop(block, candidates):
            places = ops.take(kept, block * side + within, axis=1)
            better = [ops.take_along_axis(column, places, axis=1) for column in columns]
            dropped = ops.any(_overlaps(better, tile_columns, iou_threshold), axis=1)
            return ops.logical_and(candidates, ops.logical_not(dropped))

        candidates = ops.fori_loop(0, (ops.max(count) + side - 1) // side, drop, candidates)
        stays = _settle(candidates, _overlaps(tile_columns, tile_columns, iou_threshold))
        position = ops.expand_dims(count, 1) + ops.cumsum(ops.cast(stays, "int32"), axis=1) - 1
        # The last entry always holds "no box", so it may be read.
        kept = _write(kept, ops.where(stays, position, capacity - 1), ops.where(stays, rows, total))
        return tile + 1, kept, count + ops.sum(ops.cast(stays, "int32"), axis=1)

    # Valid rows come first: the last row that is valid in any image ends the work.
    tiles = (ops.sum(ops.cast(ops.any(valid, axis=0), "int32")) + side - 1) // side
    kept = ops.full((images, capacity), total, dtype="int32")
    start = (ops.convert_to_tensor(0, dtype="int32"), kept, ops.zeros((images,), dtype="int32"))
    _, kept, count = ops.while_loop(unfinished, decide_tile, start)
    kept = ops.pad(kept[:, :most], [[0, 0], [0, max_output - most]], constant_values=-1)
    return ops.where(kept == total, -1, kept), ops.minimum(count, max_output)


def _tile_side(total):
    """Boxes in a tile, of so many in an image."""
    if not on_accelerator():
        return TILE
    return min(LARGE_TILE, -(-total // TILE) * TILE) if isinstance(total, int) and total else LARGE_TILE


def _columns(boxes, valid, classes, side):
    """Corners, areas and classes as tensors (N, P), and `valid` (N, P), with rows of zeros from K on.

    There is at least one such row: row K stands for "no box". Without an area it overlaps nothing.
    """
    padding = [[0, 0], [0, side - ops.shape(valid)[1] % side]]
    x1, y1, x2, y2 = ops.unstack(ops.pad(boxes, [*padding, [0, 0]]), 4, axis=2)
    # Areas are made here, outside the loop, and not with `box_iou` inside it. A compiler that joins a product
    # with the sum it goes into does not round it (fused multiply-add), and IoU would differ in its last bit.
    columns = [x1, y1, x2, y2, (x2 - x1) * (y2 - y1)]
    if classes is not None:
        columns.append(ops.pad(classes, padding))
    return columns, ops.pad(valid, padding)


def _overlaps(first, second, iou_threshold):
    """Whether IoU exceeds the threshold (false for 0 / 0) and classes are the same, bool (N, T, T)."""
    left1, top1, right1, bottom1, area1, *class1 = [ops.expand_dims(column, 2) for column in first]
    left2, top2, right2, bottom2, area2, *class2 = [ops.expand_dims(column, 1) for column in second]
    width = ops.maximum(ops.minimum(right1, right2) - ops.maximum(left1, left2), 0.0)
    height = ops.maximum(ops.minimum(bottom1, bottom2) - ops.maximum(top1, top2), 0.0)
    shared = width * height
    above = shared / (area1 + area2 - shared) > iou_threshold
    return ops.logical_and(above, class1[0] == class2[0]) if class1 else above


def _settle(candidates, overlaps):
    """Which candidates of a tile stay: those that overlap no earlier one that stays.

    Each round settles at least one box more for good, and on most images three or four rounds settle all.
    """
    within = ops.arange(candidates.shape[1])
    drops = ops.logical_and(overlaps, ops.expand_dims(within, 1) < within)

    def settle(stays, _):
        dropped = ops.any(ops.logical_and(drops, ops.expand_dims(stays, 2)), axis=1)
        return ops.logical_and(candidates, ops.logical_not(dropped)), stays

    start = settle(candidates, candidates)
    return ops.while_loop(lambda stays, before: ops.any(stays != before), settle, start)[0]


def _write(kept, positions, values):
    """`kept` with `values` (N, T) at `positions` (N, T) of each image's row."""
    images = ops.expand_dims(ops.arange(ops.shape(kept)[0], dtype="int32"), 1)
    indices = ops.stack([ops.broadcast_to(images, ops.shape(positions)), positions], axis=2)
    return ops.scatter_update(kept, ops.reshape(indices, (-1, 2)), ops.reshape(values, (-1,)))
