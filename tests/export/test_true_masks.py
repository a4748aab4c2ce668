"""Mean IU against true masks: whose images are whose, what is ignored, what is refused."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg.export import check, export_model
from keras_seg.export.sizes import SizeRule
from keras_seg.export.true_masks import mean_iou_of, prepare_masks

pytestmark = pytest.mark.tf_only

ANY = (SizeRule(), SizeRule())


def logits_of(classes, num_classes=3):
    return np.eye(num_classes, dtype="float32")[classes]


def test_images_of_several_sizes_find_their_masks():
    rng = np.random.default_rng(0)
    masks = [rng.integers(0, 3, size).astype("int32") for size in ((4, 5), (6, 3), (4, 5))]
    batches = [logits_of(np.stack([masks[0], masks[2]])), logits_of(masks[1][None])]
    served = [batches[0].copy(), batches[1]]
    served[0][1] = logits_of((masks[2] + 1) % 3)
    before, after = mean_iou_of(masks, ANY, batches, served)
    assert before == 1
    # 38 pixels, 20 of them of another class: by hand from the confusion of the three classes.
    right = masks[0].size + masks[1].size
    assert right == 38
    expected = []
    truth = np.concatenate([mask.ravel() for mask in masks])
    answer = np.concatenate([masks[0].ravel(), masks[1].ravel(), ((masks[2] + 1) % 3).ravel()])
    for label in range(3):
        both, either = (truth == label) & (answer == label), (truth == label) | (answer == label)
        expected.append(both.sum() / either.sum())
    assert after == pytest.approx(np.mean(expected))


def test_a_value_that_is_no_class_counts_nowhere():
    mask = np.array([[0, 1, 255, -1]], "int32")
    wrong_there = logits_of(np.array([[0, 1, 2, 2]]))[None]
    assert mean_iou_of([mask], ANY, [wrong_there], [wrong_there]) == (1, 1)


def test_a_fixed_size_is_scored_at_the_images_size():
    rules = (SizeRule(fixed=8), SizeRule(fixed=8))
    mask = np.repeat([[0, 1]], 20, axis=0).repeat(10, axis=1).astype("int32")
    fitted = logits_of(np.repeat([[0] * 4 + [1] * 4], 8, axis=0))[None]
    assert mean_iou_of([mask], rules, [fitted], [fitted])[0] > 0.9


def test_masks_that_do_not_belong_to_the_images():
    images = [np.zeros((4, 5, 1), "uint8")]
    for masks in ([], [np.zeros((5, 4), int)], [np.zeros((4, 5), int)] * 2):
        with pytest.raises(ValueError, match="one mask for each of `check_images`"):
            prepare_masks(masks, images)
    with pytest.raises(ValueError, match="integer class ids"):
        prepare_masks([np.zeros((4, 5))], images)


def test_the_report_has_both_scores(tmp_path):
    images = keras.Input((None, None, 1))
    head = layers.Conv2D(2, 1)
    model = keras.Model(images, head(images))
    head.set_weights([np.array([[[[0.0, 1.0]]]]), np.array([100.0, 0.0])])
    image = np.random.default_rng(0).integers(0, 256, (12, 9, 1), dtype="uint8")
    mask = (image[..., 0] > 100).astype("int32")
    report = export_model(model, tmp_path / "served", check_images=[image], check_masks=[mask])
    assert report.comparison.mean_iou == (1, 1)
    assert "mean IU of the true masks 1.0000 by predict, 1.0000 by the file" in str(report)
    with pytest.raises(ValueError, match="left out for detectors and without `check_images`"):
        export_model(model, tmp_path / "served", check_masks=[mask])
    assert check.mean_iou([(mask, logits_of(mask, 2))], 2) == 1
