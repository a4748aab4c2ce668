"""Targets of anchors, proposals and masks against loops in float64: padding, crowds, compiled forms."""

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as numbers

from keras_seg.ops import crop_masks, masks_to_boxes
from keras_seg.ops.detection_selection import BOX_WEIGHTS
from keras_seg.ops.detection_targets import anchor_targets, mask_targets, sample_proposals
from tests.ops.box_cases import compiled, every_way, random_boxes
from tests.ops.test_box_coding import encode
from tests.ops.test_masks import crop, discs
from tests.ops.test_matching import by_loops

UNIT = (1.0, 1.0, 1.0, 1.0)


def scene(seed=1):
    """Boxes (60, 4) near the objects of two images; rows of padding, and a crowd region in each image."""
    objects = random_boxes(2, 6, side=40, seed=seed)
    boxes = random_boxes(60, side=40, seed=seed + 1)
    boxes[:36] = np.tile(objects[:, :4].reshape(8, 4), (5, 1))[:36]
    boxes[:36] += np.random.default_rng(seed + 2).uniform(-2, 2, (36, 4))
    labels = np.array([[2, 0, -1, 1, 1, -1], [0, 0, 2, -1, -1, 1]], "int32")
    crowd = np.zeros((2, 6), bool)
    crowd[0, 4] = crowd[1, 5] = True
    objects[0, 4] = objects[1, 5] = [0, 0, 30, 60]
    return boxes.astype("float32"), objects, labels, crowd


def labels_by_loops(boxes, objects, labels, crowd, low, high, low_quality):
    return by_loops(boxes, objects, low, high, low_quality, labels >= 0, crowd, 0.7)


def check_deltas(received, rows, boxes, matches, objects, labels, weights):
    for sample in np.flatnonzero(labels == 1):
        box, anchor = objects[matches[sample]].astype("float64"), boxes[rows[sample]].astype("float64")
        # log of a quotient and a difference of coordinates up to 60, times a weight of at most 10.
        np.testing.assert_allclose(received[sample], encode(box, anchor, weights), rtol=1e-4, atol=1e-4)


class TestAnchors:
    def draw(self, boxes, objects, labels, crowd, samples):
        return anchor_targets(boxes, objects, labels >= 0, crowd, num_samples=samples, seed=3)

    def test_equals_loops(self):
        boxes, objects, labels, crowd = scene()
        # More samples than boxes, so that only the order is left to chance.
        ways = every_way(lambda o, v, c: self.draw(boxes, o, v, c, 120), objects, labels, crowd)
        for way, (rows, drawn, deltas) in ways:
            assert rows.shape == drawn.shape == (2, 120) and deltas.shape == (2, 120, 4), way
            assert np.isfinite(deltas).all()
            for image in range(2):
                matches, expected = map(
                    np.array,
                    labels_by_loops(boxes, objects[image], labels[image], crowd[image], 0.3, 0.7, True),
                )
                assert all((expected == label).sum() > 3 for label in (-1, 0, 1))
                for label in (0, 1):
                    picked = np.sort(rows[image, drawn[image] == label])
                    np.testing.assert_array_equal(picked, np.flatnonzero(expected == label), err_msg=way)
                check_deltas(
                    deltas[image],
                    rows[image],
                    boxes,
                    matches[rows[image]],
                    objects[image],
                    drawn[image],
                    UNIT,
                )

    def test_at_most_half_are_objects_and_each_call_draws_anew(self):
        boxes, objects, labels, crowd = scene()
        seed = keras.random.SeedGenerator(3)
        draws = [
            anchor_targets(boxes, objects, labels >= 0, crowd, num_samples=8, seed=seed) for _ in range(2)
        ]
        for _, drawn, _ in draws:
            assert ((numbers(drawn) == 1).sum(axis=1) == 4).all()
        assert not np.array_equal(numbers(draws[0][0]), numbers(draws[1][0]))

    @pytest.mark.parametrize("rows", [0, 3])
    def test_no_objects(self, rows):
        boxes = scene()[0]
        labels = np.full((2, rows), -1, "int32")
        ways = every_way(
            lambda o, v: self.draw(boxes, o, v, None, 16), np.zeros((2, rows, 4), "float32"), labels
        )
        for way, (_, drawn, deltas) in ways:
            np.testing.assert_array_equal(drawn, 0, err_msg=way)
            assert np.isfinite(deltas).all(), way


