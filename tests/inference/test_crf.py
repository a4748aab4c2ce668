"""The CRF: its lattice beside loops and beside the Gaussian itself, its labels beside the authors' code."""

import time

import numpy as np
import pytest

from keras_seg.inference import dense_crf
from keras_seg.inference.permutohedral import PermutohedralLattice

pytestmark = pytest.mark.tf_only


def lattice_loops(features, values):
    """The paper's algorithm point by point in float64, with a dictionary for the lattice."""
    count, d = features.shape
    scale = [np.sqrt(2 / 3) * (d + 1) / np.sqrt((i + 1) * (i + 2)) for i in range(d)]
    corners_of, lattice = [], {}
    for feature, value in zip(features, values, strict=True):
        point, total = np.zeros(d + 1), 0.0
        for i in range(d, 0, -1):
            part = feature[i - 1] * scale[i - 1]
            point[i], total = total - i * part, total + part
        point[0] = total
        nearest = np.round(point / (d + 1)) * (d + 1)
        excess = round(nearest.sum() / (d + 1))
        order = sorted(range(d + 1), key=lambda i: -(point[i] - nearest[i]))
        # Where rounding gave too much, the coordinates that it raised most give back; and the reverse.
        for i in order[d + 1 - excess :] if excess > 0 else order[:-excess] if excess < 0 else []:
            nearest[i] -= np.sign(excess) * (d + 1)
        rest = point - nearest
        order = sorted(range(d + 1), key=lambda i: -rest[i])
        highest = rest[order]
        weights = [(highest[d - k] - highest[d - k + 1]) / (d + 1) for k in range(1, d + 1)]
        weights.insert(0, 1 - sum(weights))
        corners = []
        for k in range(d + 1):
            key = nearest + k
            key[order[d + 1 - k :]] -= d + 1
            corners.append((tuple(key.astype(int)), weights[k]))
            lattice[corners[-1][0]] = lattice.get(corners[-1][0], 0) + weights[k] * value
        corners_of.append(corners)
    for axis in range(d + 1):
        blurred = {}
        for key, value in lattice.items():
            blurred[key] = value
            for sign in (-1, 1):
                other = np.array(key) + sign
                other[axis] -= sign * (d + 1)
                blurred[key] = blurred[key] + 0.5 * lattice.get(tuple(other), 0)
        lattice = blurred
    result = [sum(w * lattice[key] for key, w in corners) for corners in corners_of]
    return np.array(result) / (1 + 2.0**-d)


@pytest.mark.parametrize("dimension", [1, 2, 3, 5])
def test_lattice_is_the_papers(dimension):
    rng = np.random.default_rng(dimension)
    features = rng.uniform(-3, 3, (60, dimension))
    values = rng.normal(size=(60, 2))
    received = PermutohedralLattice(features).filter(values)
    # Sums of at most 60 x 6 float32 terms of size 1.
    np.testing.assert_allclose(received, lattice_loops(features, values), atol=2e-5)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_lattice_approximates_the_gaussian(dimension):
    """Normalized, as it is used; the lattice is an approximation: 2 % of the values' spread on average."""
    rng = np.random.default_rng(0)
    features = rng.uniform(0, 4, (3000, dimension))
    values = np.sin(features.sum(axis=1, keepdims=True)).astype("float32")
    distances = sum(np.square(f[:, None] - f[None]) for f in features.T)
    gaussian = np.exp(-0.5 * distances)
    lattice = PermutohedralLattice(features)
    received = lattice.filter(values) / lattice.filter(np.ones_like(values))
    expected = gaussian @ values / gaussian.sum(axis=1, keepdims=True)
    assert np.abs(received - expected).mean() < 0.02 * np.ptp(values)


def scene(height=12, width=16):
    """Image and probabilities by integer arithmetic, which any other program can repeat."""
    y, x, c = np.mgrid[:height, :width, :3]
    image = ((7 * y + 3 * x + 50 * c) % 40 + 120 * (x > 6)).astype("uint8")
    scores = 1.0 + (5 * y + 11 * x + 3 * c) % 13 + 6 * (c == (x > 6))
    return image, (scores / scores.sum(axis=-1, keepdims=True)).astype("float32")


