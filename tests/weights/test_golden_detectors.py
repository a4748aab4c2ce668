"""Detectors with torchvision's weights: its maps, boxes and masks on every backend, and its files."""

import json

import keras
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from keras_seg import mask_rcnn
from keras_seg.models.weights import layers_by_name
from keras_seg.weights import from_torchvision, load_encoder, published_files
from keras_seg.weights.catalog import architecture
from tests.weights.golden import GOLDEN, require

# Measured on all three backends: at most 3e-6. float32 sums of thousands of products, in other orders.
TOLERANCE = 1e-4
# The files have every 8th row and column of P2, every 4th of P3 and so on.
STEPS = {"P2": 8, "P3": 4, "P4": 2, "P5": 2, "P6": 2}
PARAMETERS = {"maskrcnn_resnet50_fpn": 44_401_393, "maskrcnn_resnet50_fpn_v2": 46_359_409}


class Stages(keras.Model):
    """All that a detector computes on the way to its answer, so that one compilation shows it."""

    def __init__(self, detector):
        super().__init__()
        self.detector = detector
        self.built = True  # JAX would build it by running it operation by operation

    def call(self, images):
        maps = self.detector.features(images, training=False)
        heads = {level: self.detector.rpn_head(maps[level], training=False) for level in maps}
        return {
            "maps": maps,
            "logits": {level: logits for level, (logits, _) in heads.items()},
            "deltas": {level: deltas for level, (_, deltas) in heads.items()},
            "proposals": self.detector.propose(images)[0],
            "detections": self.detector(images, training=False),
        }


def difference(received, channels_first):
    expected = np.moveaxis(channels_first, 1, -1)
    assert received.shape == expected.shape
    return np.abs(received - expected).max() / np.abs(expected).max()


def pairs(boxes, labels, other_boxes, other_labels):
    """Which of the other boxes each is, whatever their order: near ties in score may swap places."""
    distances = np.abs(boxes[:, None] - other_boxes).max(axis=-1)
    return linear_sum_assignment(distances + 1e6 * (labels[:, None] != other_labels))[1]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", PARAMETERS)
def test_every_stage(name):
    state, golden = require(name)
    model, report = from_torchvision(name, state, (256, 320, 3), return_report=True)
    del state
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == PARAMETERS[name]
    assert report.untouched == ()
    stages = Stages(model).predict(golden["image"][None], verbose=0)

    for index, (level, step) in enumerate(STEPS.items()):
        answer = golden["fpn_pool" if level == "P6" else f"fpn_{index}"]
        assert difference(stages["maps"][level][:, ::step, ::step], answer) <= TOLERANCE, level
    # The file has those of P4.
    assert difference(stages["logits"]["P4"], golden["rpn_logits_2"]) <= TOLERANCE
    assert difference(stages["deltas"]["P4"], golden["rpn_deltas_2"]) <= TOLERANCE

    proposals, expected = stages["proposals"][0], golden["proposals"]
    assert not proposals[len(expected) :].any()
    order = pairs(proposals[: len(expected)], np.zeros(len(expected)), expected, np.zeros(len(expected)))
    off = np.abs(proposals[: len(expected)] - expected[order]).max(axis=-1)
    assert (off <= 0.1).mean() >= 0.99

    found = {key: values[0] for key, values in stages["detections"].items()}
    assert found["num_detections"] == len(golden["boxes"]) == 100
    order = pairs(found["boxes"], found["labels"] + 1, golden["boxes"], golden["labels"])
    right = found["labels"] + 1 == golden["labels"][order]
    right &= np.abs(found["boxes"] - golden["boxes"][order]).max(axis=-1) <= 0.1
    right &= np.abs(found["scores"] - golden["scores"][order]) <= 1e-3
    assert right.sum() >= 99
    # The file has the masks of the first detections.
    masks = golden["masks"][:, 0]
    rows = np.flatnonzero(right & (order < len(masks)))
    assert len(rows) >= len(masks) - 1
    assert np.abs(found["masks"][rows] - masks[order[rows]]).max() <= 1e-3