class TestProposals:
    def draw(self, proposals, present, objects, labels, crowd, samples=200, fraction=0.5):
        return sample_proposals(
            proposals,
            present,
            objects,
            labels,
            crowd,
            num_samples=samples,
            positive_fraction=fraction,
            seed=5,
        )

    def test_equals_loops(self):
        boxes, objects, labels, crowd = scene()
        proposals = np.stack([boxes, boxes[::-1]])
        present = np.arange(60) < np.array([[60], [50]])

        def draw(*tensors):
            drawn = self.draw(*tensors)
            return tuple(drawn[key] for key in ("boxes", "matches", "labels", "classes", "deltas"))

        for way, outputs in every_way(draw, proposals, present, objects, labels, crowd, free_axes=1):
            for image in range(2):
                found, matched, drawn, classes, deltas = (part[image] for part in outputs)
                assert found.shape == deltas.shape == (200, 4) and drawn.shape == (200,), way
                candidates = np.concatenate([proposals[image], objects[image]])
                matches, expected = labels_by_loops(
                    candidates, objects[image], labels[image], crowd[image], 0.5, 0.5, False
                )
                own = (labels[image] >= 0) & ~crowd[image]
                expected = np.where(np.concatenate([present[image], own]), expected, -1)
                assert (expected[60:] == 1).sum() == own.sum() >= 3
                for label in (0, 1):
                    rows = np.flatnonzero(expected == label)
                    assert len(rows) > 5
                    np.testing.assert_array_equal(
                        np.sort(found[drawn == label], axis=0), np.sort(candidates[rows], axis=0), err_msg=way
                    )
                positives = int((drawn == 1).sum())
                np.testing.assert_array_equal(drawn[:positives], 1)  # the first rows
                np.testing.assert_array_equal(
                    classes[:positives], labels[image][matched[:positives]] + 1, err_msg=way
                )
                np.testing.assert_array_equal(classes[positives:], 0)
                check_deltas(deltas, np.arange(200), found, matched, objects[image], drawn, BOX_WEIGHTS)
                assert np.isfinite(deltas).all()

    def test_objects_are_found_without_any_proposal(self):
        _, objects, labels, crowd = scene()
        drawn = self.draw(np.zeros((2, 5, 4), "float32"), np.zeros((2, 5), bool), objects, labels, crowd, 16)
        own = (labels >= 0) & ~crowd
        np.testing.assert_array_equal((numbers(drawn["labels"]) == 1).sum(axis=1), own.sum(axis=1))
        np.testing.assert_array_equal(numbers(drawn["labels"]) == 0, False)
        # An object's own box has nowhere to move.
        np.testing.assert_allclose(numbers(drawn["deltas"])[numbers(drawn["labels"]) == 1], 0, atol=1e-6)

    def test_a_proposal_in_a_crowd_is_neither(self):
        crowd_region, inside, outside = [0, 0, 40, 40], [5, 5, 15, 15], [50, 50, 60, 60]
        proposals = np.array([[inside, outside, crowd_region]], "float32")
        present = np.ones((1, 3), bool)
        for crowd, kept in ((np.array([[True]]), [outside]), (np.array([[False]]), [inside, outside])):
            region = np.array([[crowd_region]], "float32")
            drawn = self.draw(proposals, present, region, np.array([[1]]), crowd, 8)
            background = numbers(drawn["boxes"])[0][numbers(drawn["labels"])[0] == 0]
            np.testing.assert_array_equal(sorted(background.tolist()), sorted(kept))
            # As an object, the region is found by the proposal and by itself; as a crowd by nothing.
            assert (numbers(drawn["labels"]) == 1).sum() == (0 if crowd[0, 0] else 2)

    def test_a_quarter_are_objects(self):
        boxes, objects, labels, crowd = scene()
        drawn = self.draw(np.stack([boxes] * 2), np.ones((2, 60), bool), objects, labels, crowd, 16, 0.25)
        np.testing.assert_array_equal((numbers(drawn["labels"]) == 1).sum(axis=1), 4)

    @pytest.mark.parametrize("rows", [0, 3])
    def test_no_objects(self, rows):
        boxes = scene()[0]
        labels = np.full((2, rows), -1, "int32")

        def draw(proposals, objects, labels):
            drawn = self.draw(proposals, np.ones((2, 60), bool), objects, labels, None, 16)
            return tuple(drawn[key] for key in ("labels", "classes", "deltas"))

        ways = every_way(draw, np.stack([boxes] * 2), np.zeros((2, rows, 4), "float32"), labels)
        for way, (drawn, classes, deltas) in ways:
            np.testing.assert_array_equal(drawn, 0, err_msg=way)
            np.testing.assert_array_equal(classes, 0, err_msg=way)
            assert np.isfinite(deltas).all(), way


