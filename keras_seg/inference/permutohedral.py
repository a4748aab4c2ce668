"""Gaussian filtering of scattered points in time linear in their number: the permutohedral lattice.

A. Adams, J. Baek and A. Davis, "Fast high-dimensional filtering using the permutohedral lattice",
Eurographics 2010. Each point is spread over the d + 1 corners of the simplex that it lies in, the corners
are blurred along the lattice's d + 1 directions, and read back.
"""

import math

import numpy as np
from scipy import sparse

from keras_seg.utils.validation import bad_argument

# Lattice points are numbered by packing their coordinates into one integer.
_LARGEST_KEY = 2**62


class PermutohedralLattice:
    """A Gaussian filter of unit standard deviation over fixed points.

    Memory: about 8 (d + 1) bytes a point, and 4 K + 8 (d + 1) bytes a lattice point, of which there are at
    most (d + 1) times as many.

    Args:
        features: float array (N, d). The points, in units of the standard deviation.

    Raises:
        ValueError: points that lie too far apart to be numbered, or are not finite.
    """

    def __init__(self, features):
        features = np.asarray(features, "float64")
        if features.ndim != 2 or not features.size or not np.isfinite(features).all():
            raise bad_argument("features", "finite numbers (N, d), N and d at least 1", features.shape)
        corners, weights = _simplex(_on_plane(features))
        count, dimension = features.shape
        keys, strides = _pack(corners)
        points, rows = np.unique(keys, return_inverse=True)
        self._splat = sparse.csr_matrix(
            (
                weights.astype("float32").ravel(),
                rows.ravel().astype("int32"),
                np.arange(count + 1) * (dimension + 1),
            ),
            shape=(count, len(points)),
        )
        self._gather = self._splat.T.tocsr()
        self._neighbours = _neighbours(points, strides, dimension)
        # What the blur multiplies a constant by, by the paper's implementation.
        self._scale = np.float32(1 / (1 + 2.0**-dimension))

    def filter(self, values):
        """Sum of all points' values, weighted by the Gaussian of their distance; not normalized.

        Args:
            values: float32 array (N, K).

        Returns:
            float32 array (N, K).
        """
        # One row more, of zeros: the neighbour that does not exist.
        lattice = np.zeros((self._gather.shape[0] + 1, values.shape[1]), "float32")
        lattice[:-1] = self._gather @ np.asarray(values, "float32")
        for before, after in self._neighbours:
            lattice[:-1] += 0.5 * (lattice[before] + lattice[after])
        return (self._splat @ lattice[:-1]) * self._scale


def _on_plane(features):
    """Points of the hyperplane x_0 + ... + x_d = 0 at the lattice's scale, (N, d + 1)."""
    dimension = features.shape[1]
    steps = np.arange(1, dimension + 1)
    # The lattice blurs by a variance of 2/3 (d + 1)^2 in all (paper, section 4).
    scaled = features * (math.sqrt(2 / 3) * (dimension + 1) / np.sqrt(steps * (steps + 1)))
    sums = np.cumsum(scaled[:, ::-1], axis=1)[:, ::-1]
    after = np.concatenate([sums[:, 1:], np.zeros_like(sums[:, :1])], axis=1)
    return np.concatenate([sums[:, :1], after - steps * scaled], axis=1)


def _simplex(points):
    """The corners (N, d + 1, d) of each point's simplex, without their last coordinate, and their weights."""
    count, width = points.shape
    nearest = np.rint(points / width) * width
    excess = np.rint(nearest.sum(axis=1) / width).astype("int64")[:, None]
    difference = points - nearest
    order = np.argsort(-difference, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(width)[None], axis=1)
    # Rounded coordinates need not sum to zero: the ones that moved most go to the next multiple.
    rank = rank + excess
    wrap = (rank < 0).astype("int64") - (rank >= width)
    nearest, rank = nearest + wrap * width, rank + wrap * width
    # Barycentric weights are the gaps of the sorted remainders, the last closing the circle.
    remainders = np.empty((count, width))
    np.put_along_axis(remainders, rank, (points - nearest) / width, axis=1)
    weights = np.empty((count, width))
    weights[:, 0] = 1 + remainders[:, -1] - remainders[:, 0]
    weights[:, 1:] = (remainders[:, :-1] - remainders[:, 1:])[:, ::-1]
    # Corner k adds k to all coordinates and takes d + 1 from the k of the highest rank.
    corner = np.arange(width)[None, :, None]
    shifted = corner - width * (rank[:, None, :-1] > width - 1 - corner)
    return nearest.astype("int64")[:, None, :-1] + shifted, weights


def _pack(corners):
    """One integer for each corner (N, d + 1), and what a step along each coordinate adds to it."""
    width = corners.shape[1]
    # Room for the neighbours of the outermost, so that none is taken for another point.
    low, high = corners.min(axis=(0, 1)) - width, corners.max(axis=(0, 1)) + width
    spans = [int(span) for span in high - low + 1]
    if math.prod(spans) >= _LARGEST_KEY:
        raise bad_argument("features", "points less far apart, by larger standard deviations", spans)
    strides = np.array([math.prod(spans[i + 1 :]) for i in range(len(spans))], "int64")
    return (corners - low) @ strides, strides


def _neighbours(points, strides, dimension):
    """For each direction of the lattice, the rows of the points before and after; len(points) for none."""
    found = []
    for direction in range(dimension + 1):
        step = np.ones(dimension, "int64")
        if direction < dimension:
            step[direction] -= dimension + 1
        offset = int(step @ strides)
        found.append([_row_of(points, points + sign * offset) for sign in (-1, 1)])
    return found


def _row_of(points, keys):
    rows = np.searchsorted(points, keys)
    rows[rows == len(points)] = 0
    return np.where(points[rows] == keys, rows, len(points))
