"""The two layers around pooling with indices and unpooling: shapes, policies, reload, training, messages."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_seg.layers import MaxPoolingWithArgmax2D, MaxUnpooling2D
from keras_seg.ops import max_pool_with_argmax, max_unpool
from tests.harness import assert_every_weight_moves, assert_reloads_equal

WINDOWS = [
    {"pool_size": 2},
    {"pool_size": (3, 2), "strides": (2, 1), "padding": "same"},
    {"pool_size": 3, "strides": 2, "padding": 1},
]


def pictures(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def dtype_of(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)


@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_layers_are_the_ops_and_know_their_shapes(windows, data_format):
    x = pictures(2, 7, 9, 3) if data_format == "channels_last" else pictures(2, 3, 7, 9)
    pool = MaxPoolingWithArgmax2D(**windows, data_format=data_format)
    unpool = MaxUnpooling2D(**windows, data_format=data_format)
    values, indices = pool(x)
    expected = max_pool_with_argmax(x, **windows, data_format=data_format)
    np.testing.assert_array_equal(ops.convert_to_numpy(values), ops.convert_to_numpy(expected[0]))
    np.testing.assert_array_equal(ops.convert_to_numpy(indices), ops.convert_to_numpy(expected[1]))
    unpooled = unpool([values, indices, x])
    back = max_unpool(*expected, **windows, output_size=(7, 9), data_format=data_format)
    np.testing.assert_array_equal(ops.convert_to_numpy(unpooled), ops.convert_to_numpy(back))

    for shape in (x.shape, (None,) * 4):
        placeholder = keras.KerasTensor(shape)
        symbolic = pool(placeholder)
        assert [dtype_of(part) for part in symbolic] == ["float32", "int32"]
        assert pool.compute_output_shape(shape) == tuple(part.shape for part in symbolic)
        assert unpool([*symbolic, placeholder]).shape == shape
        if shape == x.shape:
            assert symbolic[0].shape == symbolic[1].shape == tuple(values.shape)
        else:
            assert unpool(list(symbolic)).shape == shape
    fixed = MaxUnpooling2D(**windows, output_size=(7, 9), data_format=data_format)
    assert fixed([values, indices]).shape == fixed.compute_output_shape([values.shape, indices.shape])


def test_the_default_data_format_is_that_of_keras():
    keras.config.set_image_data_format("channels_first")
    try:
        layer = MaxPoolingWithArgmax2D()
    finally:
        keras.config.set_image_data_format("channels_last")
    assert layer.data_format == "channels_first"
    assert MaxUnpooling2D().data_format == "channels_last"


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_indices_stay_exact_under_a_mixed_policy(policy):
    """600 x 600 places: neither half precision holds such numbers."""
    keras.config.set_dtype_policy(policy)
    x = np.zeros((1, 600, 600, 1), "float32")
    x[0, 599, 599, 0] = x[0, 300, 301, 0] = 1
    values, indices = MaxPoolingWithArgmax2D()(x)
    assert [dtype_of(values), dtype_of(indices)] == [policy.removeprefix("mixed_"), "int32"]
    assert indices[0, 299, 299, 0] == 600 * 600 - 1
    unpooled = MaxUnpooling2D()([values, indices])
    assert dtype_of(unpooled) == policy.removeprefix("mixed_")
    np.testing.assert_array_equal(ops.convert_to_numpy(ops.cast(unpooled, "float32")), x)
    symbolic = MaxPoolingWithArgmax2D()(keras.KerasTensor((None, 4, 4, 1)))
    assert [dtype_of(part) for part in symbolic] == [policy.removeprefix("mixed_"), "int32"]


def little_network(size):
    """Of any image size: two levels down and up, the way DeconvNet goes."""
    images = keras.Input((*size, 3))
    first = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(images)
    x, upper = MaxPoolingWithArgmax2D()(first)
    second = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x, lower = MaxPoolingWithArgmax2D(padding="same")(second)
    x = keras.layers.Conv2D(4, 1)(x)
    x = MaxUnpooling2D(padding="same")([x, lower, second])
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = MaxUnpooling2D()([x, upper, images])
    return keras.Model(images, keras.layers.Conv2D(2, 3, padding="same")(x))


@pytest.mark.parametrize("size", [(None, None), (11, 14)])
def test_network_trains_and_reloads(size, tmp_path):
    model = little_network(size)
    images = pictures(2, 11, 14, 3)
    assert_reloads_equal(model, images, tmp_path)
    masks = (images[..., 0] > 0).astype("int32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert_every_weight_moves(model, images, masks, loss)


@pytest.mark.tf_only
@pytest.mark.parametrize("size", [(None, None), (11, 14)])
def test_network_trains_under_xla_as_without(size):
    losses = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        model = little_network(size)
        model.compile("sgd", "mse", jit_compile=jit_compile)
        images = pictures(4, 11, 14, 3)
        history = model.fit(images, images[..., :2], epochs=3, batch_size=2, shuffle=False, verbose=0)
        losses.append(history.history["loss"])
    # Sums of float32 in another order.
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    assert losses[0][-1] < losses[0][0]


def test_config_tells_everything():
    pool = MaxPoolingWithArgmax2D((3, 2), 2, "same", "channels_first", name="p")
    unpool = MaxUnpooling2D((3, 2), 2, 1, (8, 9), "channels_first", name="u")
    for layer in (pool, unpool):
        config = layer.get_config()
        assert type(layer).from_config(config).get_config() == config
    assert unpool.get_config()["output_size"] == (8, 9)


def pooled(shape, *arguments):
    return MaxPoolingWithArgmax2D(*arguments)(keras.KerasTensor(shape))


def unpooled(*shapes, **arguments):
    dtypes = ("float32", "int32", "float32")[: len(shapes)]
    inputs = [keras.KerasTensor(shape, dtype=dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
    return MaxUnpooling2D(**arguments)(inputs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MaxPoolingWithArgmax2D(0), "`pool_size` must be an integer of at least 1. Received: .*=0"),
        (lambda: MaxPoolingWithArgmax2D(padding="full"), "`padding` must be one of 'valid', 'same'"),
        (lambda: MaxPoolingWithArgmax2D(data_format="NHWC"), "`data_format` must be one of"),
        (lambda: pooled((2, 4, 3)), r"`inputs.shape` must be \(N, H, W, C\)"),
        (lambda: pooled((2, 4, 9, 3), 5), r"pool_size=\(5, 5\)"),
        (lambda: MaxUnpooling2D(-1), "`pool_size` must be an integer of at least 1. Received: .*=-1"),
        (lambda: MaxUnpooling2D(output_size=(0, 3)), "`output_size` must be an integer of at least 1"),
        (lambda: MaxUnpooling2D()(keras.KerasTensor((2, 4, 4, 3))), r"`inputs` must be a list \[values,"),
        (lambda: unpooled((2, 4, 4, 3)), r"`inputs` must be a list \[values, indices\]"),
        (lambda: unpooled((2, 4, 4, 3), (2, 4, 4)), r"`indices.shape` must be \(N, H, W, C\)"),
        (lambda: unpooled((2, 4, 4, 3), (2, 4, 5, 3)), "`indices.shape` must be that of `values`"),
        (lambda: MaxUnpooling2D()([keras.KerasTensor((2, 4, 4, 3))] * 2), "`indices.dtype` must be an int"),
        (lambda: unpooled((2, 4, 4, 3), (2, 4, 4, 3), (2, 10, 8, 1)), "10 is not within 7..9"),
        (lambda: unpooled((2, 4, 4, 3), (2, 4, 4, 3), output_size=(8, 12)), "12 is not within 7..9"),
        (lambda: unpooled((2, 4, 4, 3), (2, 4, 4, 3), (2, 8, 8, 1), output_size=(8, 8)), "third input"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
