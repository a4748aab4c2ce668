import keras
import numpy as np
import pytest

from keras_seg import backbones
from keras_seg.backbones.preprocessing import mode_affine, mode_of
from keras_seg.backbones.select import select_backbone
from tests.harness import pixels, reload


@pytest.mark.tf_only
@pytest.mark.parametrize("mode", ["torch", "caffe"])
def test_modes_are_those_of_keras_applications(mode):
    images = pixels(2, 5, 7, 3).astype("float32")
    matrix, offset = mode_affine(mode, 3)
    module = {"torch": keras.applications.densenet, "caffe": keras.applications.vgg16}[mode]
    # Values to 151 after a scale and a mean, a few roundings of float32 in Keras's own arithmetic.
    np.testing.assert_allclose(
        images @ matrix.T + offset, module.preprocess_input(images.copy()), atol=4 * 256 * 2**-24
    )


@pytest.mark.tf_only
@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet18", "resnet34", "vgg16"])
def test_named_backbones_want_torchs_mode(name):
    encoder = select_backbone(name, (None, None, 3))
    np.testing.assert_array_equal(encoder.affine[0], mode_affine("torch", 3)[0])
    assert "P5" in encoder.model.output


@pytest.mark.tf_only
def test_a_model_says_its_mode(tmp_path):
    """Whatever its name is, which keras.applications has too, and from a file."""
    for model in (backbones.resnet18(name="resnet50"), reload(backbones.resnet18(), tmp_path)):
        assert mode_of(model) == "torch"
        affine = select_backbone(model, (None, None, 3)).affine
        np.testing.assert_array_equal(affine[0], mode_affine("torch", 3)[0])
    lite = backbones.efficientnet_lite0(weights=None)
    assert mode_of(lite) == "lite"
    given, named = (select_backbone(b, (None, None, 3)).affine for b in (lite, "efficientnet_lite0"))
    for ours, expected in zip(given, named, strict=True):
        np.testing.assert_array_equal(ours, expected)
    theirs = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 64, 3))
    assert mode_of(theirs) is None


@pytest.mark.tf_only
def test_imagenet_weights_of_vgg16_bring_caffes_mode(monkeypatch):
    original = keras.applications.VGG16
    monkeypatch.setattr(
        keras.applications,
        "VGG16",
        lambda include_top, weights: original(include_top=include_top, weights=None),
    )
    encoder = select_backbone("vgg16", (None, None, 3), "imagenet")
    np.testing.assert_allclose(encoder.affine[1], (-103.939, -116.779, -123.68))
    model = backbones.vgg16(weights="imagenet")
    np.testing.assert_array_equal(select_backbone(model, (None, None, 3)).affine[0], np.eye(3)[::-1])
