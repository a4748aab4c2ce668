"""The confusion matrix: against scikit-learn, exact beyond 2^24 and 2^31, in fit and evaluate, reloaded."""

import keras
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from keras_seg.losses import CrossEntropy
from keras_seg.metrics import ConfusionMatrix, scores_from_matrix
from keras_seg.metrics.confusion import BASE

K = 4
IGNORED = 255
SCORES = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")


def make_case(seed=0, shape=(2, 7, 9)):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, K, shape)
    ids[rng.random(shape) < 0.2] = IGNORED
    return ids, rng.normal(size=(*shape, K)).astype("float32")


def expected_matrix(ids, predicted):
    counted = ids != IGNORED
    return confusion_matrix(ids[counted], predicted[counted], labels=range(K))


def result_of(metric):
    return {name: float(value) for name, value in metric.result().items()}


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
@pytest.mark.parametrize("as_logits", [True, False])
@pytest.mark.parametrize("last_axis", [True, False])
def test_counts_are_scikit_learns(dtype, as_logits, last_axis):
    ids, logits = make_case()
    predicted = logits.argmax(-1)
    metric = ConfusionMatrix(K, IGNORED)
    truth = ids.astype(dtype)
    prediction = logits if as_logits else predicted.astype(dtype)
    if last_axis:
        truth = truth[..., None]
        prediction = prediction if as_logits else prediction[..., None]
    metric.update_state(truth, prediction)
    matrix = metric.matrix()
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, expected_matrix(ids, predicted))


def test_sums_over_updates_and_resets():
    cases = [make_case(seed) for seed in range(3)]
    metric = ConfusionMatrix(K, IGNORED)
    for ids, logits in cases:
        metric.update_state(ids, logits, sample_weight=np.full(ids.shape, 7.0))
    expected = sum(expected_matrix(ids, logits.argmax(-1)) for ids, logits in cases)
    np.testing.assert_array_equal(metric.matrix(), expected)
    metric.reset_state()
    assert metric.matrix().sum() == 0


def test_ids_outside_the_classes_are_left_out():
    metric = ConfusionMatrix(2)
    metric.update_state(np.array([[[0, 1, 2, -1, 1, 1]]]), np.array([[[0, 1, 1, 1, 2, -1]]]))
    np.testing.assert_array_equal(metric.matrix(), [[1, 0], [0, 1]])


def test_the_ignored_class_may_be_one_of_the_classes():
    metric = ConfusionMatrix(3, ignore_class=1)
    metric.update_state(np.array([[[0, 1, 2]]]), np.array([[[0, 0, 1]]]))
    np.testing.assert_array_equal(metric.matrix(), [[1, 0, 0], [0, 0, 0], [0, 1, 0]])


def test_one_update_beyond_float32s_whole_numbers():
    pixels = 2**24 + 3
    metric = ConfusionMatrix(2)
    metric.update_state(np.zeros((1, pixels, 1), "uint8")[..., 0], np.zeros((1, pixels), "uint8"))
    assert metric.matrix()[0, 0] == pixels


