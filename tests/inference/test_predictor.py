"""Lists of images of differing sizes."""

import numpy as np
import pytest

import keras_seg.inference.predictor as predictor
from keras_seg import unet
from keras_seg.inference import predict_classes, predict_probabilities, predict_tiled


def noise(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, shape).astype("uint8")


def test_each_image_is_predicted_at_its_own_size_and_in_order():
    model = unet(3, (None, None, 1), filters=2, depth=1)
    images = [noise(20, 33), noise(17, 16, 1), noise(20, 33) // 2, noise(20, 33) // 3]
    results = predict_probabilities(model, images, batch_size=2)
    for image, result in zip(images, results, strict=True):
        assert result.shape == (*image.shape[:2], 3) and result.dtype == np.float32
        np.testing.assert_allclose(result, predict_tiled(model, image), atol=1e-6)
    classes = predict_classes(model, images)
    assert [c.dtype for c in classes] == [np.uint8] * 4
    for result, ids in zip(results, classes, strict=True):
        np.testing.assert_array_equal(ids, result.argmax(-1))


@pytest.mark.parametrize("shape", [(32, 32, 3), (None, None, 3)])
def test_fixed_and_valid_networks_are_tiled(shape):
    model = unet(2, shape, filters=2, depth=1, padding="same" if shape[0] else "valid")
    images = [noise(40, 50, 3), noise(11, 12, 3)]
    for image, result in zip(images, predict_probabilities(model, images, augment="all"), strict=True):
        np.testing.assert_allclose(result, predict_tiled(model, image, augment="all"), atol=1e-6)


def test_large_images_are_tiled(monkeypatch):
    model, tiled = unet(2, (None, None, 1), filters=2, depth=1), []
    monkeypatch.setattr(predictor, "WHOLE_IMAGE_PIXELS", 400)
    monkeypatch.setattr(
        predictor, "predict_tiled", lambda model, image, **_: tiled.append(image.shape) or image * 0.0
    )
    predict_probabilities(model, [noise(20, 20), noise(20, 21)])
    assert tiled == [(20, 21, 1)]


def test_wrong_channels_are_named():
    with pytest.raises(ValueError, match=r"`images` must be images \(H, W, 3\)"):
        predict_classes(unet(2, filters=1, depth=1), [noise(8, 8)])
