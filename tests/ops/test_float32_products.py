"""bfloat16 convolutions by float32's products on TensorFlow: numbers, gradients, and where they are taken."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_seg.inference import FrozenModel
from keras_seg.layers import WinogradConv2D
from keras_seg.layers.conv2d import Conv2D
from keras_seg.layers.fully_connected import FullyConnectedConv2D
from keras_seg.ops.fast.dispatch import for_export

pytestmark = pytest.mark.tf_only

WIDE, NARROW = (1, 40, 40, 400), (1, 40, 40, 8)
# bfloat16 has 8 bits: half of the last is 2^-8 of the number at most. Float32's sums come on
# top, and Winograd's are of numbers some times as large.
ROUNDED = 2.0**-8


@pytest.fixture(params=[False, True], ids=["float32 serves", "bfloat16 is faster"])
def faster(request, monkeypatch):
    """On a processor that multiplies bfloat16 faster, or no faster."""
    return processor(monkeypatch, request.param)


@pytest.fixture(name="slower")
def _slower(monkeypatch):
    processor(monkeypatch, False)


def processor(monkeypatch, is_faster):
    from keras_seg.ops.fast import tensorflow, winograd_tensorflow

    for module in (tensorflow, winograd_tensorflow):
        monkeypatch.setattr(module, "multiplies_bfloat16_faster", lambda: is_faster)
    return is_faster


def rounded(*shape, seed=0):
    """Random numbers that bfloat16 holds."""
    numbers = np.random.default_rng(seed).standard_normal(shape).astype("float32")
    return ops.convert_to_numpy(ops.cast(ops.cast(numbers, "bfloat16"), "float32"))


def layer_of(kind, units, shape, **options):
    """A bfloat16 layer without bias whose kernel bfloat16 holds."""
    layer = kind(units, use_bias=False, dtype="mixed_bfloat16", **options)
    layer.build(shape)
    layer.kernel.assign(rounded(*layer.kernel.shape, seed=1) / 16)
    return layer


def step(layer):
    """A graph from a map to the layer's output and the gradients of the sum of its squares."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x)
            loss = tf.reduce_sum(tf.cast(outputs, x.dtype) ** 2) / 2
        return outputs, *tape.gradient(loss, [x, layer.kernel.value])

    return run


def exact(layer, x, upstream):
    """The same in float64, by TensorFlow's convolution, the gradients from those of the layer's outputs."""
    import tensorflow as tf

    x, kernel = tf.constant(x, "float64"), tf.constant(layer.kernel.numpy(), "float64")
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        outputs = tf.nn.conv2d(x, kernel, layer.strides[0], layer.padding.upper())
    gradients = tape.gradient(outputs, [x, kernel], tf.cast(upstream, "float64"))
    return [one.numpy() for one in (outputs, *gradients)]


def check(found, expected, slack):
    for received, right in zip(found, expected, strict=True):
        received = ops.convert_to_numpy(ops.cast(received, "float32")).astype("float64")
        room = ROUNDED * np.abs(right) + slack * np.abs(right).max()
        assert (np.abs(received - right) <= room).all()


LAYERS = {
    "1x1": (Conv2D, (1, 12, 12, 300), 260, {"kernel_size": 1}),
    "3x3 by 2": (Conv2D, (2, 13, 12, 40), 30, {"kernel_size": 3, "strides": 2, "padding": "same"}),
    "window": (FullyConnectedConv2D, (260, 3, 3, 60), 250, {"kernel_size": 3}),
    "winograd": (WinogradConv2D, (2, 16, 15, 210), 220, {"kernel_size": 3, "padding": "same"}),
}


@pytest.mark.usefixtures("slower")
@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_gradients_are_rounded_once(name, monkeypatch):
    from keras_seg.ops.fast import float32_tensorflow, tensorflow

    monkeypatch.setattr(tensorflow, "_LEAST_PRODUCTS_IN_FLOAT32", 10)
    monkeypatch.setattr(float32_tensorflow, "_STEP", 100)
    kind, shape, units, options = LAYERS[name]
    layer = layer_of(kind, units, shape, **options)
    x = rounded(*shape)
    found = step(layer)(ops.convert_to_tensor(x))
    # The gradient of the sum of halved squares is the output itself.
    check(found, exact(layer, x, found[0]), 1e-5 if name == "winograd" else 1e-6)


def operations(layer, shape):
    """The operations of a forward pass."""
    import tensorflow as tf

    run = tf.function(layer, autograph=False)
    return run.get_concrete_function(tf.TensorSpec(shape, "bfloat16")).graph.get_operations()


