"""`evaluate` and `predict` of a detector, which reads its answers off the colours."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks

from keras_seg.cli.main import main
from tests.inference.slot_detector import draw_slots, slot_detector

OBJECTS = [(1, 0.9, (4, 6, 30, 40)), (2, 0.8, (30, 6, 60, 40)), (3, 0.4, (10, 44, 50, 60))]
NAMES = ["square", "disc", "ring"]


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    slot_detector().save(folder / "model.keras")
    config = {"class_names": ["background", *NAMES], "object_names": NAMES, "category_ids": [5, 6, 7]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(draw_slots((64, 64), OBJECTS)).save(folder / "000000000009.png")
    Image.fromarray(draw_slots((80, 130), OBJECTS)).save(folder / "000000000025.png")
    return folder


@pytest.fixture
def coco(photos):
    """COCO annotations of the photos; the truth is what is drawn."""
    annotations = []
    for image_id in (9, 25):
        for slot, _, (x1, y1, x2, y2) in OBJECTS:
            box = [x1, y1, x2 - x1, y2 - y1]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 5 + slot % 3,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
                }
            )
    content = {
        "images": [
            {"id": 9, "file_name": "000000000009.png", "height": 64, "width": 64},
            {"id": 25, "file_name": "000000000025.png", "height": 80, "width": 130},
        ],
        "categories": [{"id": 5 + k, "name": name} for k, name in enumerate(NAMES)],
        "annotations": annotations,
    }
    (photos / "annotations.json").write_text(json.dumps(content))
    return f"coco:{photos / 'annotations.json'},{photos}"


def test_evaluate_prints_and_writes_every_score(run_folder, coco, tmp_path, capsys):
    file = tmp_path / "scores.json"
    assert main(["evaluate", str(run_folder), "--data", coco, "--json", str(file)]) == 0
    scores = json.loads(file.read_text())
    names = {"box_ap", "box_ap50", "mask_ap", "mask_ap75", "mask_ap_small", "mask_ar100", "mask_ap/disc"}
    assert names | {f"average_precision/iou_0.{percent}" for percent in range(50, 100, 5)} <= set(scores)
    assert scores["mask_ap50"] == pytest.approx(1, abs=1e-6)
    assert scores["mask_ap_large"] is None
    # The third object of each image is below 0.5.
    assert scores["average_precision/iou_0.50"] == pytest.approx(2 / 3)
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines() if len(line.split()) == 2)
    assert set(scores) <= set(printed) and printed["mask_ap"] == f"{scores['mask_ap']:.4f}"

    command = ["evaluate", str(run_folder), "--data", coco, "--score-threshold", "0.3"]
    assert main([*command, "--max-detections", "1", "--json", str(file)]) == 0
    scores = json.loads(file.read_text())
    assert scores["average_precision/iou_0.50"] == 1
    # Each class has one object an image.
    assert scores["mask_ar1"] > 0.9 and "mask_ar100" not in scores


def test_predict_writes_ids_of_objects_overlays_and_results(run_folder, photos, tmp_path):
    out, results = tmp_path / "out", tmp_path / "lists" / "results.json"
    command = [
        "predict",
        str(run_folder),
        str(photos),
        "--out",
        str(out),
        "--overlay",
        "--json",
        str(results),
    ]
    assert main(command) == 0
    for name, size in {"000000000009": (64, 64), "000000000025": (80, 130)}.items():
        with Image.open(out / f"{name}.png") as image:
            assert image.mode == "I;16"
            ids = np.asarray(image)
        assert ids.shape == size and ids.dtype == np.uint16
        assert (ids[20, 10], ids[20, 50], ids[50, 30], ids[0, 0]) == (1, 2, 0, 0)
        with Image.open(out / "overlays" / f"{name}.png") as image:
            assert (image.size, image.mode) == (size[::-1], "RGB")
    rows = json.loads(results.read_text())
    assert [(row["image_id"], row["category_id"]) for row in rows] == [
        (9, 6), (9, 7), (9, 5), (25, 6), (25, 7), (25, 5)
    ]  # fmt: skip
    assert rows[0]["file_name"] == "000000000009.png"
    assert rows[0]["score"] == pytest.approx(0.9, abs=0.01)
    assert coco_masks.decode(rows[0]["segmentation"]).sum() == 26 * 34


def test_more_is_drawn_at_a_lower_score(run_folder, photos, tmp_path):
    command = ["predict", str(run_folder), str(photos / "000000000009.png"), "--out", str(tmp_path)]
    assert main([*command, "--score-threshold", "0.3"]) == 0
    assert np.asarray(Image.open(tmp_path / "000000000009.png"))[50, 30] == 3


def test_images_with_other_names_are_numbered(run_folder, photos, tmp_path):
    (photos / "000000000009.png").rename(photos / "a.png")
    results = tmp_path / "results.json"
    (run_folder / "config.json").unlink()
    command = [
        "predict",
        str(run_folder),
        str(photos),
        "--out",
        str(tmp_path / "out"),
        "--json",
        str(results),
    ]
    assert main(command) == 0
    rows = json.loads(results.read_text())
    assert {(row["file_name"], row["image_id"]) for row in rows} == {("000000000025.png", 1), ("a.png", 2)}
    # Without COCO data behind the model, labels count from 1.
    assert {row["category_id"] for row in rows} == {1, 2, 3}


@pytest.mark.tf_only
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--crf"], "--crf does not go with a detector"),
        (["--aggregate", "mean", "--probability", "disc"], "--aggregate, --probability does not go with"),
        (["--score-threshold", "2"], "`score_threshold` must be a number within"),
    ],
)
def test_options_that_mean_nothing_here_are_refused(run_folder, photos, tmp_path, capsys, options, message):
    assert main(["predict", str(run_folder), str(photos), "--out", str(tmp_path / "o"), *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.tf_only
def test_options_of_detectors_are_refused_for_classes(tmp_path, capsys):
    from keras_seg import unet

    unet(2, filters=2, depth=1).save(tmp_path / "unet.keras")
    Image.fromarray(np.zeros((8, 8, 3), "uint8")).save(tmp_path / "a.png")
    model, out = str(tmp_path / "unet.keras"), str(tmp_path / "o")
    assert main(["predict", model, str(tmp_path / "a.png"), "--out", out, "--json", "x.json"]) == 2
    assert "--json does not go with a model of classes" in capsys.readouterr().err
    assert main(["evaluate", model, "--data", "shapes:1", "--max-detections", "3"]) == 2
    assert "--max-detections does not go with a model of classes" in capsys.readouterr().err


def test_large_images_are_seen_in_windows(run_folder, tmp_path):
    objects = [(1, 0.9, (300, 100, 304, 104)), (2, 0.8, (20, 500, 24, 504))]
    folder = tmp_path / "large"
    folder.mkdir()
    Image.fromarray(draw_slots((640, 640), objects)).save(folder / "large.png")
    found = []
    for options in ([], ["--min-scale", "1"]):
        out = tmp_path / f"out{len(found)}"
        assert main(["predict", str(run_folder), str(folder), "--out", str(out), *options]) == 0
        found.append(np.asarray(Image.open(out / "large.png")))
    assert found[0].max() < 2
    assert sorted(np.unique(found[1], return_counts=True)[1][1:]) == [16, 16]
