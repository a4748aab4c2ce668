"""RoIAlign and RoIPool as layers: values, types under mixed policies, shapes, reloading, training."""

import keras
import numpy as np
import pytest

from keras_seg import ops as seg_ops
from keras_seg.layers import RoIAlign, RoIPool
from tests.ops.box_cases import boxes_about
from tests.ops.roi_cases import random_map

LAYERS = {"RoIAlign": RoIAlign, "RoIPool": RoIPool}


def numbers(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def pyramid(channels=4):
    return {"P2": random_map(2, 16, 16, channels), "P3": random_map(2, 8, 8, channels, seed=1)}


def test_values_are_the_ops():
    levels, boxes = pyramid(), boxes_about(6, 64, 64, images=2)
    cases = [
        (
            RoIAlign((3, 2), 0.25, 1, False)([levels["P2"], boxes]),
            seg_ops.roi_align(levels["P2"], boxes, (3, 2), 0.25, 1, False),
        ),
        (
            RoIAlign(3, canonical_size=30, canonical_level=3)([levels, boxes]),
            seg_ops.multilevel_roi_align(levels, boxes, 3, canonical_size=30, canonical_level=3),
        ),
        (RoIPool(3, 0.25)([levels["P2"], boxes]), seg_ops.roi_pool(levels["P2"], boxes, 3, 0.25)),
        (
            RoIPool(3, canonical_size=30, canonical_level=3)([levels, boxes]),
            seg_ops.multilevel_roi_pool(levels, boxes, 3, 30, 3),
        ),
    ]
    for received, expected in cases:
        np.testing.assert_array_equal(numbers(received), numbers(expected))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_boxes_stay_exact_under_mixed_policies(name, policy):
    """300.5 is no bfloat16: the nearest ones are 300 and 302, which is another bin."""
    features = random_map(1, 512, 512, 1)
    boxes = np.array([[[300.5, 300.5, 303.5, 303.5]]], "float32")
    layer = LAYERS[name](3, dtype=policy)
    value = layer([features, boxes])
    assert keras.backend.standardize_dtype(value.dtype) == layer.compute_dtype
    exact = LAYERS[name](3)([features, boxes])
    np.testing.assert_allclose(numbers(value), numbers(exact), rtol=0, atol=0.02)
    # In a model too, where Keras casts the inputs of layers.
    inputs = keras.Input((512, 512, 1)), keras.Input((None, 4))
    model = keras.Model(inputs, LAYERS[name](3, dtype=policy)(list(inputs)))
    np.testing.assert_allclose(numbers(model([features, boxes])), numbers(exact), rtol=0, atol=0.02)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_symbolic_shapes_are_the_real_ones(name, policy):
    layer = LAYERS[name]((3, 2), dtype=policy)
    levels, boxes = pyramid(), boxes_about(6, 64, 64, images=2)
    symbolic = {level: keras.KerasTensor((2, None, None, 4)) for level in levels}
    output = layer([symbolic, keras.KerasTensor((None, 6, 4))])
    value = layer([levels, boxes])
    assert output.shape == tuple(value.shape) == (2, 6, 3, 2, 4)
    assert output.dtype == keras.backend.standardize_dtype(value.dtype)
    assert layer.compute_output_shape([(None, None, None, 4), (None, None, 4)]) == (None, None, 3, 2, 4)


@pytest.mark.parametrize("name", LAYERS)
def test_model_reloads_trains_and_predicts(name, tmp_path):
    """A pyramid of two convolutions, free sizes, fit as Keras compiles it by default, saved and read back."""
    images, boxes = keras.Input((None, None, 3)), keras.Input((None, 4))
    fine = keras.layers.Conv2D(4, 3, strides=4, padding="same", name="fine")(images)
    coarse = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="coarse")(fine)
    settings = {"canonical_size": 32, "canonical_level": 3}
    regions = LAYERS[name](2, **settings)([{"P2": fine, "P3": coarse}, boxes])
    model = keras.Model([images, boxes], keras.layers.Dense(1)(regions))
    data = [random_map(2, 64, 64, 3), boxes_about(9, 64, 64, images=2)]
    before = [np.array(weight) for weight in model.trainable_weights]
    model.compile("sgd", "mse")
    model.fit(data, np.ones((2, 9, 2, 2, 1), "float32"), epochs=1, verbose=0)
    for old, weight in zip(before, model.trainable_weights, strict=True):
        assert np.isfinite(numbers(weight)).all()
        assert not np.array_equal(old, numbers(weight)), weight.path
    expected = model.predict(data, verbose=0)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(reloaded.predict(data, verbose=0), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        RoIAlign((7, 5), 0.25, -1, False, 112, 3, name="align"),
        RoIPool((7, 5), 0.25, 112, 3, name="pool", dtype="mixed_bfloat16"),
    ],
)
def test_configuration_comes_back(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.name == layer.name
    for attribute in ("output_size", "spatial_scale", "canonical_size", "canonical_level"):
        assert getattr(again, attribute) == getattr(layer, attribute)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RoIAlign(0), ValueError, "`output_size` must be an integer of at least 1"),
        (lambda: RoIAlign(7, sampling_ratio=0), ValueError, "`sampling_ratio` must be an integer"),
        (lambda: RoIPool("7"), TypeError, "`output_size` must be an integer or a pair"),
        (lambda: RoIPool(7, spatial_scale="1"), TypeError, "`spatial_scale` must be a number"),
        (lambda: RoIAlign(7, spatial_scale=0.0), ValueError, "`spatial_scale` must be a positive number"),
        (lambda: RoIPool(7, spatial_scale=-0.25), ValueError, "`spatial_scale` must be a positive number"),
        (lambda: RoIAlign(7, spatial_scale=np.nan), ValueError, "`spatial_scale` must be a positive number"),
        (lambda: RoIAlign(7, canonical_size=0), ValueError, "`canonical_size` must be a positive number"),
        (lambda: RoIPool(7, canonical_size=np.nan), ValueError, "`canonical_size` must be a positive number"),
        (lambda: RoIPool(7, canonical_level=-1), ValueError, "`canonical_level` must be an integer"),
    ],
)
def test_bad_settings_fail_where_they_are_given(make, error, message):
    with pytest.raises(error, match=message):
        make()


