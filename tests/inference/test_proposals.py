"""Instance-wise inference: scores back at their boxes, aggregation, borders, no proposals, errors."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg.inference import predict_probabilities, predict_proposals
from keras_seg.inference.proposals import ScoreCanvas

SIZE = 16


def network():
    """Logits (0, red, green) of each pixel of a crop, in hundreds."""
    images = keras.Input((SIZE, SIZE, 3))
    score = layers.Conv2D(3, 1, use_bias=False)
    model = keras.Model(images, score(images))
    score.set_weights([np.array([[[[0, 0.01, 0], [0, 0, 0.01], [0, 0, 0]]]], "float32")])
    return model


def image():
    return np.random.default_rng(0).integers(1, 256, (40, 50, 3)).astype("uint8")


@pytest.mark.parametrize("aggregate", ["max", "mean"])
def test_boxes_of_the_networks_size_are_pasted_as_they_are(aggregate):
    picture, boxes = image(), [[4, 6, 20, 22], [12, 10, 28, 26]]
    received = predict_proposals(
        network(), picture, boxes, aggregate=aggregate, output="logits", batch_size=4
    )
    scores = np.concatenate([np.zeros((40, 50, 1)), picture[..., :2] * 0.01], axis=-1)
    covered = np.zeros((40, 50), bool)
    for x1, y1, x2, y2 in boxes:
        covered[y1:y2, x1:x2] = True
    # Where both boxes lie they agree: neither maximum nor mean changes anything.
    np.testing.assert_allclose(received[covered], scores[covered], rtol=1e-5, atol=1e-6)
    assert (received[~covered] == [0, -np.inf, -np.inf]).all()


def test_the_aggregates_of_scores_that_differ():
    # Columns 0, 1: the first box; 2, 3: both; 4: the second; 5: neither.
    boxes = np.array([[0, 0, 4, 1], [2, 0, 5, 1]], "float32")
    scores = np.array([[-1.0, 2.0, -3.0], [4.0, -5.0, -2.0]], "float32")
    expected = {
        # A box that does not cover a pixel has 0 there.
        "max": [[0, 2, 0], [0, 2, 0], [4, 2, -2], [4, 2, -2], [4, 0, 0], [0, -np.inf, -np.inf]],
        "mean": [[-1, 2, -3]] * 2 + [[1.5, -1.5, -2.5]] * 2 + [[4, -5, -2], [0, -np.inf, -np.inf]],
    }
    for aggregate, rows in expected.items():
        canvas = ScoreCanvas((1, 6), 3, aggregate)
        for box, score in zip(boxes, scores, strict=True):
            canvas.add(box, np.broadcast_to(score, (8, 8, 3)))
        np.testing.assert_allclose(canvas.scores()[0], rows)


@pytest.mark.tf_only
def test_probabilities_are_the_softmax_of_the_aggregate():
    picture = image()
    picture[10:30, 10:30] = (250, 20, 0)
    boxes = [np.array([[4, 6, 20, 22], [10, 4, 50, 36]])]
    for aggregate in ("max", "mean"):
        logits = predict_proposals(network(), picture, boxes[0], aggregate=aggregate, output="logits")
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
        expected = exponentials / exponentials.sum(axis=-1, keepdims=True)
        (found,) = predict_probabilities(network(), [picture], proposals=boxes, aggregate=aggregate)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_over_the_border_and_resized():
    flat = np.full((40, 50, 3), 100, "uint8")
    received = predict_proposals(network(), flat, [[-20, -10, 30, 35]], output="logits")
    # A crop's pixel is three of the image: at the border its scores blend with those of the black outside.
    np.testing.assert_allclose(received[4:33, 4:26], np.broadcast_to([0, 1, 1], (29, 22, 3)), atol=1e-5)
    assert np.isneginf(received[35:, :, 1]).all()


def test_without_proposals_all_is_background():
    for boxes in ([], np.zeros((0, 4)), lambda image: np.zeros((0, 4))):
        p = predict_proposals(network(), image(), boxes)
        assert p.shape == (40, 50, 3)
        assert (p == [1, 0, 0]).all()
    assert not predict_proposals(network(), image(), [], output="classes").any()


@pytest.mark.tf_only
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint16"])
def test_images_of_any_dtype(dtype):
    expected = predict_proposals(network(), image(), [[4, 6, 20, 22]])
    received = predict_proposals(network(), image().astype(dtype), [[4, 6, 20, 22]])
    np.testing.assert_array_equal(received, expected)


@pytest.mark.tf_only
def test_errors():
    with pytest.raises(ValueError, match=r"`proposals` must be boxes \(P, 4\)"):
        predict_proposals(network(), image(), np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"`image` must be an image \(H, W, 3\)"):
        predict_proposals(network(), image()[..., 0], [])
    inputs = keras.Input((SIZE, SIZE, 3))
    binary = keras.Model(inputs, layers.Conv2D(1, 1)(inputs))
    with pytest.raises(ValueError, match="`model` must be a network of at least two classes"):
        predict_proposals(binary, image(), [])
    with pytest.raises(ValueError, match="`propose_options` must be none"):
        predict_proposals(network(), image(), [], count=5)
