"""Cross-entropy: values and gradients against float64 NumPy, ignored pixels, weights, fit and reload."""

import keras
import numpy as np
import pytest

from keras_seg.losses import CrossEntropy

N, H, W, K = 2, 4, 5, 3
IGNORED = 255
# A float32 sum of 40 terms near 1, in any order, is right to 40 roundings of 6e-8.
TOLERANCE = 3e-6


def make_case(seed=0, shape=(N, H, W), ignored=0.3):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, K, shape)
    ids[rng.random(shape) < ignored] = IGNORED
    logits = (3 * rng.normal(size=(*shape, K))).astype("float32")
    weights = rng.uniform(0, 4, shape).astype("float32")
    return ids, logits, weights


def by_loops(ids, logits, weights=None, class_weights=None, reduction="mean"):
    """The docstring's formulas, pixel by pixel in float64."""
    values = np.zeros(ids.shape)
    for pixel in np.ndindex(ids.shape):
        if ids[pixel] == IGNORED:
            continue
        exponentials = np.exp(logits[pixel].astype("float64"))
        weight = 1.0 if weights is None else float(weights[pixel])
        weight *= 1.0 if class_weights is None else class_weights[ids[pixel]]
        values[pixel] = -weight * np.log(exponentials[ids[pixel]] / exponentials.sum())
    if reduction == "none":
        return values
    return values.sum() / ((ids != IGNORED).sum() if reduction == "mean" else 1)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("with_weights", [False, True])
@pytest.mark.parametrize("class_weights", [None, [0.5, 2.0, 0.0]])
def test_equals_the_formula(reduction, with_weights, class_weights):
    ids, logits, weights = make_case()
    weights = weights if with_weights else None
    loss = CrossEntropy(IGNORED, class_weights, reduction)
    value = keras.ops.convert_to_numpy(loss(ids, logits, weights))
    np.testing.assert_allclose(
        value, by_loops(ids, logits, weights, class_weights, reduction), rtol=TOLERANCE, atol=TOLERANCE
    )


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32"])
@pytest.mark.parametrize("last_axis", [False, True])
def test_takes_ids_of_any_type_with_or_without_a_last_axis(dtype, last_axis):
    ids, logits, weights = make_case(seed=1)
    expected = by_loops(ids, logits, weights)
    ids = ids.astype(dtype)
    if last_axis:
        ids, weights = ids[..., None], weights[..., None]
    assert float(CrossEntropy(IGNORED)(ids, logits, weights)) == pytest.approx(expected, rel=TOLERANCE)


def test_agrees_with_keras_where_keras_is_right():
    ids, logits, weights = make_case(seed=2)
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=IGNORED)
    ours = CrossEntropy(IGNORED)
    assert float(ours(ids, logits)) == pytest.approx(float(theirs(ids, logits)), rel=TOLERANCE)
    assert float(ours(ids, logits, weights)) == pytest.approx(
        float(theirs(ids, logits, weights)), rel=TOLERANCE
    )


@pytest.mark.parametrize("shape", [(4, 3, 4), (2, 4, 5)])
def test_weights_per_image_scale_images_also_where_n_equals_the_width(shape):
    ids, logits, _ = make_case(seed=3, shape=shape)
    weights = np.linspace(0.5, 3, shape[0]).astype("float32")
    expected = by_loops(ids, logits, np.broadcast_to(weights[:, None, None], shape))
    assert float(CrossEntropy(IGNORED)(ids, logits, weights)) == pytest.approx(expected, rel=TOLERANCE)


def test_what_lies_at_ignored_pixels_changes_nothing():
    ids, logits, weights = make_case(seed=4)
    loss = CrossEntropy(IGNORED)
    before = float(loss(ids, logits, weights))
    ignored = ids == IGNORED
    logits[ignored] = 50.0 * np.random.default_rng(9).normal(size=(ignored.sum(), K))
    weights[ignored] = 1e6
    assert float(loss(ids, logits, weights)) == before


def test_does_not_overflow_and_takes_half_precision():
    logits = np.array([[[[3e4, -3e4, 0.0]]]], "float16")
    assert float(CrossEntropy()(np.array([[[0]]]), logits)) == 0.0
    assert float(CrossEntropy()(np.array([[[1]]]), logits)) == pytest.approx(2 * float(logits[0, 0, 0, 0]))


