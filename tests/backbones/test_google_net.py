import numpy as np
import pytest

from keras_seg.backbones import googlenet, pyramid
from keras_seg.backbones.explicit_padding import averaged_scores
from keras_seg.backbones.google_net import classifier_features, preprocessing
from tests.backbones.dense_classifier import assert_trunk_sees_the_surroundings_only, dense, head
from tests.backbones.torchvision_golden import assert_golden, slow_on_jax


def torchvision_path(name):
    return name.replace("_", ".")


@slow_on_jax
def test_equals_torchvision():
    classifier = googlenet(include_top=True)
    assert sum(int(np.prod(weight.shape)) for weight in classifier.trainable_weights) == 6_624_904
    assert classifier.compute_output_shape((2, 224, 224, 3)) == (2, 1, 1, 1000)
    assert classifier.compute_output_shape((2, 256, 320, 3)) == (2, 2, 4, 1000)
    assert_golden(classifier, "googlenet", torchvision_path, preprocessing)


@pytest.mark.tf_only
def test_levels():
    trunk = googlenet()
    maps = pyramid(trunk)
    assert list(maps.output) == ["P1", "P2", "P3", "P4", "P5"]
    assert [tensor.shape[-1] for tensor in maps.output.values()] == [64, 192, 480, 832, 1024]
    assert classifier_features(trunk.output, padding="same") is trunk.output


@pytest.mark.tf_only
@pytest.mark.parametrize(
    ("side", "sizes"), [(224, (56, 28, 14, 7)), (225, (56, 28, 14, 7)), (239, (60, 30, 15, 8))]
)
def test_pools_round_as_in_torchvision(side, sizes):
    """Of a map of 113 pixels, ceil((113 - 3) / 2) + 1 = 56 windows; of one of 120, 60."""
    trunk = googlenet((side, side, 3))
    assert tuple(trunk.get_layer(f"maxpool{i}").output.shape[1] for i in (1, 2, 3, 4)) == sizes


@pytest.mark.tf_only
def test_scores_are_those_of_the_windows():
    model = head(12, lambda features: averaged_scores(features, 10, pool_size=7, dropout=0.2))
    features = np.random.default_rng(0).normal(size=(1, 8, 9, 12)).astype("float32")
    received = model.predict(features, verbose=0)
    assert received.shape == (1, 2, 3, 10)
    windows = [features[0, i : i + 7, j : j + 7].mean((0, 1)) for i in range(2) for j in range(3)]
    expected = dense(model, "fc", np.stack(windows), relu=False)
    # Sums of 49 numbers and of 12 products.
    np.testing.assert_allclose(received[0].reshape(6, 10), expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.tf_only
def test_trunk_sees_the_surroundings_only():
    # The receptive field is 379 pixels; unit 6 of 13 sees pixels 25 to 403 of a crop of 416.
    assert_trunk_sees_the_surroundings_only(googlenet(), side=416, unit=6)


def test_errors():
    with pytest.raises(ValueError, match=r"`weights` must be None with googlenet.*from_torchvision"):
        googlenet(weights="imagenet")
