"""Boxes of a Mask R-CNN's region proposal network, in each image's own pixels."""

import keras
import numpy as np
import pytest

from keras_seg import unet
from keras_seg.inference import RegionProposals, predict_proposals
from tests.models.tiny_detector import tiny


@pytest.fixture(scope="module")
def finder():
    keras.utils.set_random_seed(0)
    return RegionProposals(tiny(2))


IMAGE = np.random.default_rng(0).integers(0, 256, (40, 80, 3)).astype("uint8")


def _boxes(finder, **settings):
    for name, value in {"count": 40, "enlarge": 1.0, "min_side": 0.0, **settings}.items():
        setattr(finder, name, value)
    return finder(IMAGE)


def test_boxes_lie_in_the_image_and_are_the_networks(finder):
    boxes = _boxes(finder, count=30)
    assert boxes.dtype == np.float32 and 0 < len(boxes) <= 30
    assert (boxes >= 0).all() and (boxes <= [80, 40, 80, 40]).all()
    # 80 pixels are shrunk to 64, so an anchor of 8 pixels is at least 10 wide where nothing cuts it.
    assert (boxes[:, 2:] - boxes[:, :2]).max() > 10


def test_count_size_and_enlargement(finder):
    plain = _boxes(finder)
    large = _boxes(finder, enlarge=2.0)
    np.testing.assert_allclose(large[:, 2:] - large[:, :2], 2 * (plain[:, 2:] - plain[:, :2]), rtol=1e-4)
    np.testing.assert_array_equal(_boxes(finder, count=5), plain[:5])
    sides = (plain[:, 2:] - plain[:, :2]).min(axis=1)
    least = float(np.median(sides))
    np.testing.assert_array_equal(_boxes(finder, min_side=least), plain[sides >= least])


def test_a_semantic_network_runs_on_them(finder):
    finder.count = 6
    network = unet(3, (32, 32, 3), filters=2, depth=1)
    assert predict_proposals(network, IMAGE, finder, output="classes").shape == IMAGE.shape[:2]


def test_errors(finder):
    with pytest.raises(TypeError, match="`model` must be a MaskRCNN"):
        RegionProposals(keras.Sequential([keras.layers.Dense(1)]))
    with pytest.raises(ValueError, match=r"`image` must be an image \(H, W, 3\)"):
        finder(IMAGE[..., :1])
    with pytest.raises(ValueError, match="`count`"):
        RegionProposals(finder.model, count=0)
