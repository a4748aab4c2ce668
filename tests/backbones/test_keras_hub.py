"""Backbones of KerasHub from a preset under each kind of network, and a preset's scaling of pixels."""

import warnings

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as numbers

from keras_seg import fcn, mask_rcnn, unet
from tests.harness import assert_reloads_equal, pixels

SCALE, OFFSET = [1 / 58.0, 1 / 57.0, 1 / 56.0], [-2.1, -2.0, -1.8]


@pytest.fixture(scope="module")
def keras_hub():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        return pytest.importorskip("keras_hub")


@pytest.fixture(scope="module")
def preset(keras_hub, tmp_path_factory):
    """A folder of a backbone and of what its images are scaled by, as KerasHub keeps them."""
    folder = str(tmp_path_factory.mktemp("preset"))
    keras.utils.set_random_seed(0)
    small_resnet(keras_hub).save_to_preset(folder)
    keras_hub.layers.ResNetImageConverter(scale=SCALE, offset=OFFSET).save_to_preset(folder)
    return folder


def small_resnet(keras_hub):
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 16, 24, 32],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )


def test_a_presets_weights_and_scaling(keras_hub, preset, tmp_path):
    backbone = keras_hub.models.Backbone.from_preset(preset)
    converter = keras_hub.layers.ImageConverter.from_preset(preset)
    images = keras.Input((None, None, 3))
    scaled = keras.layers.Rescaling(converter.scale, converter.offset)(images)
    encoder = keras.Model(images, keras.Model(backbone.input, backbone.pyramid_outputs)(scaled))
    keras.utils.set_random_seed(0)
    model = fcn(4, backbone=encoder, variant="16s")
    keras.utils.set_random_seed(0)
    plain = fcn(4, backbone=backbone, variant="16s", include_rescaling=False)
    for network in (model, plain):
        for layer in network.layers:
            # Score layers start at zero, and would answer alike to anything.
            if isinstance(layer, keras.layers.Conv2D) and not np.any(numbers(layer.kernel)):
                layer.kernel.assign(np.random.default_rng(0).normal(size=layer.kernel.shape))
    batch = pixels(2, 65, 96, 3)
    expected = plain.predict(batch * np.array(SCALE, "float32") + np.array(OFFSET, "float32"), verbose=0)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(
        model.predict(batch, verbose=0), expected, rtol=0, atol=1e-4 * np.abs(expected).max()
    )
    assert_reloads_equal(model, batch, tmp_path)


def test_unet_and_mask_rcnn(keras_hub, tmp_path):
    model = unet(3, filters=2, depth=5, backbone=small_resnet(keras_hub), normalization="batch")
    assert_reloads_equal(model, pixels(1, 33, 49, 3), tmp_path)
    detector = mask_rcnn(
        2, (64, 64, 3), backbone=small_resnet(keras_hub), pyramid_filters=8, head_units=8, mask_filters=8
    )
    found = detector.predict(pixels(1, 64, 64, 3), verbose=0)
    assert found["boxes"].shape == (1, 100, 4) and np.isfinite(found["boxes"]).all()
