"""Segmentation of images of any size, tile by tile, within a bounded memory.

A network with padding="valid" is tiled as in the U-Net paper (Ronneberger et al. 2015, figure 2): the image
is extended by mirroring so that the output covers all of it, and the tiles' corners lie on one pooling grid,
so that the result is the one of the network run once on the whole mirrored image. A network with
padding="same" sees zeros beyond its tile's edge: its tiles overlap, the outer quarter of each overlap is
thrown away and the two answers are blended linearly across the middle half. At the edges of the image it
sees what it sees untiled; mirrored pixels only fill up a tile that reaches beyond the image.
"""

import functools
import itertools
import os
from typing import NamedTuple

import numpy as np

from keras_seg.inference.augmentation import mean_over, moves_for
from keras_seg.inference.image_files import open_image, open_output, read_output, release_pages
from keras_seg.inference.network import GRID, SemanticNetwork, class_dtype, classes_from_probabilities
from keras_seg.utils.progress import progress_bar
from keras_seg.utils.validation import bad_argument, check_choice, check_integer, check_pair

SAME_TILE = 512
VALID_TILE = 572  # the paper's input tile


class _Axis(NamedTuple):
    """How one axis of the image is cut: tiles of `size` input pixels, whose outputs begin at `starts`."""

    length: int
    size: int
    border: int
    starts: list
    weights: list

    def source(self, index):
        """Pixels of the image that tile `index` covers, mirrored at the edges without repeating the edge."""
        first = self.starts[index] - self.border
        period = max(1, 2 * (self.length - 1))
        wrapped = np.arange(first, first + self.size) % period
        return np.minimum(wrapped, period - wrapped) if self.length > 1 else np.zeros(self.size, int)


def predict_tiled(
    model,
    image,
    *,
    tile_size=None,
    overlap=None,
    batch_size=4,
    output="probabilities",
    out=None,
    augment=None,
    progress=True,
):
    """Segment one image of any size by running `model` on tiles of it.

    The image is walked in bands of one row of tiles. In memory are one band of the input, one band of
    tile_height x W x K float32 sums, and one batch: 20,000 pixels wide with 2 classes that is 80 MB. With a
    path as `image` and as `out`, an image on disk becomes a map on disk.

    A network with padding="valid" gives the answer of one run on the whole mirrored image, to float32
    rounding. For padding="same" the answer is also the untiled one where overlap / 4 pixels of context are
    all that the network uses, and else a smooth blend; tile sizes that are multiples of 32 keep the pooling
    grids of all tiles together. An image that fits into one tile is run as it is. Reference: overlap-tile
    strategy, Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597, section 2.

    Args:
        model: a semantic keras.Model, (N, H, W, C) in, logits (N, h, w, K) out. Its sizes may be free or
            fixed, its padding "same" or "valid".
        image: array-like (H, W) or (H, W, C), 0..255, also `np.memmap`; or the path of a .npy file or of a
            one-page TIFF file, which are not loaded whole. Values are taken as they are, but those of
            16-bit files are divided by 257.
        tile_size: int or (height, width), default None. Size of an input tile. None takes the model's own
            size if that is fixed, else 512, or the largest size up to 572 that a valid network takes.
        overlap: int, default None. Least number of output pixels shared by neighbouring tiles. None takes a
            quarter of the tile for padding="same" (128 of 512: blended 32 to 96 pixels away from a tile's
            edge, about the reach of a four-level U-Net) and what the pooling grid needs for "valid".
        batch_size: int, default 4. Tiles run at once.
        output: str. "probabilities" (default) or "logits": float32 (H, W, K). "classes": (H, W), uint8, or
            uint16 beyond 256 classes.
        out: where the result goes. None (default): a new array. An array of the right shape and type, also a
            `np.memmap`. Or a path ending in .npy or .tif, written under another name until it is whole.
        augment: None (default), "mirror" or "all". Mean over each tile and its mirror image, or over its
            eight flips and quarter turns, as `test_time_augmentation` does: 2 or 8 times the work.
        progress: bool, default True. Show tiles done and time left when on a terminal.

    Returns:
        The array, `out` if that is an array, or for a path the file memory-mapped read-only.

    Raises:
        ValueError: an image with other channels than the model's, NaN or infinity in it, a tile size that the
            model does not take (the message names the nearest), an overlap above half a tile, or `out` of
            another shape or type.

    Example:

        >>> classes = predict_tiled(model, "slide.tif", output="classes", out="slide_classes.tif")
    """
    check_choice("output", output, ("probabilities", "logits", "classes"))
    check_integer("batch_size", batch_size)
    if augment and output == "logits":
        raise bad_argument(
            "output", '"probabilities" or "classes" with augment', output, "Means are of probabilities."
        )
    network = SemanticNetwork(model)
    with open_image(image) as (source, divisor):
        _check_channels(source.shape, network.channels)
        rows, columns = _cut(network, source.shape[:2], tile_size, overlap)
        shape = source.shape[:2] if output == "classes" else (*source.shape[:2], network.num_classes)
        dtype = class_dtype(network.num_classes) if output == "classes" else "float32"
        with (
            open_output(out, shape, dtype) as target,
            progress_bar(disable=not progress) as bar,
        ):
            task = bar.add_task("Tiles", total=len(rows.starts) * len(columns.starts))
            predict = _predictor(network, output, augment, lambda tiles: bar.advance(task, tiles))
            read = functools.partial(_read, source, divisor)
            for first, values in _bands(read, rows, columns, predict, batch_size, network):
                _write(target, first, values, output)
                release_pages(source)
                release_pages(target)
    return read_output(out, shape) if isinstance(out, (str, os.PathLike)) else target


