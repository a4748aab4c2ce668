"""Detectors as SavedModels, which answer as the model does on every backend."""

import json

import keras
import numpy as np
import pytest

from benchmarks.export_formats import draw_heads
from keras_seg import mask_rcnn
from keras_seg.cli.main import main
from keras_seg.export import export_model
from tests.inference.slot_detector import draw_slots, slot_detector

IMAGES = [
    draw_slots((64, 64), [(1, 0.9, (4, 6, 30, 40)), (2, 0.8, (26, 16, 60, 50)), (3, 0.3, (10, 44, 50, 60))]),
    draw_slots((90, 70), [(5, 0.7, (10, 10, 60, 40)), (6, 0.6, (10, 50, 60, 80))]),
]


def test_a_detector_of_the_users_own(tmp_path):
    report = export_model(slot_detector(), tmp_path / "slots", class_names="abc", check_images=IMAGES)
    comparison = report.comparison
    assert (comparison.same, comparison.others) == (15, 0)
    assert max(comparison.largest_differences.values()) < 1e-2
    expected = {"serving_default", "serving_uint8", "serve_bytes", "serve_instances"}
    assert set(report.signatures) == expected
    assert report.signatures["serve_bytes"] == (
        "image_bytes string (?) -> boxes float32 (?, 8, 4), labels int32 (?, 8), scores float32 (?, 8), "
        "num_detections int32 (?), instance_bytes string (?), mask_bytes string (?, 8)"
    )
    assert keras.backend.backend() in str(report)
    assert_stock_ops_only(report.path)
    classes = json.loads((report.path / "assets" / "classes.json").read_text())["classes"]
    assert classes[0] == {"id": 0, "name": "a", "color": [128, 0, 0]}


def assert_stock_ops_only(folder):
    """Nothing that runs Python or needs another library than TensorFlow itself."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = saved_model.meta_graphs[0].graph_def
    functions = {function.signature.name for function in graph.library.function}
    ops = {node.op for part in (graph.node, *(f.node_def for f in graph.library.function)) for node in part}
    assert len(ops - functions) > 50
    assert not {"PyFunc", "EagerPyFunc", "PyFuncStateless", "XlaCallModule"} & ops
    assert [op for op in ops - functions if not hasattr(tf.raw_ops, op)] == []


def small_mask_rcnn():
    """From random weights, with heads that are surer of some boxes than of others."""
    model = mask_rcnn(
        2,
        (96, 96, 3),
        backbone="resnet18_fpn",
        pyramid_filters=16,
        head_units=32,
        mask_filters=8,
        anchor_sizes=(8, 16, 32, 64, 128),
        pre_nms=(200, 200),
        max_proposals=(100, 100),
        max_detections=20,
    )
    draw_heads(model, np.random.default_rng(0))
    return model


@pytest.mark.slow
def test_mask_rcnn(tmp_path):
    model = small_mask_rcnn()
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (*size, 3), dtype="uint8") for size in ((96, 96), (70, 120))]
    report = export_model(model, tmp_path / "mask_rcnn", check_images=images)
    assert report.comparison.same > 40
    assert report.comparison.passed
    assert_stock_ops_only(report.path)


@pytest.mark.tf_only
def test_other_formats_and_arguments_are_refused(tmp_path):
    for arguments, message in (
        ({"format": "onnx"}, "'saved_model', with weights='float32', for a detector"),
        ({"score_threshold": 2}, "`score_threshold` must be a number within"),
    ):
        with pytest.raises(ValueError, match=message):
            export_model(slot_detector(), tmp_path / "a.onnx", **arguments)


@pytest.mark.slow
@pytest.mark.tf_only
def test_the_command(tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    slot_detector().save(folder / "model.keras")
    names = ["square", "disc", "ring"]
    config = {"class_names": ["background", *names], "colors": [[0, 0, 0]] * 4, "object_names": names}
    (folder / "config.json").write_text(json.dumps(config))
    assert main(["export", str(folder), str(tmp_path / "served")]) == 0
    assert "mask_bytes string (?, 8)" in capsys.readouterr().out
    classes = json.loads((tmp_path / "served" / "1" / "assets" / "classes.json").read_text())["classes"]
    assert [entry["name"] for entry in classes] == names
