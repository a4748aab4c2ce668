"""FeaturePyramid: values by hand, odd sizes, types, configuration, reloading, training, errors."""

import keras
import numpy as np
import pytest

from keras_seg.layers import FeaturePyramid
from tests.harness import reload

NORMALIZATIONS = (None, "batch", "group")


def maps(levels=("P2", "P3", "P4"), height=13, width=18, channels=3):
    """Maps of these levels, halved and rounded up; the finest has this size."""
    rng = np.random.default_rng(0)
    result = {}
    for index, level in enumerate(levels):
        result[level] = rng.normal(size=(2, height, width, channels + index)).astype("float32")
        height, width = -(-height // 2), -(-width // 2)
    return result


def numbers(outputs):
    return {
        level: keras.ops.convert_to_numpy(keras.ops.cast(value, "float32"))
        for level, value in outputs.items()
    }


def convolved(x, layer):
    """A convolution with zeros around the map, in float64, by the definition."""
    kernel, bias = (np.array(weight, "float64") for weight in (layer.kernel, layer.bias))
    size = len(kernel)
    padded = np.pad(x.astype("float64"), ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)))
    height, width = x.shape[1:3]
    return bias + sum(
        padded[:, row : row + height, column : column + width] @ kernel[row, column]
        for row, column in np.ndindex(size, size)
    )


