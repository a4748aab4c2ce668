import keras
import numpy as np
import pytest

from keras_seg import unet
from keras_seg.backbones import alexnet, pyramid
from keras_seg.backbones.alex_net import classifier_features, preprocessing
from keras_seg.backbones.explicit_padding import dense_scores
from keras_seg.backbones.taps import halves_exactly
from tests.backbones.dense_classifier import assert_trunk_sees_the_surroundings_only, dense, head
from tests.backbones.torchvision_golden import assert_golden

PATHS = {
    "conv1": "features.0",
    "conv2": "features.3",
    "conv3": "features.6",
    "conv4": "features.8",
    "conv5": "features.10",
    "fc6": "classifier.1",
    "fc7": "classifier.4",
    "fc8": "classifier.6",
}


def test_equals_torchvision():
    classifier = alexnet(include_top=True)
    assert classifier.count_params() == 61_100_840
    assert classifier.compute_output_shape((2, 224, 224, 3)) == (2, 1, 1, 1000)
    assert classifier.compute_output_shape((2, 257, 320, 3)) == (2, 2, 4, 1000)
    assert_golden(classifier, "alexnet", PATHS.get, preprocessing)


@pytest.mark.tf_only
def test_levels():
    maps = pyramid(alexnet())
    # The first convolution has stride 4.
    assert {level: tensor.shape[-1] for level, tensor in maps.output.items()} == {
        "P2": 64,
        "P3": 192,
        "P4": 256,
        "P5": 256,
    }
    assert not halves_exactly(maps)
    assert unet(3, filters=2, backbone="alexnet").compute_output_shape((1, 123, 77, 3)) == (1, 123, 77, 3)


@pytest.mark.tf_only
def test_scores_are_those_of_the_windows():
    model = head(4, lambda features: dense_scores(classifier_features(features), 10, "fc8"))
    features = np.random.default_rng(0).normal(size=(1, 7, 8, 4)).astype("float32")
    received = model.predict(features, verbose=0)
    assert received.shape == (1, 2, 3, 10)
    windows = np.stack([features[0, i : i + 6, j : j + 6].ravel() for i in range(2) for j in range(3)])
    expected = dense(model, "fc8", dense(model, "fc7", dense(model, "fc6", windows)), relu=False)
    # Sums of 4096 products: sqrt(4096) 2^-24 = 4e-6 of their size in each of two layers.
    np.testing.assert_allclose(
        received[0].reshape(6, 10), expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )


@pytest.mark.tf_only
def test_trunk_sees_the_surroundings_only():
    # The receptive field is 195 pixels; unit 3 of 7 sees pixels 30 to 224 of a crop of 256.
    assert_trunk_sees_the_surroundings_only(alexnet(), side=256, unit=3)


@pytest.mark.tf_only
def test_padded_classifier_keeps_the_size():
    features = keras.Input((None, None, 4))
    model = keras.Model(features, classifier_features(features, padding="same"))
    assert model.compute_output_shape((1, 5, 3, 4)) == (1, 5, 3, 4096)


def test_errors():
    with pytest.raises(ValueError, match=r"`weights` must be None with alexnet.*from_torchvision\('alexnet'"):
        alexnet(weights="imagenet")
    with pytest.raises(ValueError, match=r"`padding` must be one of 'valid', 'same'"):
        classifier_features(keras.Input((None, None, 4)), padding="full")
