"""Images too small for a network are refused by their size, not by what is wrong with an empty map."""

import functools

import keras
import numpy as np
import pytest

from keras_seg import fcn
from keras_seg.backbones import alex_net, alexnet, googlenet, resnet18, vgg, vgg16, vgg16_bn

pytestmark = pytest.mark.tf_only


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """fc6 and fc7 of a few channels."""
    for module in (vgg, alex_net):
        conv = module.conv
        monkeypatch.setattr(
            module, "conv", lambda x, filters, *args, _conv=conv, **kw: _conv(x, min(filters, 8), *args, **kw)
        )


@pytest.mark.parametrize(
    ("build", "smallest"),
    [
        (alexnet, 63),
        (functools.partial(alexnet, first_padding=20), 27),
        (functools.partial(alexnet, round_up=True), 35),
        (functools.partial(alexnet, include_top=True), 223),
        (googlenet, 15),
        (functools.partial(googlenet, include_top=True), 207),
        (functools.partial(vgg16, include_top=True), 193),
        (functools.partial(vgg16, include_top=True, first_padding=100), 1),
        (functools.partial(vgg16_bn, include_top=True), 193),
        (functools.partial(resnet18, include_top=True), 193),
        (functools.partial(resnet18, include_top=True, output_stride=8), 217),
    ],
)
def test_the_smallest_size_has_one_unit(build, smallest):
    model = build()
    images = np.zeros((1, smallest, smallest + 40, 3), "float32")
    assert keras.ops.shape(model(images))[1] == 1 or smallest == 1
    if smallest == 1:
        return
    with pytest.raises(ValueError, match=f"Images of height {smallest - 1} do not fit.*at least {smallest}"):
        model(images[:, 1:])
    with pytest.raises(ValueError, match=f"Images of width {smallest - 1} do not fit"):
        model(np.zeros((1, smallest, smallest - 1, 3), "float32"))


@pytest.mark.parametrize(("backbone", "smallest"), [("alexnet", 63), ("googlenet", 15)])
def test_segmentation_networks_say_so_too(backbone, smallest):
    model = fcn(2, backbone=backbone)
    images = np.zeros((1, smallest, smallest - 1, 3), "uint8")
    with pytest.raises(ValueError, match=f"Images of width {smallest - 1} do not fit.*Nearest: {smallest}"):
        model.predict(images, verbose=0)
    square = np.zeros((1, smallest, smallest, 3), "uint8")
    assert model.predict(square, verbose=0).shape == (1, smallest, smallest, 2)