class TestMasks:
    SIZE = (90, 120)

    def case(self):
        """Two discs as masks of the image, their boxes, and boxes to cut out of the two."""
        masks = np.concatenate([discs((14, 27), self.SIZE), discs((20, 9), self.SIZE)])
        boxes = numbers(masks_to_boxes(masks))
        matches = np.array([[0, 1, 1, 0], [1, 0, 0, 1]], "int32")
        shift = np.random.default_rng(0).uniform(-6, 6, (2, 4, 4))
        return (
            masks,
            boxes,
            (np.take_along_axis(boxes, matches[..., None], 1) + shift).astype("float32"),
            matches,
        )

    def test_equals_loops(self):
        masks, objects, boxes, matches = self.case()
        shares = np.zeros((2, 4, 14, 10))
        for image, row in np.ndindex(2, 4):
            mask = masks[image, matches[image, row]].astype("float64")
            shares[image, row] = crop(mask, boxes[image, row].astype("float64"), (14, 10), 2)
        clear = np.abs(shares - 0.5) > 1e-4  # a rounding does not decide
        assert clear.mean() > 0.95

        def targets(masks, objects, boxes, matches):
            return mask_targets(masks, objects, boxes, matches, (14, 10), self.SIZE)

        ways = every_way(targets, masks, objects, boxes, matches, free_axes=1)
        for way, (received,) in ways:
            assert received.dtype == "float32" and received.shape == (2, 4, 14, 10), way
            assert set(np.unique(received)) == {0.0, 1.0}
            np.testing.assert_array_equal(received[clear], (shares >= 0.5)[clear], err_msg=way)

    def test_every_type_of_mask_is_the_same_mask(self):
        masks, objects, boxes, matches = self.case()
        targets = compiled(lambda m: mask_targets(m, objects, boxes, matches, (28, 28), self.SIZE))
        expected = numbers(targets(masks.astype("float32")))
        assert 0.2 < expected.mean() < 0.9
        for same in (masks, masks * np.uint8(255), masks.astype(bool), masks.astype("int32")):
            np.testing.assert_array_equal(numbers(targets(same)), expected, err_msg=str(same.dtype))

    def test_masks_that_span_their_boxes_agree_with_those_of_the_image(self):
        masks, objects, boxes, matches = self.case()
        rows = np.tile(np.arange(2, dtype="int32"), (2, 1))
        small = numbers(crop_masks(masks, objects, rows, 56))
        whole = numbers(mask_targets(masks, objects, boxes, matches, (28, 28), self.SIZE))
        for spans in (small, small >= 0.5):
            received = numbers(mask_targets(spans, objects, boxes, matches, (28, 28), self.SIZE))
            # `crop_masks` states 0.006 and 0.010 on average.
            assert np.abs(received - whole).mean() <= 0.015

    @pytest.mark.parametrize("dtype", ["bool", "uint8", "float32"])
    def test_no_objects(self, dtype):
        boxes, matches = self.case()[2:]

        def targets(masks, objects, boxes, matches):
            return mask_targets(masks, objects, boxes, matches, (14, 14), self.SIZE)

        none = np.zeros((2, 0, 28, 28), dtype), np.zeros((2, 0, 4), "float32")
        for way, (received,) in every_way(targets, *none, boxes, matches):
            np.testing.assert_array_equal(received, np.zeros((2, 4, 14, 14)), err_msg=way)
