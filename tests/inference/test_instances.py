"""Instances from class maps, by hand-made maps and by the nuclei's own truth."""

import numpy as np
import pytest

from keras_seg.data.image_files import read_mask
from keras_seg.data.nuclei import semantic_target
from keras_seg.inference import instances_from_semantic
from keras_seg.metrics import average_precision

pytestmark = pytest.mark.tf_only

TOUCHING = np.array(
    [
        [0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 2, 2, 2, 2, 2, 2, 2, 0],
        [0, 2, 1, 2, 2, 2, 1, 2, 0],
        [0, 2, 2, 2, 2, 2, 2, 2, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 2],
    ]
)


def test_watershed_grows_insides_over_their_border():
    result = instances_from_semantic(TOUCHING)
    assert result.dtype == np.int32 and result.max() == 2
    assert (result[1:4, 1:4] == 1).all() and (result[1:4, 5:8] == 2).all()
    assert (result[TOUCHING == 0] == 0).all() and (result[1:4, 4] > 0).all()


def test_watershed_of_probabilities_meets_where_the_inside_is_least_likely():
    probabilities = np.eye(3, dtype="float32")[TOUCHING]
    probabilities[..., 1] += np.array([0, 0, 0, 0.3, 0.3, 0.1, 0, 0, 0])
    result = instances_from_semantic(probabilities)
    assert (result[1:4, 1:5] == 1).all() and (result[1:4, 6:8] == 2).all()


def test_components_leave_the_border_out_and_join_foreground_classes():
    result = instances_from_semantic(TOUCHING, method="components")
    assert (result > 0).sum() == 2 and result.max() == 2
    assert instances_from_semantic(TOUCHING, method="components", foreground=(1, 2)).max() == 2


def test_corners_connect_by_choice():
    diagonal = np.eye(4, dtype="uint8")
    assert instances_from_semantic(diagonal, method="components").max() == 4
    assert instances_from_semantic(diagonal, method="components", connectivity=2).max() == 1
    assert instances_from_semantic(diagonal).max() == 1


def test_small_objects_are_removed_and_ids_stay_consecutive():
    classes = np.zeros((5, 9), "uint8")
    classes[0, 0], classes[0, 3:7], classes[3, 2:9] = 1, 1, 1
    result = instances_from_semantic(classes, method="components", min_size=4)
    assert np.unique(result).tolist() == [0, 1, 2]
    assert (result[0, 3:7] == 1).all() and (result[3, 2:9] == 2).all() and result[0, 0] == 0


@pytest.mark.parametrize("method", ["watershed", "components"])
@pytest.mark.parametrize("value", [0, 1, 2])
def test_maps_of_one_class(method, value):
    result = instances_from_semantic(np.full((6, 7), value), method=method)
    assert (result == (1 if value == 1 else 0)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prediction": np.zeros((4, 4))}, "`prediction` must be class ids"),
        ({"prediction": np.zeros((4, 4, 2), int)}, "`prediction` must be class ids"),
        (
            {"prediction": np.zeros((4, 4, 2)), "foreground": 2, "border": 1},
            "`foreground` must be class ids below 2",
        ),
        ({"method": "threshold"}, "`method` must be one of"),
        ({"border": 1}, "`border` must be another class"),
        ({"connectivity": 8}, "`connectivity` must be one of"),
        ({"min_size": -1}, "`min_size` must be an integer"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        instances_from_semantic(**{"prediction": TOUCHING, **arguments})


@pytest.mark.data
def test_true_borders_of_real_nuclei_give_the_nuclei_back(real_data):
    """A rim of two pixels cuts some thin nuclei in two, so that even the truth does not score 1."""
    truths = [
        read_mask(path).astype("int32")
        for path in sorted((real_data / "nuclei" / "instances").iterdir())[::25]
    ]
    found = [instances_from_semantic(semantic_target(truth)) for truth in truths]
    scores = average_precision(truths, found)
    joined = [instances_from_semantic((truth > 0).astype("uint8"), method="components") for truth in truths]
    assert scores["ap50"] > 0.97 and scores["ap"] > 0.94
    assert scores["ap"] > average_precision(truths, joined)["ap"] + 0.1


@pytest.mark.data
def test_cells_between_membranes(real_data):
    """Each cell of a slice is one component: as many as scikit-image counts, and none leaks into another."""
    mask = (read_mask(sorted((real_data / "isbi2012" / "masks").iterdir())[0]) > 127).astype("uint8")
    result = instances_from_semantic(mask, method="components")
    assert result.max() > 50
    assert ((result > 0) == (mask == 1)).all()
    across = (result[:, 1:] != result[:, :-1]) & (result[:, 1:] > 0) & (result[:, :-1] > 0)
    assert not across.any()
