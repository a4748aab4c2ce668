"""The numbers of Mask R-CNN: published defaults, plain values there and back, anchors of levels, errors."""

import dataclasses
import json

import numpy as np
import pytest

from keras_seg.models.detector_settings import DetectorSettings
from keras_seg.ops import anchor_boxes

pytestmark = pytest.mark.tf_only


def test_defaults_are_the_published_ones():
    settings = DetectorSettings()
    assert (settings.anchor_sizes, settings.anchor_ratios) == ((32, 64, 128, 256, 512), (0.5, 1.0, 2.0))
    assert (settings.rpn_thresholds, settings.rpn_samples, settings.rpn_positive_fraction) == (
        (0.3, 0.7),
        256,
        0.5,
    )
    assert (settings.pre_nms, settings.max_proposals, settings.rpn_nms_threshold) == (
        (2000, 1000),
        (2000, 1000),
        0.7,
    )
    assert (settings.roi_threshold, settings.roi_samples, settings.roi_positive_fraction) == (0.5, 512, 0.25)
    assert (settings.crowd_threshold, settings.box_weights, settings.smooth_l1_beta) == (
        0.7,
        (10.0, 10.0, 5.0, 5.0),
        1 / 9,
    )
    assert (settings.roi_layer, settings.sampling_ratio, settings.canonical_size) == ("align", 2, 224)
    assert (settings.score_threshold, settings.nms_threshold, settings.max_detections) == (0.05, 0.5, 100)


def test_plain_values_there_and_back():
    settings = DetectorSettings(anchor_sizes=[8, 16.5], pre_nms=[70, 30], seed=4, roi_layer="pool")
    assert settings.anchor_sizes == (8, 16.5)
    again = DetectorSettings(**json.loads(json.dumps(settings.as_dict())))
    assert again == settings
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.seed = 5


def test_anchors_of_levels():
    settings = DetectorSettings(anchor_sizes=(8, 16), anchor_ratios=(1.0,))
    anchors = settings.anchors_of((64, 96), {"P5": (1, 1), "P4": (8, 12)})
    assert settings.anchors_per_pixel(2) == 1
    np.testing.assert_array_equal(anchors["P4"].boxes(np), anchor_boxes((64, 96), (8, 12), (8,), (1.0,)))
    np.testing.assert_array_equal(anchors["P5"].boxes(np), anchor_boxes((64, 96), 1, (16,), (1.0,)))
    one = settings.anchors_of((64, 96), {"P4": (4, 6)})
    assert settings.anchors_per_pixel(1) == 2
    np.testing.assert_array_equal(one["P4"].boxes(np), anchor_boxes((64, 96), (4, 6), (8, 16), (1.0,)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"anchor_sizes": 32}, ValueError, "`anchor_sizes` must be a tuple of numbers"),
        ({"anchor_sizes": ()}, ValueError, "`anchor_sizes` must be a tuple of numbers"),
        ({"anchor_sizes": (32, 0)}, ValueError, "`anchor_sizes` must be a number within"),
        ({"anchor_ratios": (1.0, -2)}, ValueError, "`anchor_ratios` must be a number within"),
        ({"anchor_ratios": ("1:2",)}, TypeError, "`anchor_ratios` must be a number"),
        (
            {"rpn_thresholds": (0.7, 0.3)},
            ValueError,
            r"`rpn_thresholds` must be a pair \(low, high\).*0.7, 0.3",
        ),
        ({"rpn_thresholds": (0.3,)}, ValueError, r"`rpn_thresholds` must be a pair \(low, high\)"),
        ({"rpn_thresholds": (0.3, 1.7)}, ValueError, r"`rpn_thresholds` must be a number within \[0, 1\]"),
        ({"pre_nms": 1000}, ValueError, "`pre_nms` must be a tuple of numbers"),
        ({"pre_nms": (1, 2, 3)}, ValueError, r"`pre_nms` must be a pair \(training, prediction\)"),
        ({"max_proposals": (100, 0)}, ValueError, "`max_proposals` must be an integer of at least 1"),
        ({"roi_samples": 0}, ValueError, "`roi_samples` must be an integer of at least 1"),
        ({"rpn_samples": 1.5}, TypeError, "`rpn_samples` must be an integer"),
        ({"roi_positive_fraction": 1.1}, ValueError, "`roi_positive_fraction` must be a number within"),
        ({"crowd_threshold": 1.1}, ValueError, "`crowd_threshold` must be a number within"),
        ({"box_weights": (10, 5)}, ValueError, "`box_weights` must be four positive numbers"),
        ({"box_weights": (10, 10, 5, 0)}, ValueError, "`box_weights` must be a number within"),
        ({"smooth_l1_beta": 0}, ValueError, "`smooth_l1_beta` must be a number within"),
        ({"score_threshold": -0.1}, ValueError, "`score_threshold` must be a number within"),
        ({"nms_threshold": float("nan")}, ValueError, "`nms_threshold` must be a number within"),
        ({"canonical_size": 0}, ValueError, "`canonical_size` must be a number within"),
        ({"seed": -1}, ValueError, "`seed` must be an integer of at least 0"),
        ({"seed": None}, TypeError, "`seed` must be an integer of at least 0"),
        ({"roi_layer": "warp"}, ValueError, "`roi_layer` must be one of 'align', 'pool'"),
        ({"sampling_ratio": 0}, ValueError, "`sampling_ratio` must be an integer"),
    ],
)
def test_errors(options, error, message):
    with pytest.raises(error, match=message):
        DetectorSettings(**options)


def test_a_size_for_each_level():
    with pytest.raises(ValueError, match="`anchor_sizes` must be 2 sizes, one for each of P2, P3"):
        DetectorSettings(anchor_sizes=(8,)).anchors_of(64, {"P2": (16, 16), "P3": (8, 8)})
