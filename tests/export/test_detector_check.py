"""The comparison of a detector's file with `predict`: what it lets pass and what it does not."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_seg.export import ExportError
from keras_seg.export.detector_check import DetectorCheck
from keras_seg.export.plain_client import _by_image
from keras_seg.export.signatures import build_module, write_classes
from tests.inference.slot_detector import draw_slots, slot_detector

pytestmark = pytest.mark.tf_only

CORNERS = [(0, 0), (15, 2), (30, 4), (47, 1), (3, 34), (20, 36), (40, 33)]
IMAGES = [
    draw_slots(
        (64, 64), [(k + 1, 0.95 - k / 20, (x, y, x + 12, y + 26)) for k, (x, y) in enumerate(CORNERS)]
    ),
    draw_slots((90, 120), [(2, 0.8, (10, 20, 50, 60)), (5, 0.6, (60, 40, 110, 80))]),
]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A check that has asked, and the honest answers."""
    model = slot_detector()
    classes_file = tmp_path_factory.mktemp("classes") / "classes.json"
    write_classes(classes_file, [])
    _, served = build_module(model, (), classes_file)
    check = DetectorCheck(model, 0.5)
    questions = check.ask(check.prepare(IMAGES))
    answers = {}
    for name in ("serving_default", "serving_uint8"):
        dtype = "float32" if name == "serving_default" else "uint8"
        for output, value in served[name](images=questions["batch_0"].astype(dtype)).items():
            answers[f"{name}_0_{output}"] = value.numpy()
    outputs = served["serve_bytes"](image_bytes=[questions[f"bytes_{i}"].tobytes() for i in range(2)])
    for output, values in outputs.items():
        for place, value in _by_image(output.removesuffix("_bytes"), values.numpy()):
            answers[place] = np.frombuffer(value, "uint8") if isinstance(value, bytes) else value
    return check, answers


def changed(answers, **changes):
    return {**{name: np.copy(value) for name, value in answers.items()}, **changes}


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return np.frombuffer(file.getvalue(), "uint8")


def test_equal_answers_pass(asked):
    check, answers = asked
    comparison = check.compare(answers)
    assert comparison.passed and comparison.maps_agree
    # Nine objects by two signatures of arrays and one of bytes.
    assert (comparison.same, comparison.others, comparison.allowed_others) == (27, 0, 1)
    assert max(comparison.largest_differences.values()) < 1e-3
    assert comparison.sizes == ((64, 64), (90, 120))
    assert "27 detections the same, 0 others" in str(comparison)


@pytest.mark.parametrize("output", ["boxes", "scores", "masks"])
def test_numbers_that_differ_everywhere_fail(asked, output):
    check, answers = asked
    answers = changed(answers)
    answers[f"serving_uint8_0_{output}"] += 0.2
    comparison = check.compare(answers)
    # Nine without a partner on each side.
    assert comparison.others == 18 and not comparison.passed


@pytest.mark.parametrize("output", ["boxes_0", "scores_0", "labels_0"])
def test_what_is_said_of_encoded_images_is_compared_too(asked, output):
    check, answers = asked
    answers = changed(answers)
    answers[output] = answers[output] + np.array(1, answers[output].dtype)
    comparison = check.compare(answers)
    assert comparison.others == 14 and not comparison.passed


def test_order_does_not_matter_and_one_other_choice_may_be_a_tie(asked):
    check, answers = asked
    turned = changed(answers)
    for output in ("boxes", "labels", "scores", "masks"):
        values = turned[f"serving_default_0_{output}"]
        values[0, :7] = values[0, 6::-1].copy()
    assert check.compare(turned).others == 0
    turned["serving_default_0_num_detections"][0] = 6
    comparison = check.compare(turned)
    assert comparison.others == 1 and comparison.passed
    turned["serving_default_0_num_detections"][0] = 5
    assert not check.compare(turned).passed


def test_masks_of_encoded_images_are_compared_at_full_size(asked):
    check, answers = asked
    mask = np.asarray(Image.open(io.BytesIO(answers["mask_1_0"].tobytes())))
    shifted = changed(answers, mask_1_0=png(np.roll(mask, 3, axis=1)))
    comparison = check.compare(shifted)
    assert comparison.others == 2 and not comparison.maps_agree and not comparison.passed
    assert "maps of objects are not those of the masks" in str(comparison)
    with pytest.raises(ExportError, match="A mask has the size"):
        check.compare(changed(answers, mask_1_0=png(mask[:-1])))


def test_a_map_that_is_not_that_of_the_masks_fails(asked):
    check, answers = asked
    ids = np.asarray(Image.open(io.BytesIO(answers["instance_1"].tobytes())))
    assert ids.max() == 2
    assert not check.compare(changed(answers, instance_1=png(np.where(ids == 2, 0, ids)))).passed


def test_images_without_detections_say_so(asked):
    _, answers = asked
    model = slot_detector()
    check = DetectorCheck(model, 0.5)
    check.ask(check.prepare([np.zeros((64, 64, 3))]))
    empty = {name: value[:1] * 0 for name, value in answers.items() if name.startswith("serving")}
    comparison = check.compare(empty)
    assert comparison.passed and "no detections in them" in str(comparison)


def test_a_model_that_has_diverged_is_not_exported():
    model = slot_detector()
    predict = model.predict
    model.predict = lambda *args, **kwargs: {
        k: v * np.float32("nan") for k, v in predict(*args, **kwargs).items()
    }
    check = DetectorCheck(model, 0.5)
    with pytest.raises(ExportError, match="the training has diverged"):
        check.ask(check.prepare(IMAGES))


def test_the_map_leaves_out_what_is_mostly_hidden(asked):
    check, answers = asked
    square = np.zeros((64, 64), "uint8")
    square[10:40, 10:40] = 255
    sliver = np.roll(square, 9, axis=1)  # 9 of its 30 columns show
    given = {
        "num_detections_0": np.array(2),
        "scores_0": np.array([0.9, 0.8], "float32"),
        "boxes_0": np.zeros((2, 4), "float32"),
        "labels_0": np.zeros(2, "int32"),
        "mask_0_0": png(square),
        "mask_0_1": png(sliver),
    }
    ids = (square > 0).astype("uint16")
    assert check._served({**answers, **given, "instance_0": png(ids)}, 0, (64, 64))[1]
    ids[(sliver > 0) & (square == 0)] = 2
    assert not check._served({**answers, **given, "instance_0": png(ids)}, 0, (64, 64))[1]
