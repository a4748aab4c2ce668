"""FrozenModel: the model's own answers, at every size, as it was when it was frozen."""

import collections

import keras
import numpy as np
import pytest

from keras_seg import fcn, unet
from keras_seg.backbones.resnet import resnet18
from keras_seg.inference import (
    FrozenModel,
    is_detector,
    predict_instances,
    predict_probabilities,
    predict_proposals,
    predict_tiled,
)
from keras_seg.inference.detector import OUTPUTS, Detector
from tests.harness import pixels
from tests.models.tiny_detector import scenes, tiny


def backbone():
    x = images = keras.Input((None, None, 3))
    for level in range(1, 6):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Activation("silu", name=f"silu{level}")(x)
    return keras.Model(images, x, name="small")


NETWORKS = {
    "unet": lambda: unet(3, filters=4, depth=2, normalization="batch"),
    "unet, one size": lambda: unet(3, (48, 64, 3), filters=4, depth=2),
    "fcn": lambda: fcn(3, backbone=backbone(), learn_upsampling=True),
}


def randomized(build):
    """With weights and batch statistics that leave no layer at its neutral start."""
    model = build()
    rng = np.random.default_rng(0)
    for weight in model.weights:
        value = rng.normal(0, 0.3, weight.shape)
        weight.assign(np.abs(value) + 0.5 if "variance" in weight.path else value)
    return model


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_answers_as_the_model(name, policy):
    keras.config.set_dtype_policy(policy)
    model = randomized(NETWORKS[name])
    frozen = FrozenModel(model)
    sizes = [(48, 64)] if "one size" in name else [(48, 64), (37, 51)]
    for size in sizes:
        for images in (pixels(2, *size, 3), pixels(1, *size, 3).astype("float32")):
            expected = model.predict_on_batch(images)
            received = frozen.predict_on_batch(images)
            # The same kernels on weights laid out before: some roundings; of bfloat16, 2^-8 each.
            tolerance = (1e-5 if policy == "float32" else 0.04) * np.abs(expected).max()
            np.testing.assert_allclose(received, expected, atol=tolerance)
            assert received.dtype == np.float32


@pytest.mark.tf_only
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_detector(policy):
    keras.config.set_dtype_policy(policy)
    model = tiny()
    for norm in (layer for layer in model.features._flatten_layers() if hasattr(layer, "moving_variance")):
        norm.moving_variance.assign(norm.moving_variance * 0.25)
    # Scores and moves that differ from box to box, where the heads start near zero.
    for name, factor in (("cls_score", 30), ("box_pred", 300)):
        kernel = model.box_head.get_layer(name).kernel
        kernel.assign(kernel * factor)
    images = scenes(3)[0].astype("float32")
    frozen = FrozenModel(model)
    expected, received = model.predict_on_batch(images), frozen.predict_on_batch(images)
    assert received.keys() == set(OUTPUTS) and min(expected["num_detections"]) > 3
    if policy == "float32":
        for name in OUTPUTS:
            np.testing.assert_allclose(received[name], expected[name], rtol=0, atol=1e-3, err_msg=name)
    else:
        # Roundings decide which of equals is left out.
        assert np.abs(received["scores"] - expected["scores"]).max() < 0.05
    assert is_detector(frozen) and Detector(frozen).num_classes == 3
    (found,) = predict_instances(frozen, images[:1].astype("uint8"))
    expected = received["boxes"][0, : received["num_detections"][0]]
    np.testing.assert_allclose(found.boxes, expected, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="48"):
        frozen.predict_on_batch(images[:, :48])


@pytest.mark.tf_only
def test_keeps_the_weights_that_it_was_made_of():
    model = randomized(NETWORKS["unet"])
    images, others = pixels(1, 32, 32, 3), pixels(1, 48, 32, 3)
    frozen = FrozenModel(model)
    expected = model.predict_on_batch(others)
    before = frozen.predict_on_batch(images)
    model.get_layer("head").bias.assign_add([5.0, 0.0, 0.0])
    np.testing.assert_array_equal(frozen.predict_on_batch(images), before)
    np.testing.assert_allclose(frozen.predict_on_batch(others), expected, atol=1e-4)
    again = FrozenModel(frozen).predict_on_batch(images)
    np.testing.assert_allclose(again - before, np.broadcast_to([5, 0, 0], before.shape), atol=1e-4)


@pytest.mark.tf_only
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_normalization_costs_nothing(policy):
    """It is in the kernels and biases of the convolutions, with what follows: residuals and ReLU."""
    from tensorflow.python.eager import context

    keras.config.set_dtype_policy(policy)
    frozen = FrozenModel(randomized(lambda: resnet18((64, 64, 3))))
    with context.collect_graphs(optimized=True) as graphs:
        frozen.predict_on_batch(pixels(1, 64, 64, 3))
    ran = collections.Counter(
        node.op for graph in graphs for part in (graph, *graph.library.function) for node in _nodes(part)
    )
    fused = sum(count for op, count in ran.items() if "FusedConv2D" in op)
    assert fused == 20, ran  # all convolutions of the network, without its classifier
    assert not [op for op in ran if "BatchNorm" in op or op in ("Mul", "AddV2", "BiasAdd", "Relu")], ran


def _nodes(graph_or_function):
    return getattr(graph_or_function, "node_def", None) or graph_or_function.node


@pytest.mark.tf_only
def test_stands_for_the_model_in_inference():
    model = randomized(NETWORKS["unet"])
    frozen = FrozenModel(model)
    image = pixels(70, 90, 3)
    box = np.array([[5, 5, 60, 40]], "float32")
    for predict in (
        lambda m: predict_probabilities(m, [image], augment="mirror")[0],
        lambda m: predict_tiled(m, image, tile_size=48, progress=False),
        lambda m: predict_proposals(m, image, box),
    ):
        np.testing.assert_allclose(predict(frozen), predict(model), atol=1e-4)


@pytest.mark.tf_only
@pytest.mark.parametrize(("name", "value"), [("_LARGEST_FROZEN", 10), ("_memory", lambda: 1e4)])
def test_a_model_too_large_for_one_graph_or_the_memory_runs_as_it_is(name, value, monkeypatch):
    from keras_seg.ops.fast import tensorflow

    monkeypatch.setattr(tensorflow, name, value)
    model = randomized(NETWORKS["unet"])
    frozen = FrozenModel(model)
    images = pixels(1, 32, 32, 3)
    before = frozen.predict_on_batch(images)
    model.get_layer("head").bias.assign_add([5.0, 0.0, 0.0])
    assert not np.array_equal(frozen.predict_on_batch(images), before)


@pytest.mark.tf_only
def test_refuses_the_sizes_that_the_model_refuses():
    frozen = FrozenModel(unet(3, padding="valid", filters=2, depth=2))
    assert frozen.predict_on_batch(pixels(1, 92, 92, 3)).shape == (1, 52, 52, 3)
    with pytest.raises(ValueError, match="92"):
        frozen.predict_on_batch(pixels(1, 91, 92, 3))
