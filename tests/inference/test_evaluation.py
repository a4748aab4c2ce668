"""Scores of whole data sets, by a network whose answers are known: it reads the class off the grey value."""

import keras
import numpy as np
import pytest
from PIL import Image

from keras_seg.data import open_source
from keras_seg.inference import evaluate_semantic
from tests.harness import pixels

STEP = 40


def reader(num_classes, channels=1):
    """logits_k = 2 c_k x - c_k^2, largest for the c_k nearest to the grey value x; c_k = 40 k."""
    images = keras.Input((None, None, channels))
    layer = keras.layers.Conv2D(num_classes, 1, data_format="channels_last")
    model = keras.Model(images, layer(images))
    centres = STEP * np.arange(num_classes)
    kernel = np.zeros((1, 1, channels, num_classes))
    kernel[0, 0, 0] = 2 * centres
    layer.set_weights([kernel, -(centres.astype(float) ** 2)])
    return model


def write(folder, part, name, array):
    (folder / part).mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(folder / part / f"{name}.png")


def test_four_scores_and_classes_against_loops(tmp_path):
    rng = np.random.default_rng(0)
    truths = [rng.integers(0, 3, size).astype("uint8") for size in ((9, 12), (14, 5))]
    seen = [np.where(rng.random(truth.shape) < 0.3, (truth + 1) % 3, truth) for truth in truths]
    for name, truth, image in zip("ab", truths, seen, strict=True):
        truth[0] = 9
        write(tmp_path, "images", name, (STEP * image).astype("uint8"))
        write(tmp_path, "masks", name, truth)
    (tmp_path / "classes.json").write_text('{"classes": ["x", "y", "z"], "ignore_index": 9}')
    scores = evaluate_semantic(reader(3), f"folder:{tmp_path}", progress=False)

    pairs = [
        (t, p)
        for truth, image in zip(truths, seen, strict=True)
        for t, p in zip(truth.ravel().tolist(), image.ravel().tolist(), strict=True)
        if t != 9
    ]
    ious = []
    for k in range(3):
        both = sum(t == k and p == k for t, p in pairs)
        ious.append(both / sum(t == k or p == k for t, p in pairs))
    assert scores["pixel_accuracy"] == pytest.approx(sum(t == p for t, p in pairs) / len(pairs), rel=1e-12)
    assert scores["mean_iou"] == pytest.approx(np.mean(ious), rel=1e-12)
    assert [scores[f"iou/{name}"] for name in "xyz"] == pytest.approx(ious, rel=1e-12)
    weighted = sum(iou * sum(t == k for t, _ in pairs) for k, iou in enumerate(ious)) / len(pairs)
    assert scores["frequency_weighted_iou"] == pytest.approx(weighted, rel=1e-12)


@pytest.mark.tf_only
def test_a_perfect_membrane_map_is_exactly_perfect(tmp_path):
    cells = np.full((24, 30), 255, "uint8")
    cells[:, 10:13] = cells[7:9, 13:] = 0
    for name in "ab":
        write(tmp_path, "masks", name, cells)
        write(tmp_path, "images", name, np.where(cells > 0, STEP, 0).astype("uint8"))
    scores = evaluate_semantic(reader(2), f"isbi:{tmp_path}", progress=False)
    assert (scores["mean_iou"], scores["v_rand_thinned"], scores["v_info_thinned"]) == (1, 1, 1)
    assert scores["pixel_error"] == 0


@pytest.mark.tf_only
def test_perfect_nuclei_are_found(tmp_path):
    instances = np.zeros((40, 50), "uint16")
    instances[3:15, 4:18] = 1
    instances[3:15, 18:30] = 2  # touches the first
    instances[22:36, 20:34] = 3
    write(tmp_path, "instances", "a", instances)
    write(tmp_path, "images", "a", np.zeros((40, 50, 3), "uint8"))
    classes = open_source(f"nuclei:{tmp_path}").read(0)[1]
    write(tmp_path, "images", "a", np.repeat(STEP * classes[..., None], 3, axis=-1))
    scores = evaluate_semantic(reader(3, 3), f"nuclei:{tmp_path}", progress=False)
    assert scores["mean_iou"] == 1
    assert scores["average_precision/iou_0.50"] == 1
    assert {f"average_precision/iou_0.{percent}" for percent in range(50, 100, 5)} <= set(scores)
    assert scores["average_precision/mean"] > 0.8  # the line between two that touch is given to one of them


def test_augmented_and_tiled_agree_with_plain(tmp_path):
    write(tmp_path, "images", "a", pixels(20, 31))
    write(tmp_path, "masks", "a", np.random.default_rng(1).integers(0, 3, (20, 31)).astype("uint8"))
    plain = evaluate_semantic(reader(3), f"folder:{tmp_path}", progress=False)
    # A network that sees one pixel at a time has the same answer whichever way the image is turned.
    augmented = evaluate_semantic(reader(3), f"folder:{tmp_path}", augment="all", progress=False)
    assert augmented == pytest.approx(plain)


def test_data_of_other_classes_are_refused():
    with pytest.raises(ValueError, match=r"`data` must be of 3 channels and 7 classes"):
        evaluate_semantic(reader(7, 3), "shapes:count=1,num_classes=4")