def dtypes_of_products(layer, shape):
    return {op.inputs[0].dtype.name for op in operations(layer, shape) if op.type in ("Conv2D", "MatMul")}


def test_wide_ones_are_float32s_where_bfloat16_is_no_faster(faster):
    assert dtypes_of_products(layer_of(Conv2D, 400, WIDE, kernel_size=1), WIDE) == {
        "bfloat16" if faster else "float32"
    }


@pytest.mark.usefixtures("slower")
def test_narrow_ones_maps_of_any_size_and_exported_ones_stay():
    assert dtypes_of_products(layer_of(Conv2D, 8, NARROW, kernel_size=1), NARROW) == {"bfloat16"}
    layer = layer_of(Conv2D, 400, WIDE, kernel_size=1)
    assert dtypes_of_products(layer, (1, None, None, 400)) == {"bfloat16"}
    with for_export():
        assert dtypes_of_products(layer, WIDE) == {"bfloat16"}


@pytest.mark.usefixtures("slower")
def test_few_windows_do_not_outweigh_a_fully_connected_kernel():
    layer = layer_of(FullyConnectedConv2D, 250, (4, 3, 3, 60), kernel_size=3)
    assert dtypes_of_products(layer, (4, 3, 3, 60)) == {"bfloat16"}


@pytest.mark.usefixtures("slower")
def test_no_float32_map_is_kept_for_the_gradient():
    import tensorflow as tf

    layer = layer_of(Conv2D, 400, WIDE, kernel_size=1)
    graph = step(layer).get_concrete_function(tf.TensorSpec(WIDE)).graph
    (of_kernel,) = [op for op in graph.get_operations() if op.type == "Conv2DBackpropFilter"]
    widened = of_kernel.inputs[0].op
    assert widened.type == "Cast" and widened.inputs[0].op.control_inputs


@pytest.mark.usefixtures("slower")
@pytest.mark.parametrize("kind", [Conv2D, WinogradConv2D])
def test_kernels_are_converted_when_their_maps_are_there(kind):
    layer = layer_of(kind, 400, WIDE, kernel_size=1 if kind is Conv2D else 3)
    (read,) = [op for op in operations(layer, WIDE) if op.type == "ReadVariableOp"]
    assert [before.type for before in read.control_inputs] == ["StridedSlice"]


@pytest.mark.usefixtures("slower")
@pytest.mark.parametrize("frozen", [False, True])
def test_a_padded_map_may_serve_two_convolutions(frozen, monkeypatch):
    from keras_seg.ops.fast import tensorflow

    monkeypatch.setattr(tensorflow, "_LEAST_PRODUCTS_IN_FLOAT32", 10)
    # TensorFlow makes one operation of padding and a narrow one alone behind it; here three share it.
    keras.config.set_dtype_policy("mixed_bfloat16")
    images = keras.Input((14, 14, 256))
    padded = layers.ZeroPadding2D(1)(images)
    wide, narrow = Conv2D(256, 3, strides=2)(padded), Conv2D(2, 3, strides=2)(padded)
    winograd = WinogradConv2D(256, 3)(padded)
    model = keras.Model(images, layers.Concatenate()([wide, narrow, winograd[:, ::2, ::2]]))
    x = rounded(2, 14, 14, 256)
    found = FrozenModel(model).predict_on_batch(x) if frozen else model.predict_on_batch(x)
    expected = ops.convert_to_numpy(ops.cast(model(x), "float32"))
    # Two roundings of numbers around 1 that may differ by their last bit.
    np.testing.assert_allclose(np.asarray(found, "float32"), expected, rtol=2.0**-7, atol=2.0**-8)


@pytest.mark.usefixtures("slower")
@pytest.mark.parametrize("rows", [0, 3])
def test_windows_of_an_unknown_number(rows):
    import tensorflow as tf

    from keras_seg.ops.fast.float32_tensorflow import matmul_in_float32

    x, weights = rounded(rows, 40), rounded(40, 5, seed=1)
    run = tf.function(
        lambda x: matmul_in_float32(x, tf.constant(weights, "bfloat16")),
        input_signature=[tf.TensorSpec((None, 40), "bfloat16")],
        autograph=False,
    )
    found = run(tf.constant(x, "bfloat16"))
    assert found.shape == (rows, 5)
    if rows:
        check([found], [x.astype("float64") @ weights], 1e-6)
