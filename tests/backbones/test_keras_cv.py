"""A backbone of KerasCV under a U-Net: its pyramid is taken, and its own rescaling is left to it."""

import pytest

from keras_seg import unet
from tests.harness import assert_reloads_equal, import_keras_cv, pixels, small_keras_cv_resnet


@pytest.fixture(scope="module")
def keras_cv():
    return import_keras_cv()


def test_resnet(tmp_path):
    backbone = small_keras_cv_resnet()
    model = unet(5, filters=2, depth=5, backbone=backbone, normalization="batch")
    assert "rescaling" not in [layer.name for layer in model.layers]
    assert model.compute_output_shape((1, 33, 49, 3)) == (1, 33, 49, 5)
    assert_reloads_equal(model, pixels(1, 33, 49, 3), tmp_path)