def _check_channels(shape, channels):
    received = shape[2] if len(shape) == 3 else 1
    if received != channels:
        raise bad_argument(
            "image",
            f"an image of {channels} channels, as the model takes",
            f"shape {tuple(shape)}",
            "Grey becomes colour by np.repeat(image[..., None], 3, -1).",
        )


def _cut(network, lengths, tile_size, overlap):
    """Choose the tile of each axis, and cut both axes."""
    asked = None if tile_size is None else check_pair("tile_size", tile_size)
    if network.static_size:
        if asked not in (None, network.static_size):
            raise bad_argument(
                "tile_size", f"None or {network.static_size}, the size the model was built for", tile_size
            )
        margins = network.margin(network.static_size)
        tiles = [(size, margin, None) for size, margin in zip(network.static_size, margins, strict=True)]
    elif network.takes_any_size:
        sizes = asked or (SAME_TILE, SAME_TILE)
        tiles = [(min(size, length), 0, None) for size, length in zip(sizes, lengths, strict=True)]
    else:
        sizes = asked or (None, None)
        tiles = [_fitting_tile(network, *axis) for axis in zip(lengths, sizes, strict=True)]
    return [_cut_axis(length, *tile, overlap) for length, tile in zip(lengths, tiles, strict=True)]


def _fitting_tile(network, length, asked):
    """(size, margin, grid) of the tile of one axis, for a network that takes certain sizes only."""
    near = asked or VALID_TILE
    sizes, margin, stride = network.valid_sizes(near)
    below = [size for size in sizes if size <= near]
    if asked is not None and asked not in sizes:
        nearest = [*below[-1:], *[size for size in sizes if size > near][:1]]
        raise bad_argument(
            "tile_size", "a size that the network takes", asked, f"The nearest are {nearest}, {stride} apart."
        )
    largest = below[-1] if below else sizes[0]
    if asked is None:
        # A small image needs no larger tile than itself and its border.
        needed = largest - max(0, largest - length - margin) // stride * stride
        largest = next(size for size in range(needed, largest + 1, stride) if network.margin((size, size)))
    return largest, margin, stride


