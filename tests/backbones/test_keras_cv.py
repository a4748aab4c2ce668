"""A backbone of KerasCV under a U-Net: its pyramid is taken, and its own rescaling is left to it."""

import warnings

import pytest

from keras_seg import unet
from tests.harness import assert_reloads_equal, pixels


@pytest.fixture(scope="module")
def keras_cv():
    with warnings.catch_warnings():
        # It is no longer developed, and warns of its own dependencies.
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras_cv")


def test_resnet(keras_cv, tmp_path):
    backbone = keras_cv.models.ResNetBackbone(
        stackwise_filters=[8, 16, 32, 64],
        stackwise_blocks=[1, 1, 1, 1],
        stackwise_strides=[1, 2, 2, 2],
        include_rescaling=True,
        input_shape=(None, None, 3),
    )
    model = unet(5, filters=2, depth=5, backbone=backbone, normalization="batch")
    assert "rescaling" not in [layer.name for layer in model.layers]
    assert model.compute_output_shape((1, 33, 49, 3)) == (1, 33, 49, 5)
    assert_reloads_equal(model, pixels(1, 33, 49, 3), tmp_path)
