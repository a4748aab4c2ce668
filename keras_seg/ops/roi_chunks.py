"""Loops over chunks of regions, so that what an op holds at a time does not grow with the number of boxes."""

from keras import ops

from keras_seg.ops.fast import native_form
from keras_seg.ops.roi_regions import Regions


def map_over_chunks(function, regions, size, kinds=None):
    """Apply a function of regions to chunks of them, and put the results together.

    Args:
        function: callable from Regions of b boxes to a tensor, or tuple of tensors, (b, ...).
        regions: Regions, B of them.
        size: int, scalar tensor or None. Boxes in a chunk; None takes all at once.
        kinds: None, or for each result of `function`, then a tuple, the shape and dtype of one box's part.
            Each chunk is then written where it belongs. Otherwise the chunks are kept until the last and
            joined, which needs memory for both, and on TensorFlow a list of tensors, which its clusters for
            XLA do not take.

    Returns:
        Tensor, or tuple of tensors, (B, ...).
    """
    if size is None:
        return function(regions)
    count = ops.shape(regions.boxes)[0]
    if kinds is not None:
        return tuple(_out_of_chunks(result, count) for result in _written(function, regions, size, kinds))
    results = ops.map(
        lambda parts: function(Regions(*parts)), tuple(_in_chunks(part, size) for part in regions)
    )
    if isinstance(results, tuple):
        return tuple(_out_of_chunks(result, count) for result in results)
    return _out_of_chunks(results, count)


def map_over_alike(function, regions, size, heights, widths, kinds=None):
    """`map_over_chunks` for a function whose loop takes as many turns as its tallest times its widest region.

    Regions of like heights, and among them of like widths, share a chunk, so that few turns are idle: a third
    as many for boxes of 16 to 400 pixels.

    Args:
        function, regions, size, kinds: as in `map_over_chunks`.
        heights, widths: tensors (B,), int32. Turns that each region needs along y and x.

    Returns:
        As `map_over_chunks`, in the order of `regions`.
    """
    order = ops.argsort(heights * (largest_of(widths) + 1) + widths)
    place = ops.argsort(order)
    ordered = Regions(*(ops.take(part, order, axis=0) for part in regions))
    results = map_over_chunks(function, ordered, size, kinds)
    if isinstance(results, tuple):
        return tuple(ops.take(result, place, axis=0) for result in results)
    return ops.take(results, place, axis=0)


def add_over_chunks(function, total, regions, size, *others):
    """Carry a total through chunks of regions.

    Args:
        function: callable from the total, Regions of b boxes and the others' rows (b, ...) to the new total.
        total: tensor. What is carried; its shape stays.
        regions: Regions, B of them.
        size: int, scalar tensor or None. Boxes in a chunk; None takes all at once.
        *others: tensors (B, ...). They are chunked like the regions; rows of zeros fill the last chunk.

    Returns:
        The total after the last chunk.
    """
    if size is None:
        return function(total, regions, *others)
    parts = [_in_chunks(part, size) for part in (*regions, *others)]
    fields = len(Regions._fields)

    def add(chunk, total):
        here = [part[chunk] for part in parts]
        return function(total, Regions(*here[:fields]), *here[fields:])

    return ops.fori_loop(0, ops.shape(parts[0])[0], add, total)


def even_chunk(count, most):
    """The size of chunk, up to `most`, that divides a known count; `most` where only small ones do.

    What fills up the last chunk is left out of the results by a copy of them all.
    """
    if not isinstance(count, int):
        return most
    if count <= most:
        return max(count, 1)
    return next((size for size in range(most, most // 2, -1) if count % size == 0), most)


def boxes_at_once(entries, most_entries, most_boxes):
    """How many boxes a chunk may have, where each is written down as a list of entries.

    Args:
        entries: tensor (B,), int32. Entries of each box.
        most_entries: int. Of a chunk; a single box may have more.
        most_boxes: int.

    Returns:
        int on PyTorch, scalar tensor elsewhere; from 1 to `most_boxes`.
    """
    bound = native_form("slice_bound") or (lambda size: size)
    largest = ops.maximum(largest_of(entries), 1)
    return bound(ops.clip(most_entries // largest, 1, most_boxes))


def largest_of(counts):
    """The largest of counts (B,), integers of at least 0; 0 of none."""
    # Not `ops.max(initial=0)`: Keras on PyTorch makes that 0 on the CPU, wherever the counts are.
    return ops.max(ops.pad(counts, [[1, 0]]))


def _written(function, regions, size, kinds):
    """What each result is, (chunks, size, ...), written chunk by chunk."""
    parts = [_in_chunks(part, size) for part in regions]
    chunks = ops.shape(parts[0])[0]

    def run(chunk, results):
        here = function(Regions(*(part[chunk] for part in parts)))
        place = ops.reshape(chunk, (1, 1))
        return tuple(
            ops.scatter_update(result, place, rows[None]) for result, rows in zip(results, here, strict=True)
        )

    results = tuple(ops.zeros((chunks, size, *shape), dtype=dtype) for shape, dtype in kinds)
    return ops.fori_loop(0, chunks, run, results)


def _in_chunks(rows, size):
    """(B, ...) as (chunks, size, ...), filled up with zeros; one chunk at least: a loop's body is traced."""
    count, rest = ops.shape(rows)[0], ops.shape(rows)[1:]
    chunks = (count + size - 1) // size
    chunks = max(chunks, 1) if isinstance(chunks, int) else ops.maximum(chunks, 1)
    missing = chunks * size - count
    if not isinstance(missing, int) or missing:
        rows = ops.concatenate([rows, ops.zeros((missing, *rest), dtype=rows.dtype)], axis=0)
    return ops.reshape(rows, (chunks, size, *rest))


def _out_of_chunks(rows, count):
    chunks, size, *rest = ops.shape(rows)
    rows = ops.reshape(rows, (chunks * size, *rest))
    known = all(isinstance(length, int) for length in (count, chunks, size))
    return rows if known and count == chunks * size else rows[:count]
