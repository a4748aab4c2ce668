"""Ops on boxes and masks in a SavedModel of free sizes: it loads, gives the same, and has stock ops only."""

import keras
import numpy as np
import pytest

from keras_seg import ops
from tests.ops.box_cases import random_boxes

pytestmark = pytest.mark.tf_only


def targets(boxes, anchors, masks):
    """What training makes of ground truth, and back: encode, decode, match, sample, crop, paste."""
    matches, labels = ops.match_boxes(anchors, boxes, 0.3, 0.7, allow_low_quality=True)
    rows, sampled = ops.sample_balanced(labels, 4, 0.5, seed=1)
    chosen = keras.ops.take_along_axis(anchors, rows[..., None], axis=1)
    their = keras.ops.take_along_axis(matches, rows, axis=1)
    truth = keras.ops.take_along_axis(boxes, their[..., None], axis=1)
    deltas = ops.encode_boxes(truth, chosen, (10.0, 10.0, 5.0, 5.0))
    crops = ops.crop_masks(masks, chosen, their, 7)
    return {
        "sampled": sampled,
        "deltas": deltas,
        "boxes": ops.decode_boxes(deltas, chosen, (10.0, 10.0, 5.0, 5.0)),
        "crops": crops,
        "pasted": ops.paste_masks(crops, chosen, (24, 32)),
    }


def inputs(images, objects, anchors, side):
    masks = np.random.default_rng(objects).integers(0, 2, (images, objects, side, side)).astype("uint8")
    sizes = {"side": float(side), "seed": objects}
    return random_boxes(images, objects, **sizes), random_boxes(images, anchors, **sizes), masks


def test_saved_model(tmp_path):
    import tensorflow as tf

    signature = [
        tf.TensorSpec((None, None, 4)),
        tf.TensorSpec((None, None, 4)),
        tf.TensorSpec((None, None, None, None), "uint8"),
    ]
    module = tf.Module()
    module.targets = tf.function(targets, signature)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for sizes in ((1, 3, 9, 16), (2, 5, 20, 30)):
        arrays = inputs(*sizes)
        expected = module.targets(
            *arrays
        )  # not eagerly: what is drawn depends on what is known of the shapes
        for name, received in loaded.targets(*arrays).items():
            np.testing.assert_allclose(received, expected[name], rtol=0, atol=1e-4, err_msg=name)
    graph = loaded.targets.concrete_functions[0].graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert len(nodes) > 100
    assert not [node.op for node in nodes if "Xla" in node.op or "PyFunc" in node.op]
    assert not any("_XlaMustCompile" in node.attr for node in nodes)