MAP, BOXES = (2, 8, 8, 3), (2, 5, 4)


@pytest.mark.parametrize("symbolic", [True, False])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    ("features", "boxes", "error", "message"),
    [
        ((8, 8, 3), BOXES, ValueError, r"`features.shape` must be \(N, H, W, C\)"),
        (MAP, (2, 4), ValueError, r"`boxes.shape` must be \(N, K, 4\)"),
        (MAP, (2, 5, 5), ValueError, r"`boxes.shape` must be \(N, K, 4\)"),
        (MAP, (1, 5, 4), ValueError, r"`boxes.shape` must be \(2, K, 4\), K boxes for each image"),
        ({"P2": MAP, "P3": (2, 4, 4, 5)}, BOXES, ValueError, r'`features\["P3"\].shape` .*channels'),
        ({"P2": MAP, "P4": (2, 4, 4, 3)}, BOXES, ValueError, "`features` must be a dict of consecutive"),
        (MAP, None, TypeError, "`inputs` must be a pair of features and boxes"),
    ],
)
def test_wrong_shapes_fail_where_a_model_is_built(name, symbolic, features, boxes, error, message):
    def tensor(shape):
        return keras.KerasTensor(shape) if symbolic else np.zeros(shape, "float32")

    levels = isinstance(features, dict)
    features = {k: tensor(shape) for k, shape in features.items()} if levels else tensor(features)
    with pytest.raises(error, match=message):
        LAYERS[name](7)(features if boxes is None else [features, tensor(boxes)])


@pytest.mark.parametrize("name", LAYERS)
def test_integer_features_and_scaled_pyramids_fail_where_a_model_is_built(name):
    boxes = keras.KerasTensor(BOXES)
    with pytest.raises(ValueError, match="`features.dtype` must be a floating-point type"):
        LAYERS[name](7)([keras.KerasTensor(MAP, dtype="uint8"), boxes])
    with pytest.raises(ValueError, match="`features.dtype` must be a floating-point type"):
        LAYERS[name](7)([np.zeros(MAP, "uint8"), np.zeros(BOXES, "float32")])
    with pytest.raises(ValueError, match="`spatial_scale` must be 1.0 where"):
        LAYERS[name](7, spatial_scale=0.5)([{"P2": keras.KerasTensor(MAP)}, boxes])
    with pytest.raises(ValueError, match=r"`boxes.shape` must be \(2, K, 4\)"):
        LAYERS[name](7).compute_output_shape([MAP, (3, 5, 4)])


def test_a_pyramid_has_its_own_scales():
    with pytest.raises(ValueError, match="`spatial_scale` must be 1.0.*names of a pyramid's levels"):
        RoIAlign(7, spatial_scale=0.25)([pyramid(), boxes_about(3, 64, 64, images=2)])
