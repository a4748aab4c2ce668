"""The check of a data set: what it counts, and what it says to people."""

import numpy as np
import pytest

from keras_seg.data import check, open_source

from .files import class_mask, save, write_folder

pytestmark = pytest.mark.tf_only


def test_counts(tmp_path):
    write_folder(tmp_path, num_classes=3)
    save(tmp_path / "masks" / "a2.png", np.zeros((12, 17), "uint8"))
    (tmp_path / "classes.json").write_text('{"classes": ["a", "b"], "ignore_index": 2}')
    report = check(open_source(f"folder:{tmp_path}"), progress=False)
    masks = np.stack([class_mask(0), class_mask(1), np.zeros((12, 17), "uint8"), class_mask(3)])
    assert report.count == 4 and report.sizes == {(12, 17): 4}
    np.testing.assert_array_equal(report.class_pixels, [(masks == 0).sum(), (masks == 1).sum()])
    np.testing.assert_array_equal(report.class_images, [4, 3])
    areas = [(masks < 2).sum(), (masks[[0, 1, 3]] < 2).sum()]
    np.testing.assert_array_equal(report.class_areas, areas)
    assert report.ignored_pixels == (masks == 2).sum()
    assert report.raise_if_bad() is None
    share = 100 * (masks == 1).sum() / masks.size
    for part in ("12 x 17 (4)", f"b       {share:7.3f} %       3", "ignored", "No problems found."):
        assert part in str(report)


def test_many_problems_are_cut_short_in_the_error_only(tmp_path):
    write_folder(tmp_path, count=14)
    (tmp_path / "classes.json").write_text('["a", "b", "c"]')
    for number in range(13):
        (tmp_path / "masks" / f"a{number}.png").write_bytes(b"")
    report = check(f"folder:{tmp_path}", progress=False)
    assert len(report.problems) == 13 and str(report).count("is empty (0 bytes)") == 13
    with pytest.raises(ValueError, match=r"13 of 14 items cannot be used:[^$]*and 3 more") as caught:
        report.raise_if_bad()
    assert str(caught.value).count("is empty (0 bytes)") == 10
