"""The comparison with `predict`: what it asks, what it lets pass and what it does not."""

import io

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from keras_seg.export import ExportError, check
from keras_seg.export.sizes import SizeRule, size_rules

ANY = (SizeRule(), SizeRule())


def pointwise_model(shape=(None, None, 1), num_classes=3):
    """Logits that depend on each pixel alone."""
    images = keras.Input(shape)
    return keras.Model(images, layers.Conv2D(num_classes, 1)(layers.Rescaling(1 / 255)(images)))


def honest_answers(questions, batches, singles):
    """What a SavedModel without any error would answer."""
    answers = {}
    for i, logits in enumerate(batches):
        for name in ("serving_default", "serving_uint8"):
            answers[f"{name}_{i}_logits"] = logits.copy()
            answers[f"{name}_{i}_classes"] = logits.argmax(-1).astype("int32")
    for i, logits in enumerate(singles):
        file = io.BytesIO()
        Image.fromarray(logits.argmax(-1).astype("uint8")).save(file, "PNG")
        answers[f"mask_{i}"] = np.frombuffer(file.getvalue(), "uint8")
    return answers


@pytest.fixture
def asked():
    model = pointwise_model()
    images = check.prepare_images(model, ANY)
    questions, batches, singles = check.ask(model, ANY, images)
    return model, questions, batches, singles


def test_questions_cover_batches_odd_sizes_and_every_image(asked):
    model, questions, batches, singles = asked
    assert [questions[key].shape for key in ("batch_0", "batch_1")] == [(2, 48, 48, 1), (1, 37, 53, 1)]
    assert [logits.shape for logits in singles] == [(48, 48, 3), (48, 48, 3), (37, 53, 3)]
    decoded = np.asarray(Image.open(io.BytesIO(questions["bytes_2"].tobytes())))
    np.testing.assert_array_equal(decoded, questions["batch_1"][0, ..., 0])
    np.testing.assert_array_equal(singles[2], batches[1][0])


def test_equal_answers_pass(asked):
    model, questions, batches, singles = asked
    comparison = check.compare(model, honest_answers(questions, batches, singles), batches, singles)
    assert comparison.passed
    assert comparison.largest_difference == 0
    assert comparison.images == 3
    # Each pixel by two signatures of arrays and one of bytes.
    assert comparison.pixels == 3 * (2 * 48 * 48 + 37 * 53)
    assert "0 of 19707 pixels of another class" in str(comparison)


@pytest.mark.parametrize("wrong", [0.5, np.nan, np.inf])
def test_one_wrong_logit_fails(asked, wrong):
    model, questions, batches, singles = asked
    answers = honest_answers(questions, batches, singles)
    answers["serving_uint8_1_logits"][0, 5, 7, 1] += wrong
    assert not check.compare(model, answers, batches, singles).passed


def test_one_wrong_pixel_of_a_mask_fails_unless_it_is_a_tie(asked):
    model, questions, batches, singles = asked
    allowed = check.tolerance(model, max(np.abs(logits).max() for logits in batches + singles))
    decided = singles[2].copy()
    decided[3, 4] = (0, 9, 0)
    tied = singles[2].copy()
    tied[3, 4] = (0, allowed, 0)
    for logits, passes in ((decided, False), (tied, True)):
        answers = honest_answers(questions, batches, [*singles[:2], logits])
        served = logits.copy()
        served[3, 4] = (1, 0, 0)
        answers["mask_2"] = honest_answers(questions, batches, [served])["mask_0"]
        comparison = check.compare(model, answers, batches, [*singles[:2], logits])
        assert comparison.passed is passes
        assert (comparison.other_class, comparison.ties) == ((0, 1) if passes else (1, 0))


def test_a_model_that_has_diverged_is_not_exported():
    model = pointwise_model()
    model.layers[-1].set_weights([np.full((1, 1, 1, 3), np.nan), np.zeros(3)])
    with pytest.raises(ExportError, match="the training has diverged"):
        check.ask(model, ANY, check.prepare_images(model, ANY))


def test_masks_of_another_size_are_an_error(asked):
    model, questions, batches, singles = asked
    answers = honest_answers(questions, batches, singles)
    answers["mask_2"] = answers["mask_0"]
    with pytest.raises(ExportError, match=r"shape \(48, 48\) where \(37, 53\) was expected"):
        check.compare(model, answers, batches, singles)


def test_a_fixed_size_is_asked_whole_values_and_compared_at_the_images_size():
    model = pointwise_model((16, 24, 1))
    rules = size_rules(model)
    images = check.prepare_images(model, rules)
    questions, batches, singles = check.ask(model, rules, images)
    assert questions["batch_0"].shape == (3, 16, 24, 1)
    np.testing.assert_array_equal(questions["batch_0"], np.rint(questions["batch_0"]))
    assert singles[2].shape == (37, 53, 3)


def test_the_tolerance_follows_the_arithmetic():
    float32 = check.tolerance(pointwise_model(), 10.0)
    keras.config.set_dtype_policy("mixed_bfloat16")
    bfloat16 = check.tolerance(pointwise_model(), 10.0)
    # Three layers, two of which round to 8 bits; on an accelerator float32 convolutions round to 11.
    assert bfloat16 == pytest.approx(10 * 4 * 2**-8 * 3**0.5)
    assert 10 * 1e-3 <= float32 <= 10 * 4 * 2**-11 * 3**0.5 + 1e-9


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([np.zeros((8, 8, 3))], "images of 1 channels"),
        ([np.full((8, 8, 1), 300.0)], "within 0..255"),
        ([np.full((8, 8, 1), np.nan)], "within 0..255"),
        ([np.zeros((8, 8))], "3 axes"),
        ([], "at least one image"),
    ],
)
def test_bad_check_images(images, message):
    with pytest.raises(ValueError, match=message):
        check.prepare_images(pointwise_model(), ANY, images)
