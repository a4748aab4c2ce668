import inspect

import keras
import numpy as np
import pytest

from keras_seg.backbones import names
from keras_seg.backbones.keras_applications import application_affine, application_names, application_of
from keras_seg.backbones.select import select_backbone
from tests.harness import pixels


def test_all_networks_are_named():
    assert {"ResNet50", "VGG16", "EfficientNetB0", "MobileNetV3Small", "ConvNeXtTiny"} <= set(
        application_names()
    )
    assert "efficientnet_lite0" in names()


@pytest.mark.tf_only
@pytest.mark.parametrize(
    "name", ["ResNet50", "ResNet50V2", "DenseNet121", "EfficientNetB0", "VGG16", "NASNetMobile"]
)
def test_preprocessing_is_the_networks_own(name):
    module = {
        "ResNet50": "resnet", "ResNet50V2": "resnet_v2", "DenseNet121": "densenet",
        "EfficientNetB0": "efficientnet", "VGG16": "vgg16", "NASNetMobile": "nasnet",
    }[name]  # fmt: skip
    images = pixels(2, 5, 7, 3).astype("float32")
    expected = getattr(keras.applications, module).preprocess_input(images.copy())
    affine = application_affine(name, 3)
    received = images if affine is None else images @ np.array(affine[0]).T + affine[1]
    # Values to 151 after a scale and a mean, a few roundings of float32 in Keras's own arithmetic.
    np.testing.assert_allclose(received, expected, atol=4 * 256 * 2**-24)


def test_a_model_of_keras_applications_is_recognised():
    model = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(64, 64, 3), alpha=0.35
    )
    encoder = select_backbone(model, (64, 64, 3))
    np.testing.assert_allclose(encoder.affine[1], -np.ones(3))
    assert list(encoder.model.output) == ["P1", "P2", "P3", "P4", "P5"]


def default_name(name):
    """What keras.applications calls the model of a network, from its builder's signature."""
    default = inspect.signature(getattr(keras.applications, name)).parameters["name"].default
    # These three put their names together when they are built.
    made = {"MobileNet": "mobilenet_1.00_224", "MobileNetV2": "mobilenetv2_1.00_224"}
    return made.get(name) or default


@pytest.mark.tf_only
@pytest.mark.parametrize("name", application_names())
def test_every_networks_models_are_known_by_their_names(name):
    assert application_of(default_name(name)) == name


@pytest.mark.tf_only
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("MobileNet", {"alpha": 0.25}),
        ("MobileNetV2", {"alpha": 1.4}),
        ("MobileNetV2", {"alpha": 0.35, "input_shape": (None, None, 3)}),
        ("MobileNetV3Small", {"input_shape": (64, 64, 3)}),
        ("InceptionV3", {}),
        ("NASNetMobile", {}),
        ("EfficientNetV2B0", {}),
    ],
)
@pytest.mark.filterwarnings("ignore:.input_shape. is undefined")
def test_built_models_are_known(name, options):
    options = {"input_shape": (96, 96, 3), **options}
    assert (
        application_of(getattr(keras.applications, name)(include_top=False, weights=None, **options).name)
        == name
    )


@pytest.mark.tf_only
def test_other_names_are_not_of_keras_applications():
    for name in ("small", "resnet18", "functional_3", "my_resnet50", "efficientnet_lite0"):
        assert application_of(name) is None


def test_errors():
    with pytest.raises(
        ValueError, match=r"`backbone` must be one of .*'ResNet50'.* Received: backbone='resnet9'"
    ):
        select_backbone("resnet9", (None, None, 3))
    with pytest.raises(TypeError, match=r"`backbone` must be None, a name or a keras.Model"):
        select_backbone(7, (None, None, 3))
    images = keras.Input((64, 64, 3))
    fixed = keras.Model(images, keras.layers.MaxPooling2D(2)(images))
    with pytest.raises(ValueError, match=r"`input_shape` must be \(64, 64, 3\), the shape that the backbone"):
        select_backbone(fixed, (128, 128, 3))