def published(name):
    """A tensor's name today, as it is in the file that torchvision published for the first version."""
    if name.startswith(("backbone.fpn.", "rpn.head.conv.")):
        return name.replace(".0.weight", ".weight").replace(".0.bias", ".bias").replace("conv.0.", "conv.")
    if name.startswith("roi_heads.mask_head."):
        index, _, kind = name.split(".")[2:]
        return f"roi_heads.mask_head.mask_fcn{int(index) + 1}.{kind}"
    return name


@pytest.mark.tf_only
def test_the_published_files_names_are_those_of_today():
    if not GOLDEN.is_dir():
        pytest.skip(f"no answers of torchvision at {GOLDEN}")
    today = set(json.loads((GOLDEN / "maskrcnn_resnet50_fpn.shapes.json").read_text()))
    old = {published(name) for name in today}
    assert len(old) == len(today) and len(old - today) == 16 + 2 + 8
    assert {
        "backbone.fpn.inner_blocks.3.weight",
        "backbone.fpn.layer_blocks.0.bias",
        "rpn.head.conv.weight",
        "roi_heads.mask_head.mask_fcn1.weight",
        "roi_heads.mask_head.mask_fcn4.bias",
    } <= old
    renamed = architecture("maskrcnn_resnet50_fpn").renamed(dict.fromkeys(old))
    assert set(renamed) == today
    assert set(architecture("maskrcnn_resnet50_fpn").renamed(dict.fromkeys(today))) == today


@pytest.mark.tf_only
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_published_file(tmp_path, monkeypatch):
    """Old names, and no epsilon in the normalization of the file that is known by its hash."""
    safetensors = pytest.importorskip("safetensors.numpy")
    state, _ = require("maskrcnn_resnet50_fpn")
    path = tmp_path / "maskrcnn.safetensors"
    safetensors.save_file({f"module.{published(name)}": tensor for name, tensor in state.items()}, path)
    monkeypatch.setattr(published_files, "is_published", lambda name, source: True)
    monkeypatch.setattr("keras_seg.weights.torchvision_import.is_published", lambda name, source: True)
    model, report = from_torchvision("maskrcnn_resnet50_fpn", path, (64, 64, 3), return_report=True)
    assert report.num_parameters == PARAMETERS["maskrcnn_resnet50_fpn"] + 53_120
    assert "the epsilon of frozen batch normalization is 0" in str(report)
    layers = layers_by_name(model)
    norms = [layer for layer in layers.values() if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 53 and all(layer.epsilon == 0 for layer in norms)
    kernel = np.array(layers["output_P3"].kernel).transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(kernel, state["backbone.fpn.layer_blocks.1.0.weight"])

    state["roi_heads.box_predictor.bbox_pred.weight"] = np.zeros((8, 1024), "float32")
    del state["rpn.head.cls_logits.bias"]
    with pytest.raises(ValueError, match=r"(?s)1 of another shape:\n  box_pred kernel \(1024, 364\) <- .*"
                       r"\(8, 1024\), expected \(364, 1024\).*1 missing:\n  cls_logits bias"):  # fmt: skip
        from_torchvision("maskrcnn_resnet50_fpn", state, (64, 64, 3))


@pytest.mark.tf_only
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_detector_starts_another_of_other_classes():
    """All but what is for the checkpoint's own classes; trained normalization keeps its epsilon."""
    state, _ = require("maskrcnn_resnet50_fpn")
    model = mask_rcnn(2, (64, 64, 3))
    report = load_encoder(model, "maskrcnn_resnet50_fpn", dict(state))
    assert set(report.untouched) == {"cls_score", "box_pred", "mask_fcn_logits"}
    predictors = ("box_predictor.cls_score", "box_predictor.bbox_pred", "mask_predictor.mask_fcn_logits")
    assert set(report.unused["the scores of the checkpoint's own classes"]) == {
        f"roi_heads.{predictor}.{kind}" for predictor in predictors for kind in ("weight", "bias")
    }
    kernel = np.array(layers_by_name(model)["fc6"].kernel)
    np.testing.assert_array_equal(
        kernel.transpose(3, 2, 0, 1).reshape(1024, -1), state["roi_heads.box_head.fc6.weight"]
    )