def by_hand(pyramid, inputs):
    outputs, merged = {}, None
    for level in sorted(inputs, reverse=True):
        inner = convolved(inputs[level], getattr(pyramid, f"inner_{level}"))
        if merged is not None:
            rows, columns = (np.arange(side) // 2 for side in inner.shape[1:3])
            inner = inner + merged[:, rows][:, :, columns]
        merged = inner
        outputs[level] = convolved(inner, getattr(pyramid, f"output_{level}"))
    return outputs


@pytest.mark.parametrize("size", [(16, 24), (13, 18)])
def test_values(size):
    inputs = maps(height=size[0], width=size[1])
    pyramid = FeaturePyramid(4)
    pyramid(inputs)
    for variable in pyramid.trainable_variables:
        variable.assign(np.random.default_rng(len(variable.path)).normal(size=variable.shape))
    received, expected = numbers(pyramid(inputs)), by_hand(pyramid, inputs)
    assert list(received) == ["P2", "P3", "P4", "P5"]
    for level, values in expected.items():
        # Sums of 36 products of sums, float32.
        np.testing.assert_allclose(received[level], values, rtol=1e-4, atol=1e-4, err_msg=level)
    np.testing.assert_array_equal(received["P5"], received["P4"][:, ::2, ::2])


def test_the_levels_may_be_any_run_of_levels_and_in_any_order():
    inputs = maps(("P3", "P4"))
    pyramid = FeaturePyramid(4, extra_level=False)
    received = numbers(pyramid(inputs))
    assert list(received) == ["P3", "P4"]
    again = numbers(pyramid(dict(reversed(inputs.items()))))
    assert list(again) == ["P3", "P4"]
    np.testing.assert_array_equal(again["P3"], received["P3"])
    assert list(FeaturePyramid(4)(maps(("P9", "P10")))) == ["P9", "P10", "P11"]
    assert list(FeaturePyramid(4)(maps(("P5",)))) == ["P5", "P6"]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_symbolic_shapes_and_types_are_the_real_ones(policy, normalization):
    inputs = maps()
    pyramid = FeaturePyramid(4, normalization=normalization, dtype=policy)
    symbolic = pyramid({level: keras.KerasTensor(x.shape) for level, x in inputs.items()})
    values = pyramid(inputs)
    assert list(symbolic) == list(values)
    for level, value in values.items():
        assert symbolic[level].shape == tuple(value.shape)
        assert symbolic[level].dtype == keras.backend.standardize_dtype(value.dtype) == pyramid.compute_dtype
    free = pyramid({level: keras.KerasTensor((None, None, None, x.shape[-1])) for level, x in inputs.items()})
    assert all(tensor.shape == (None, None, None, 4) for tensor in free.values())


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_weights_and_their_names(normalization):
    pyramid = FeaturePyramid(4, normalization=normalization)
    pyramid(maps())
    names = [part.name for part in pyramid.parts]
    stages = [f"{kind}_{level}" for kind in ("inner", "output") for level in ("P2", "P3", "P4")]
    if normalization is None:
        assert names == stages
    else:
        assert names == [name for stage in stages for name in (stage, f"{stage}_norm")]
        assert pyramid.inner_P2.bias is None
    counted = sum(len(part.weights) for part in pyramid.parts)
    assert counted == len(pyramid.weights) == {None: 12, "batch": 30, "group": 18}[normalization]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_model_trains_and_reloads(normalization, tmp_path):
    """Free sizes, odd ones; every weight moves, the statistics of batches too, and comes back."""
    images = keras.Input((None, None, 3))
    fine = keras.layers.Conv2D(4, 3, strides=2, padding="same")(images)
    coarse = keras.layers.Conv2D(4, 3, strides=2, padding="same")(fine)
    pyramid = FeaturePyramid(8, normalization=normalization, name="fpn")
    outputs = pyramid({"P1": fine, "P2": coarse})
    model = keras.Model(images, [outputs["P1"], outputs["P3"]])
    x = np.random.default_rng(1).normal(size=(2, 21, 35, 3)).astype("float32")
    shapes = model.compute_output_shape(x.shape)
    assert [tuple(shape) for shape in shapes] == [(2, 11, 18, 8), (2, 3, 5, 8)]
    truth = [np.ones(shape, "float32") for shape in shapes]
    before = [np.array(weight) for weight in pyramid.weights]
    model.compile(keras.optimizers.SGD(0.1), ["mse", "mse"])
    model.fit(x, truth, verbose=0)
    for old, weight in zip(before, pyramid.weights, strict=True):
        assert np.isfinite(np.array(weight)).all(), weight.path
        assert not np.array_equal(old, np.array(weight)), weight.path
    expected = model.predict(x, verbose=0)
    again = reload(model, tmp_path)
    for received, value in zip(again.predict(x, verbose=0), expected, strict=True):
        np.testing.assert_array_equal(received, value)


def test_configuration_comes_back():
    pyramid = FeaturePyramid(12, False, "group", name="neck", dtype="mixed_bfloat16")
    again = FeaturePyramid.from_config(pyramid.get_config())
    assert again.get_config() == pyramid.get_config()
    assert (again.filters, again.extra_level, again.normalization) == (12, False, "group")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "`maps` must be a dict of consecutive levels"),
        (("P2", "P4"), r"`maps` must be a dict of consecutive levels.*\['P2', 'P4'\]"),
        (("fine", "coarse"), r"`maps` must be a dict of consecutive levels.*\['coarse', 'fine'\]"),
        ("tensor", "`maps` must be a dict of consecutive levels.*'tuple'"),
        ("sizes", r"`maps` must be of sizes that halve, rounded up.*\(13, 18\), \(6, 9\)"),
    ],
)
def test_errors_of_maps(inputs, message):
    if isinstance(inputs, tuple):
        inputs = maps(inputs)
    elif inputs == "tensor":
        inputs = maps()["P2"]
    elif inputs == "sizes":
        inputs = {**maps(), "P3": np.zeros((2, 6, 9, 4), "float32")}
    with pytest.raises(ValueError, match=message):
        FeaturePyramid(4)(inputs)


def test_errors_of_settings():
    with pytest.raises(ValueError, match="`filters` must be an integer of at least 1"):
        FeaturePyramid(0)
    with pytest.raises(TypeError, match="`filters` must be an integer of at least 1"):
        FeaturePyramid(2.5)
    with pytest.raises(ValueError, match="`normalization` must be one of None, 'batch', 'group'"):
        FeaturePyramid(4, normalization="instance")