def linear_model(loss, **compile_options):
    """Logits are a 1x1 convolution of the image: its gradient is known in closed form."""
    inputs = keras.Input((None, None, 2))
    outputs = keras.layers.Conv2D(K, 1, name="logits", dtype="float32")(inputs)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(1.0), loss, **compile_options)
    return model


def kernel(model):
    return keras.ops.convert_to_numpy(model.get_layer("logits").kernel)[0, 0].astype("float64")


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_one_step_of_fit_follows_the_gradient(reduction):
    ids, _, weights = make_case(seed=5)
    images = np.random.default_rng(5).normal(size=(N, H, W, 2)).astype("float32")
    class_weights = [1.0, 0.5, 2.0]
    model = linear_model(CrossEntropy(IGNORED, class_weights, reduction))
    before, logits = kernel(model), model.predict(images, verbose=0).astype("float64")
    model.fit(images, ids, sample_weight=weights, batch_size=N, verbose=0)

    counted = ids != IGNORED
    safe = np.where(counted, ids, 0)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    scale = weights * counted * np.array(class_weights)[safe] / (counted.sum() if reduction == "mean" else 1)
    by_logits = scale[..., None] * (probabilities - np.eye(K)[safe])
    gradient = np.einsum("nhwc,nhwk->ck", images, by_logits)
    np.testing.assert_allclose(
        before - kernel(model), gradient, rtol=1e-4, atol=1e-5 * np.abs(gradient).max()
    )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_batch_of_ignored_pixels_has_no_loss_and_moves_nothing(reduction):
    images = np.random.default_rng(6).normal(size=(N, H, W, 2)).astype("float32")
    model = linear_model(CrossEntropy(IGNORED, reduction=reduction))
    before = kernel(model)
    history = model.fit(images, np.full((N, H, W), IGNORED, "uint8"), verbose=0)
    assert history.history["loss"] == [0.0]
    np.testing.assert_array_equal(kernel(model), before)


def test_the_mean_is_over_the_valid_pixels_of_the_batch_not_of_each_image():
    ids, logits, _ = make_case(seed=7, ignored=0.0)
    ids[0, 1:] = IGNORED
    assert float(CrossEntropy(IGNORED)(ids, logits)) == pytest.approx(by_loops(ids, logits), rel=TOLERANCE)
    of_images = np.mean([by_loops(ids[i : i + 1], logits[i : i + 1]) for i in range(N)])
    assert abs(by_loops(ids, logits) - of_images) > 0.01


def test_config_round_trip_and_reload(tmp_path):
    loss = CrossEntropy(IGNORED, [1.0, 2.0, 3.0], "sum", name="mine")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is CrossEntropy
    assert again.get_config() == loss.get_config()
    ids, logits, weights = make_case(seed=8)
    assert float(again(ids, logits, weights)) == float(loss(ids, logits, weights))

    model = linear_model(loss)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    images = np.random.default_rng(8).normal(size=(N, H, W, 2)).astype("float32")
    assert reloaded.evaluate(images, ids, verbose=0) == pytest.approx(
        model.evaluate(images, ids, verbose=0), rel=1e-6
    )


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="`reduction` must be one of 'mean', 'sum', 'none'"):
        CrossEntropy(reduction="average")
    with pytest.raises(ValueError, match="`class_weights` must be a number"):
        CrossEntropy(class_weights=[1.0, -1.0])
    with pytest.raises(TypeError, match="`ignore_class` must be an integer"):
        CrossEntropy(ignore_class=1.5)
    ids, logits, _ = make_case()
    with pytest.raises(ValueError, match="`class_weights` must be 3 numbers"):
        CrossEntropy(IGNORED, class_weights=[1.0, 1.0])(ids, logits)
    with pytest.raises(ValueError, match="not one-hot"):
        CrossEntropy()(np.eye(K)[np.zeros((N, H, W), int)], logits)
    with pytest.raises(ValueError, match="`sample_weight.shape`"):
        CrossEntropy(IGNORED)(ids, logits, np.ones((N, H, W, K)))
