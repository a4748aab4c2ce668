"""Networks with imported weights give torchvision's own answers, on every backend."""

import numpy as np
import pytest

from keras_seg.weights import from_torchvision
from tests.weights.golden import require


def largest_difference(received, expected):
    assert received.shape == expected.shape
    return np.abs(received - expected).max() / np.abs(expected).max()


# Measured on all three backends: at most 3e-6. float32 sums of thousands of products, in other orders.
TOLERANCE = 1e-4


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet50", "vgg16"])
def test_classifiers(name):
    state, golden = require(name)
    model, report = from_torchvision(name, state, return_report=True)
    del state
    scores = model.predict(golden["image"][None], verbose=0)
    assert scores.shape == (1, 1, 1, 1000)
    assert largest_difference(scores[:, 0, 0], golden["logits"]) <= TOLERANCE
    scaling = model.get_layer("rescaling").count_params()
    assert report.num_parameters + report.num_statistics + scaling == model.count_params()


def test_fcn_resnet50():
    state, golden = require("fcn_resnet50")
    model, report = from_torchvision("fcn_resnet50", state, return_report=True)
    logits = model.predict(golden["image"][None], verbose=0)
    assert logits.shape == (1, 256, 320, 21)
    # The file has every second row and column, channels first.
    assert largest_difference(np.moveaxis(logits[:, ::2, ::2], -1, 1), golden["out"]) <= TOLERANCE
    assert (
        "aux_classifier.0.weight"
        in report.unused["an auxiliary head, which serves torchvision's training only"]
    )