def _cut_axis(length, size, margin, grid, overlap):
    if margin % 2:
        raise bad_argument(
            "model", "a network that loses the same border on all sides", f"a loss of {margin}"
        )
    span = size - margin
    if span >= length:
        return _Axis(length, size, margin // 2, [0], [np.ones(span, "float32")])
    if overlap is None:
        overlap = 0 if margin else span // 4
    overlap = check_integer("overlap", overlap, minimum=0)
    if overlap > span // 2:
        raise bad_argument("overlap", f"at most {span // 2}, half of the output of a tile", overlap)
    room = span - overlap
    if grid is None:
        # The stride is not known: a power of two is taken that fits, and that divides a padded tile.
        grid = min(GRID, 1 << (room.bit_length() - 1), GRID if margin else size & -size)
    if room < grid:
        needed = -(-(overlap + grid - span) // grid) * grid + size
        raise bad_argument("tile_size", f"at least {needed}, for a stride of {grid} beside the overlap", size)
    step = room // grid * grid
    # The last tile is drawn back until it ends at the image's edge, as nearly as the grid lets it.
    last = -(-(length - span) // grid) * grid
    starts = [*range(0, last, step), last]
    return _Axis(length, size, margin // 2, starts, _weights(starts, span))


def _weights(starts, span):
    """Each tile's share in the blend along one axis; the shares of the tiles over a pixel add up to one."""
    weights = [np.ones(span, "float32") for _ in starts]
    for left, (start, following) in enumerate(itertools.pairwise(starts)):
        shared = start + span - following
        dropped = shared // 4
        blended = shared - 2 * dropped
        ramp = np.zeros(shared, "float32")
        ramp[shared - dropped :] = 1
        ramp[dropped : shared - dropped] = (np.arange(blended) + 0.5) / max(1, blended)
        weights[left][span - shared :] = np.minimum(weights[left][span - shared :], 1 - ramp)
        weights[left + 1][:shared] = ramp
    total = np.zeros(starts[-1] + span, "float32")
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + span] += weight
    return [weight / total[start : start + span] for start, weight in zip(starts, weights, strict=True)]


def _predictor(network, output, augment, advance):
    run = network.logits if output == "logits" else network.probabilities
    moves = moves_for(network.takes_quarter_turns, augment)

    def predict(tiles, count):
        answers = mean_over(moves, run, tiles)
        advance(count)
        return answers[:count]

    return predict


def _bands(read, rows, columns, predict, batch_size, network):
    """Yield (first row, float32 array (n, W, K)) from top to bottom; the array is used again for the next."""
    span = len(rows.weights[0])
    sums = np.zeros((span, columns.length, network.num_classes), "float32")
    batches = -(-len(columns.starts) // batch_size)
    batch_size = -(-len(columns.starts) // batches)  # as few filling tiles as can be
    tiles = np.zeros((batch_size, rows.size, columns.size, network.channels), "float32")
    for band, start in enumerate(rows.starts):
        pixels = read(rows.source(band))
        for first in range(0, len(columns.starts), batch_size):
            group = range(first, min(first + batch_size, len(columns.starts)))
            for place, index in enumerate(group):
                tiles[place] = pixels[:, columns.source(index)]
            for index, answer in zip(group, predict(tiles, len(group)), strict=True):
                left = columns.starts[index]
                right = min(left + answer.shape[1], columns.length)
                share = rows.weights[band][:, None, None] * columns.weights[index][: right - left, None]
                sums[:, left:right] += answer[:, : right - left] * share
        finished = (rows.starts[band + 1] if band + 1 < len(rows.starts) else rows.length) - start
        yield start, sums[:finished]
        sums[: span - finished] = sums[finished:].copy()
        sums[span - finished :] = 0


def _read(source, divisor, wanted):
    first, last = int(wanted.min()), int(wanted.max()) + 1
    pixels = np.asarray(source[first:last])
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError(
            f"`image` must have finite values. Rows {first} to {last - 1} have NaN or infinity in them."
        )
    if divisor != 1:
        pixels = pixels.astype("float32") / np.float32(divisor)
    return pixels.reshape(last - first, pixels.shape[1], -1)[wanted - first]


def _write(target, first, values, output):
    """Write a band in thin slices: the whole band's class ids would pass through eight bytes each."""
    for top in range(0, len(values), 64):
        part = values[top : top + 64]
        target[first + top : first + top + len(part)] = (
            classes_from_probabilities(part) if output == "classes" else part
        )
