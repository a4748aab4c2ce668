"""RoIAlign's sparse matrix on PyTorch: `embedding_bag`, which sums weighted rows without holding them."""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch.nn import functional

# Channels at a time of a table that has to be made wide first: a wide copy of all of it is twice its size.
CHANNELS = 64
# Numbers that `bag_largest` compares in the time that a turn of its loop takes to start.
NUMBERS_PER_TURN = 2**13


def bag_sums(table, bags):
    """Weighted sum of table rows for each bag, in float32 or, for a table of that, in float64.

    Args:
        table: tensor (T, C), floating point.
        bags: `ops.roi_bags.Bags`, R of them.

    Returns:
        Tensor (R, C), the table's dtype.
    """
    starts = bags.starts.to(bags.sources.dtype)

    def product(part):
        weights = bags.weights.to(part.dtype)
        return functional.embedding_bag(bags.sources, part, starts, mode="sum", per_sample_weights=weights)

    if table.dtype in (torch.float32, torch.float64):
        return product(table)
    sums = table.new_empty((len(starts), table.shape[1]))
    for part, narrow in zip(sums.split(CHANNELS, 1), table.split(CHANNELS, 1), strict=True):
        part.copy_(product(narrow.float()))
    return sums


def bag_sums_gradient(upstream, bags, rows):
    """What the gradient of `bag_sums` adds to each table row.

    The same sum over the transposed matrix: the entries in order of their table row are bags of the
    upstream's rows. PyTorch's own gradient writes to the table entry by entry and takes three times as long.

    Args:
        upstream: tensor (R, C).
        bags: as in `bag_sums`.
        rows: int. T.

    Returns:
        Tensor (T, C).
    """
    order = torch.argsort(bags.sources, stable=True)
    counts = torch.bincount(bags.sources, minlength=rows)
    starts = (torch.cumsum(counts, 0) - counts).to(bags.targets.dtype)
    weights = bags.weights[order].to(upstream.dtype)
    return functional.embedding_bag(
        bags.targets[order], upstream, starts, mode="sum", per_sample_weights=weights
    )


def bag_maxima(table, bags):
    """Largest value of each bag in each channel, the first of equal ones.

    Args:
        table: tensor (T, C), float32 or float64.
        bags: `ops.roi_bags.Bags`, R of them.

    Returns:
        Pair of tensors (R, C): the values, 0 for an empty bag, and the table rows that they come from, int32,
        -1 for an empty bag.
    """
    starts = bags.starts.to(bags.sources.dtype)
    ends = torch.cat([starts[1:], starts.new_full((1,), len(bags.sources))])
    # PyTorch's kernel for CPUs takes one core: each core gets its share of the entries.
    parts = 1 if table.is_cuda else torch.get_num_threads()
    shares = torch.arange(1, parts, device=starts.device) * len(bags.sources) // parts
    bounds = [0, *torch.searchsorted(starts, shares.to(starts.dtype)).tolist(), len(starts)]

    @torch.no_grad()  # a new thread begins with gradients
    def maxima(first, last):
        if first == last:
            return table[:0], table[:0].int()
        begin, end = starts[first], ends[last - 1]
        found = torch.embedding_bag(table, bags.sources[begin:end], starts[first:last] - begin, mode=2)
        empty = (starts[first:last] == ends[first:last])[:, None]
        return found[0], found[3].int().masked_fill_(empty, -1)  # mode 2 is "max"

    with ThreadPoolExecutor(parts) as threads:
        largest, sources = zip(*threads.map(maxima, bounds[:-1], bounds[1:]), strict=True)
    return torch.cat(largest), torch.cat(sources)


def largest_serve(table):
    """Whether `bag_largest` does: on a CPU, of a table without a NaN that no gradient is asked for."""
    if table.device.type != "cpu" or (torch.is_grad_enabled() and table.requires_grad):
        return False
    return not table.numel() or not bool(table.sum(dtype=torch.float32).isnan())


def bag_largest(table, bags):
    """The values of `bag_maxima` alone, in half of its time: entry by entry, all bags at once.

    The longest bags come first, so that those which have another entry are always the first ones. Where a
    few are so long that hardly any goes on with them, as large boxes of one bin are, `bag_maxima` it is.

    Args:
        table: tensor (T, C), floating point, without a NaN.
        bags: `ops.roi_bags.Bags`, R of them.

    Returns:
        Tensor (R, C), 0 for an empty bag.
    """
    starts = bags.starts.long()
    counts = torch.diff(starts, append=starts.new_tensor([len(bags.sources)]))
    counts, order = torch.sort(counts, descending=True)
    if counts[:1].sum() * NUMBERS_PER_TURN > len(bags.sources) * table.shape[1]:
        wide = table if table.dtype == torch.float64 else table.float()
        return bag_maxima(wide, bags)[0].to(table.dtype)
    starts = starts[order]
    # How many bags have a first entry, a second and so on; the last of these numbers is 0.
    reached = (len(counts) - torch.cumsum(torch.bincount(counts, minlength=1), 0)).tolist()
    largest = table.new_empty((len(counts), table.shape[1]))
    largest[reached[0] :] = 0
    for entry, those in enumerate(reached[:-1]):
        rows = table.index_select(0, bags.sources[starts[:those] + entry])
        here = largest[:those]
        if entry:
            torch.maximum(here, rows, out=here)
        else:
            here.copy_(rows)
    return largest.index_select(0, torch.argsort(order))


def add_rows(table, index, rows):
    """The table with rows added at the indices; equal indices add up."""
    return table.index_add(0, index, rows)


def add_numbers(numbers, places, rows):
    """A table (rows, C) of sums: each number (R, C) is added in its own channel, in the row at its place.

    `keras.ops.segment_sum` repeats each place for each number of its row first, and takes four times as long.
    """
    return numbers.new_zeros((rows, numbers.shape[1])).scatter_add_(0, places.long(), numbers)
