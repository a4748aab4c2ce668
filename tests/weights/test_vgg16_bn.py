"""torchvision's vgg16_bn in a trunk and in DeconvNet's encoder, beside the same network in PyTorch."""

import keras
import numpy as np
import pytest

from keras_seg import deconvnet
from keras_seg.backbones import vgg16_bn
from keras_seg.models.weights import layers_by_name
from keras_seg.weights import load_encoder

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.tf_only

_CHANNELS = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


@pytest.fixture(scope="module")
def features():
    """The trunk as torchvision numbers it, with random weights that keep values in range."""
    torch.manual_seed(0)
    parts, inputs = [], 3
    for channels in _CHANNELS:
        if channels == "M":
            parts.append(torch.nn.MaxPool2d(2, 2))
            continue
        norm = torch.nn.BatchNorm2d(channels)
        for name, low, high in (("weight", 0.5, 1.5), ("bias", -0.2, 0.2), ("running_var", 0.5, 2)):
            getattr(norm, name).data.uniform_(low, high)
        norm.running_mean.uniform_(-0.2, 0.2)
        parts += [torch.nn.Conv2d(inputs, channels, 3, padding=1), norm, torch.nn.ReLU()]
        torch.nn.init.kaiming_normal_(parts[-3].weight)
        inputs = channels
    return torch.nn.Sequential(*parts).eval()


def state(features):
    return {f"features.{name}": tensor for name, tensor in features.state_dict().items()}


def test_trunk_equals_pytorch(features):
    model = vgg16_bn((64, 96, 3))
    report = load_encoder(model, "vgg16_bn", state(features))
    assert not report.untouched
    images = np.random.default_rng(0).normal(size=(1, 64, 96, 3)).astype("float32")
    with torch.no_grad():
        expected = features(torch.tensor(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    received = keras.ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_in_deconvnet(features):
    model = deconvnet(3, width=1.0)
    classifier = {
        "classifier.0.weight": np.full((4096, 512 * 49), 0.25, "float32"),
        "classifier.0.bias": np.full(4096, 0.5, "float32"),
        "classifier.3.weight": np.eye(4096, dtype="float32"),
        "classifier.3.bias": np.zeros(4096, "float32"),
        "classifier.6.weight": np.zeros((10, 4096), "float32"),
        "classifier.6.bias": np.zeros(10, "float32"),
    }
    report = load_encoder(model, "vgg16_bn", state(features) | classifier)
    found = layers_by_name(model)
    np.testing.assert_array_equal(
        found["conv5_3"].get_weights()[0], features[40].weight.detach().permute(2, 3, 1, 0).numpy()
    )
    np.testing.assert_array_equal(found["bn5_3"].get_weights()[3], features[41].running_var.numpy())
    assert float(found["fc6"].get_weights()[0][3, 3, 7, 11]) == 0.25
    assert "seg_score" in report.untouched
    assert "fc6_bn" in report.untouched
