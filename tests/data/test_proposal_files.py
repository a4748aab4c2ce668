"""Files of object proposals: what is written is read back, and what is no box is named."""

import json

import numpy as np
import pytest

from keras_seg.data import DataError, open_source, proposal_crops, read_proposals, write_proposals

pytestmark = pytest.mark.tf_only

BOXES = {"a": np.array([[0, 1, 20.5, 30], [-5, 0, 9, 9]], "float32"), "b": np.zeros((0, 4), "float32")}


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_round_trip(suffix, tmp_path):
    path = tmp_path / f"boxes{suffix}"
    write_proposals(path, BOXES)
    write_proposals(path, BOXES)
    found = read_proposals(path)
    assert list(found) == ["a", "b"]
    for name, boxes in BOXES.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], boxes)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["file", "allow_pickle", "train/0001", "a.npy"])
def test_any_name_of_an_image(name, tmp_path):
    write_proposals(tmp_path / "boxes.npz", {name: BOXES["a"]})
    assert list(read_proposals(tmp_path / "boxes.npz")) == [name]


def test_crops_by_the_images_names():
    source = open_source("shapes:count=2,size=64,num_classes=3")
    everything = np.array([[0, 0, 64, 64]], "float32")
    crops = proposal_crops(source, dict.fromkeys(source.ids, everything), threshold=0.01, balance=False)
    assert len(crops) == 2
    with pytest.raises(DataError, match="no proposals for the image shapes_00001; there are some for 1"):
        proposal_crops(source, {source.ids[0]: everything}, threshold=0.01)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([[1, 2, 3, 4]], "must hold an object"),
        ({"a": [[1, 2, 3]]}, r"boxes for a that are not \[x1, y1, x2, y2\]"),
        ({"a": [[5, 2, 3, 4]]}, "x1 < x2"),
        ({"a": [[float("nan"), 2, 3, 4]]}, "x1 < x2"),
        ({"a": "none"}, "something else than boxes for a"),
    ],
)
def test_what_is_no_box(content, message, tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read_proposals(path)


def test_what_is_no_file(tmp_path):
    with pytest.raises(DataError, match="keras-seg propose"):
        read_proposals(tmp_path / "absent.npz")
    with pytest.raises(DataError, match="must end in .npz or .json"):
        read_proposals(tmp_path / "boxes.txt")
    (tmp_path / "boxes.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be read as NPZ"):
        read_proposals(tmp_path / "boxes.npz")
    (tmp_path / "boxes.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        read_proposals(tmp_path / "boxes.json")
