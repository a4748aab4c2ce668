"""A layer with converted weights computes what PyTorch's layer computes."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg.weights.layouts import slots_of

torch = pytest.importorskip("torch")


def converted(layer, module, image):
    """Outputs of both, channels last; `image` is (N, H, W, C)."""
    state = {f"m.{name}": tensor for name, tensor in module.state_dict().items()}
    model = keras.Sequential([keras.Input(image.shape[1:]), layer])
    for slot in slots_of(layer, "m"):
        tensor = state[slot.tensor]
        assert slot.fits(tensor.shape)
        slot.variable.assign(slot.convert(tensor.numpy()))
    with torch.no_grad():
        expected = module.eval()(torch.tensor(image).movedim(-1, 1))
    return model.predict(image, verbose=0), expected.movedim(1, -1).numpy()


def image(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def check(received, expected):
    # Sums of at most 200 products of numbers around 1, in float32: some 1e-6.
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "module, layer",
    [
        (torch.nn.Conv2d(6, 4, (3, 5)), layers.Conv2D(4, (3, 5))),
        (torch.nn.Conv2d(6, 4, 3, dilation=2), layers.Conv2D(4, 3, dilation_rate=2)),
        (torch.nn.Conv2d(6, 4, 3, bias=False), layers.Conv2D(4, 3, use_bias=False)),
        (torch.nn.Conv2d(6, 4, 3, stride=2, groups=2), layers.Conv2D(4, 3, strides=2, groups=2)),
        (torch.nn.Conv2d(6, 6, 3, groups=6), layers.DepthwiseConv2D(3)),
        (torch.nn.Conv2d(6, 12, 3, groups=6), layers.DepthwiseConv2D(3, depth_multiplier=2)),
        (torch.nn.ConvTranspose2d(6, 4, 2, stride=2), layers.Conv2DTranspose(4, 2, strides=2)),
        (torch.nn.ConvTranspose2d(6, 4, (3, 4)), layers.Conv2DTranspose(4, (3, 4))),
    ],
    ids=["conv", "dilated", "no_bias", "grouped", "depthwise", "multiplier", "transposed", "overlapping"],
)
def test_convolutions(module, layer):
    check(*converted(layer, module, image(2, 9, 11, 6)))


def test_dense():
    check(*converted(layers.Dense(7), torch.nn.Linear(5, 7), image(3, 5)))


def test_linear_layer_on_a_flattened_map():
    """The classifiers of VGG and AlexNet: PyTorch flattens channel by channel."""
    linear = torch.nn.Linear(5 * 3 * 4, 7)
    images = image(2, 3, 4, 5)
    layer = layers.Conv2D(7, (3, 4))
    model = keras.Sequential([keras.Input((None, None, 5)), layer])
    for slot, tensor in zip(slots_of(layer, "m"), linear.parameters(), strict=True):
        assert slot.fits(tensor.shape)
        slot.variable.assign(slot.convert(tensor.detach().numpy()))
    with torch.no_grad():
        expected = linear(torch.tensor(images).movedim(-1, 1).flatten(1)).numpy()
    check(model.predict(images, verbose=0)[:, 0, 0], expected)


@pytest.mark.parametrize("affine", [True, False])
def test_batch_normalization(affine):
    module = torch.nn.BatchNorm2d(6, affine=affine)
    rng = np.random.default_rng(1)
    for name, tensor in module.state_dict().items():
        if not name.startswith("num"):
            tensor.copy_(torch.tensor(rng.uniform(0.5, 2, 6)))
    layer = layers.BatchNormalization(epsilon=1e-5, scale=affine, center=affine)
    check(*converted(layer, module, image(2, 4, 4, 6)))


def test_other_layers_are_refused():
    layer = layers.PReLU()
    layer.build((None, 4))
    with pytest.raises(TypeError, match="is a PReLU, whose weights have no rule here: Conv2D"):
        slots_of(layer, "m")