def test_carries_beyond_int32():
    """Counts are set to just below 2^31, 2^32 and 2^45; updates carry them over."""
    start = np.array([[2**31 - 1, 2**32 - 5], [2**45 - 1, 0]])
    metric = ConfusionMatrix(2)
    metric.low.assign((start % BASE).astype("int32"))
    metric.high.assign((start // BASE).astype("int32"))
    truth, predicted = np.array([[0, 0, 0, 1, 1, 1]]), np.array([[0, 1, 1, 0, 0, 1]])
    for _ in range(3):
        metric.update_state(truth, predicted)
    expected = start + 3 * np.array([[1, 2], [2, 1]])
    assert expected.max() > 2**45
    np.testing.assert_array_equal(metric.matrix(), expected)
    exact = scores_from_matrix(expected)
    for name, value in result_of(metric).items():
        assert value == pytest.approx(exact[name], rel=1e-6)


def test_large_updates_add_up_beyond_int32():
    """The carry at work with no state set by hand: 33 updates of 2^26 pixels, one pixel seen 2^26 times."""
    metric = ConfusionMatrix(2)
    metric._count = lambda truth, prediction: keras.ops.convert_to_tensor(
        [[2**26, 1], [0, 2**26 - 1]], "int32"
    )
    for _ in range(33):
        metric.update_state(np.zeros((1, 1, 1)), np.zeros((1, 1, 1)))
    np.testing.assert_array_equal(metric.matrix(), [[33 * 2**26, 33], [0, 33 * (2**26 - 1)]])
    assert metric.matrix()[0, 0] > 2**31


def test_scores_are_those_of_the_exact_matrix():
    ids, logits = make_case(3)
    metric = ConfusionMatrix(K, IGNORED, class_names=list("abcd"))
    metric.update_state(ids, logits)
    exact = scores_from_matrix(metric.matrix(), list("abcd"))
    assert metric.scores() == exact
    assert tuple(result_of(metric)) == SCORES
    for name, value in result_of(metric).items():
        assert value == pytest.approx(exact[name], rel=1e-6)


def test_ends_of_the_scale():
    ids, _ = make_case(4, shape=(3, 11, 13))
    metric = ConfusionMatrix(K, IGNORED)
    metric.update_state(ids, np.where(ids == IGNORED, 0, ids))
    assert result_of(metric) == dict.fromkeys(SCORES, 1.0)
    metric.reset_state()
    metric.update_state(ids, np.where(ids == IGNORED, 0, (ids + 1) % K))
    assert result_of(metric) == dict.fromkeys(SCORES, 0.0)


def test_nothing_counted_is_nan_and_absent_classes_are_left_out():
    metric = ConfusionMatrix(K, IGNORED)
    metric.update_state(np.full((1, 2, 2), IGNORED), np.zeros((1, 2, 2, K)))
    assert all(np.isnan(value) for value in result_of(metric).values())
    # True 0 0 1, predicted 0 2 1: accuracies 1/2 and 1, IoU 1/2, 1 and 0, and class 3 is nowhere.
    metric.update_state(np.array([[[0, 0, 1]]]), np.array([[[0, 2, 1]]]))
    expected = {"pixel_accuracy": 2 / 3, "mean_accuracy": 3 / 4, "mean_iou": 1 / 2}
    expected["frequency_weighted_iou"] = (2 * 1 / 2 + 1) / 3
    assert result_of(metric) == pytest.approx(expected, rel=1e-6)


def compiled_model(**compile_options):
    """A 1x1 convolution; the rate of 0 keeps its predictions through fit."""
    inputs = keras.Input((None, None, 3))
    outputs = keras.layers.Conv2D(K, 1)(inputs)
    outputs = keras.layers.Activation("linear", dtype="float32")(outputs)
    model = keras.Model(inputs, outputs)
    metrics = [ConfusionMatrix(K, IGNORED, class_names=list("abcd"))]
    model.compile(keras.optimizers.SGD(0.0), CrossEntropy(IGNORED), metrics=metrics, **compile_options)
    return model


def fit_case():
    return np.random.default_rng(5).normal(size=(5, 6, 7, 3)).astype("float32"), make_case(5, (5, 6, 7))[0]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_fit_and_evaluate_log_every_score(policy):
    keras.config.set_dtype_policy(policy)
    images, ids = fit_case()
    model = compiled_model()
    # Batches of 2, 2 and 1: scores are of the summed matrix, not means over batches.
    history = model.fit(images, ids, batch_size=2, epochs=2, validation_data=(images, ids), verbose=0).history
    expected = scores_from_matrix(expected_matrix(ids, model.predict(images, verbose=0).argmax(-1)))
    logs = model.evaluate(images, ids, batch_size=2, return_dict=True, verbose=0)
    for name in SCORES:
        assert logs[name] == pytest.approx(expected[name], rel=1e-6)
        assert history[f"val_{name}"] == pytest.approx([expected[name]] * 2, rel=1e-6)
        assert history[name] == pytest.approx([expected[name]] * 2, rel=1e-6)


def test_a_compiled_model_reloads_with_its_loss_and_metric(tmp_path):
    images, ids = fit_case()
    model = compiled_model()
    logs = model.evaluate(images, ids, return_dict=True, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.evaluate(images, ids, return_dict=True, verbose=0) == pytest.approx(logs, rel=1e-6)


@pytest.mark.tf_only
@pytest.mark.parametrize("jit_compile", [False, True])
def test_counts_with_and_without_xla(jit_compile):
    images, ids = fit_case()
    model = compiled_model(jit_compile=jit_compile)
    logs = model.evaluate(images, ids, batch_size=2, return_dict=True, verbose=0)
    expected = scores_from_matrix(expected_matrix(ids, model.predict(images, verbose=0).argmax(-1)))
    assert [logs[name] for name in SCORES] == pytest.approx([expected[name] for name in SCORES], rel=1e-6)


def test_config_round_trip():
    metric = ConfusionMatrix(K, 11, list("abcd"), name="mine")
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(again) is ConfusionMatrix
    assert again.get_config() == metric.get_config()
    assert again.get_config()["class_names"] == list("abcd")


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="`num_classes` must be an integer of at least 2"):
        ConfusionMatrix(1)
    with pytest.raises(ValueError, match="`class_names` must be 3 names"):
        ConfusionMatrix(3, class_names=["a"])
    metric = ConfusionMatrix(3)
    with pytest.raises(ValueError, match=r"`y_pred.shape` must be \(N, H, W, 3\)"):
        metric.update_state(np.zeros((1, 2, 2)), np.zeros((1, 2, 2, 4)))
    with pytest.raises(ValueError, match="`y_pred.shape` must be logits"):
        metric.update_state(np.zeros((1, 2, 2)), np.zeros((1, 2)))