def test_is_the_authors_code():
    """Values of pydensecrf2 1.1, which wraps it: DenseCRF2D, Gaussian 3 px, weight 0.3; bilateral 20 px, 3,
    weight 0.5; 3 steps."""
    image, probabilities = scene()
    received = dense_crf(probabilities, image, iterations=3, smooth_weight=0.3, bilateral_weight=0.5)
    np.testing.assert_allclose(received[::5, ::5], AUTHORS, atol=2e-6)


def test_labels_follow_the_image():
    rng = np.random.default_rng(0)
    truth = np.zeros((60, 80), int)
    truth[15:45, 20:60] = 1
    image = np.where(truth[..., None] == 1, 200, 40) + rng.normal(0, 2, (60, 80, 3))
    right = rng.uniform(size=truth.shape) < 0.7
    seen = np.where(right, truth, 1 - truth)
    probabilities = np.where(np.arange(2) == seen[..., None], 0.7, 0.3)
    refined = dense_crf(probabilities, image)
    assert refined.dtype == np.float32
    np.testing.assert_allclose(refined.sum(axis=-1), 1, atol=1e-5)
    assert (probabilities.argmax(-1) == truth).mean() < 0.75
    assert (refined.argmax(-1) == truth).mean() > 0.99


def test_no_steps_and_no_weights_change_nothing():
    image, probabilities = scene()
    for options in ({"iterations": 0}, {"smooth_weight": 0, "bilateral_weight": 0}):
        np.testing.assert_allclose(dense_crf(probabilities, image, **options), probabilities, atol=1e-6)


def test_a_class_of_probability_0_and_a_grey_image():
    image, probabilities = scene()
    probabilities[..., 2] = 0
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    refined = dense_crf(probabilities, image[..., 0])
    assert np.isfinite(refined).all()
    assert refined[..., 2].max() < 1e-3


@pytest.mark.slow
def test_time_is_linear_in_the_pixels():
    seconds = []
    for side in (128, 512):
        image, probabilities = scene(side, side)
        start = time.perf_counter()
        dense_crf(probabilities, image, iterations=2)
        seconds.append(time.perf_counter() - start)
    # 16 times the pixels; all pairs of them would take 256 times as long, sorting adds little.
    assert seconds[1] < 48 * seconds[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probabilities": np.ones((12, 16, 1))}, "`probabilities` must be of at least two classes"),
        ({"probabilities": np.ones((4, 4))}, r"`probabilities` must be probabilities \(H, W, K\)"),
        ({"probabilities": -np.ones((12, 16, 3))}, "`probabilities` must be"),
        ({"image": np.ones((9, 16, 3))}, r"`image` must be an image \(12, 16, C\)"),
        ({"iterations": -1}, "`iterations` must be"),
        ({"color_sigma": 0}, "`color_sigma` must be a number within"),
    ],
)
def test_errors(change, message):
    image, probabilities = scene()
    with pytest.raises(ValueError, match=message):
        dense_crf(**{"probabilities": probabilities, "image": image, **change})


def test_features_too_far_apart():
    with pytest.raises(ValueError, match="less far apart, by larger standard deviations"):
        PermutohedralLattice(np.array([[0.0] * 5, [1e6] * 5]))


AUTHORS = [
    [
        [0.442711, 0.202134, 0.355155],
        [0.414997, 0.242578, 0.342425],
        [0.174596, 0.500538, 0.324866],
        [0.274032, 0.644427, 0.081541],
    ],
    [
        [0.731317, 0.089457, 0.179226],
        [0.422253, 0.237822, 0.339925],
        [0.163271, 0.512672, 0.324057],
        [0.272073, 0.669042, 0.058885],
    ],
    [
        [0.764851, 0.067408, 0.167740],
        [0.431137, 0.220848, 0.348015],
        [0.154033, 0.509823, 0.336144],
        [0.260747, 0.706681, 0.032571],
    ],
]
