"""`keras-seg check-data` on data with objects: counts, every bad annotation by name, and pictures."""

import pytest

from keras_seg.cli.main import main

from ..data.files import square, write_coco

pytestmark = pytest.mark.tf_only
pytest.importorskip("pycocotools")


def test_objects_are_counted_and_drawn(tmp_path, capsys):
    annotations = [{"segmentation": square(5, 5, 50, 38)}, {"segmentation": square(5, 5, 9, 9)}]
    spec = write_coco(tmp_path, annotations)
    assert main(["check-data", spec, "--pictures", str(tmp_path / "look")]) == 0
    shown = capsys.readouterr().out
    assert "objects: 2, per image 0 to 2" in shown and "No problems found." in shown
    assert "--instances" not in shown
    assert sorted(file.name for file in (tmp_path / "look").iterdir()) == ["a0.png", "a1.png"]


def test_bad_annotations_are_listed(tmp_path, capsys):
    good = {"segmentation": square(5, 5, 50, 38)}
    annotations = [
        {**good, "bbox": [9, 9, -3, 4]},
        {"segmentation": [[1, 2, 3, 4]]},
        {**good, "category_id": 5},
    ]
    spec = write_coco(tmp_path, annotations)
    (tmp_path / "images" / "a1.png").unlink()
    assert main(["check-data", spec]) == 2
    captured = capsys.readouterr()
    for part in (
        "annotation 100 of image 10 (a0.png) has a bbox without area",
        "annotation 101 of image 10 (a0.png) has a polygon of 2 points",
        "annotation 102 of image 10 (a0.png) has the category 5, which does not exist",
        "a1.png cannot be opened",
    ):
        assert part in captured.out
    assert "4 problems, listed above" in captured.err


def test_data_of_both_kinds_say_so(capsys):
    assert main(["check-data", "shapes:2"]) == 0
    assert "--instances counts and checks those" in capsys.readouterr().out
    assert main(["check-data", "shapes:2", "--instances"]) == 0
    assert "circle" in (shown := capsys.readouterr().out) and "small" in shown
