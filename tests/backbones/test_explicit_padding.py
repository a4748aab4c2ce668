"""Against PyTorch's own functions, on sizes where Keras's "same" would differ."""

import keras
import numpy as np
import pytest

from keras_seg.backbones.explicit_padding import conv, max_pool


def run(build, features):
    tensor = keras.Input((None, None, features.shape[-1]))
    model = keras.Model(tensor, build(tensor))
    return model, keras.ops.convert_to_numpy(model(features))


@pytest.mark.parametrize("size", [(8, 9), (10, 13)])
@pytest.mark.parametrize(
    ("kernel_size", "strides", "pad", "dilation"),
    [(3, 2, 1, 1), (7, 2, 3, 1), (11, 4, 2, 1), (3, 1, 2, 2), (3, 1, 1, 1), (1, 2, 0, 1), (3, 1, 0, 1)],
)
def test_convolution(size, kernel_size, strides, pad, dilation):
    functional = pytest.importorskip("torch").nn.functional
    import torch

    features = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    model, received = run(
        lambda x: conv(x, 4, kernel_size, "conv", strides=strides, pad=pad, dilation=dilation), features
    )
    kernel, bias = model.get_layer("conv").get_weights()
    expected = functional.conv2d(
        torch.tensor(features).permute(0, 3, 1, 2).double(),
        torch.tensor(kernel).permute(3, 2, 0, 1).double(),
        torch.tensor(bias).double(),
        stride=strides,
        padding=pad,
        dilation=dilation,
    )
    # Sums of up to 363 products of size about 1.
    np.testing.assert_allclose(received, expected.permute(0, 2, 3, 1).numpy(), atol=1e-5)


@pytest.mark.parametrize("size", [(8, 9), (10, 13)])
@pytest.mark.parametrize("rule", ["one on each side", "rounded up"])
def test_max_pooling(size, rule):
    functional = pytest.importorskip("torch").nn.functional
    import torch

    features = np.random.default_rng(0).uniform(size=(2, *size, 3)).astype("float32")
    pad = {"one on each side": 1, "rounded up": ((0, 1), (0, 1))}[rule]
    received = run(lambda x: max_pool(x, 3, 2, "pool", pad=pad), features)[1]
    options = {"one on each side": {"padding": 1}, "rounded up": {"ceil_mode": True}}[rule]
    expected = functional.max_pool2d(torch.tensor(features).permute(0, 3, 1, 2), 3, 2, **options)
    np.testing.assert_array_equal(received, expected.permute(0, 2, 3, 1).numpy())
