"""Cropping and pasting against loops in float64, torchvision's numbers and rule, and each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import ops
from keras.ops import convert_to_numpy as numbers

from keras_seg.ops import crop_masks, masks_to_boxes, paste_masks
from tests.ops.box_cases import compiled, every_way, golden_answers, gradient, random_boxes


def sample(mask, y, x):
    """RoIAlign's sample of a mask at continuous pixel coordinates, in float64."""
    (height, width), y, x = mask.shape, y - 0.5, x - 0.5
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = (1 - (x - left)) * mask[top, left] + (x - left) * mask[top, right]
    lower = (1 - (x - left)) * mask[bottom, left] + (x - left) * mask[bottom, right]
    return (1 - (y - top)) * upper + (y - top) * lower


def crop(mask, box, size, ratio):
    """One target, by loops. The box is in pixels of the mask."""
    x1, y1, x2, y2 = box
    target = np.zeros(size)
    for row, column in np.ndindex(*size):
        for i, j in np.ndindex(ratio, ratio):
            y = y1 + (row + (i + 0.5) / ratio) * (y2 - y1) / size[0]
            x = x1 + (column + (j + 0.5) / ratio) * (x2 - x1) / size[1]
            target[row, column] += sample(mask, y, x) / ratio**2
    return target


def odd_crop_case():
    """Masks (2, 3, 9, 11) with boxes over and beyond the edge, without area, inverted; rows out of range."""
    masks = np.random.default_rng(0).random((2, 3, 9, 11)).astype("float32")
    boxes = random_boxes(2, 6, side=9, seed=1)
    boxes[0, 0] = [-4, -3, 6, 5]
    boxes[0, 1] = [2, 3, 30, 40]
    boxes[0, 2] = [4, 4, 4, 4]
    boxes[1, 0] = [8, 7, 2, 1]
    boxes[1, 1] = [20, 20, 30, 30]
    boxes[1, 2] = [0, 0, 11, 9]
    return masks, boxes, np.array([[0, 2, 1, 1, 0, -1], [2, 2, 0, 1, 1, 7]], "int32")


@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_crop_equals_loops(ratio):
    masks, boxes, indices = odd_crop_case()
    expected = np.zeros((2, 6, 4, 3))
    for image, row in np.ndindex(2, 6):
        mask = masks[image, np.clip(indices[image, row], 0, 2)].astype("float64")
        expected[image, row] = crop(mask, boxes[image, row].astype("float64"), (4, 3), ratio)

    def targets(masks, boxes, indices):
        return crop_masks(masks, boxes, indices, (4, 3), sampling_ratio=ratio)

    for way, (received,) in every_way(targets, masks, boxes, indices):
        assert received.dtype == "float32"
        # A coordinate of 40 is off by 2^-19, and neighbouring pixels differ by at most 1.
        np.testing.assert_allclose(received, expected, atol=1e-5, err_msg=way)


def test_crop_of_masks_that_span_boxes_equals_loops():
    masks, boxes, indices = odd_crop_case()
    mask_boxes = random_boxes(2, 3, side=9, seed=2) + np.array([-3, -3, 4, 4], "float32")
    mask_boxes[0, 2] = [3, 3, 3, 8]
    expected = np.zeros((2, 6, 3, 4))
    for image, row in np.ndindex(2, 6):
        which = np.clip(indices[image, row], 0, 2)
        x1, y1, x2, y2 = mask_boxes[image, which].astype("float64")
        if x2 > x1:
            box = (boxes[image, row].astype("float64") - [x1, y1, x1, y1]) * np.tile(
                [11 / (x2 - x1), 9 / (y2 - y1)], 2
            )
            expected[image, row] = crop(masks[image, which].astype("float64"), box, (3, 4), 2)
    assert (expected.reshape(12, -1).max(axis=1) > 0).sum() > 6

    def targets(masks, boxes, indices, mask_boxes):
        return crop_masks(masks, boxes, indices, (3, 4), mask_boxes)

    for way, (received,) in every_way(targets, masks, boxes, indices, mask_boxes):
        np.testing.assert_allclose(received, expected, atol=1e-5, err_msg=way)


def test_masks_that_span_nothing_give_zeros():
    masks, boxes = np.ones((1, 2, 5, 5), "uint8"), [[[3, 3, 4, 4], [3, 3, 4, 4]]]
    received = numbers(crop_masks(masks, boxes, [[0, 1]], 7, [[[3, 3, 3, 8], [3, 3, 4, 8]]]))[0]
    np.testing.assert_array_equal(received[0], 0)
    np.testing.assert_array_equal(received[1], 1)


@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_crop_equals_torchvisions_aligned_roi_align(ratio):
    golden = golden_answers()
    boxes, batch = golden["roi_boxes"] * golden["roi_scale"], golden["roi_batch"]
    expected = golden[f"roi_align_aligned1_sampling{ratio}"]
    for image, masks in enumerate(golden["roi_features"]):
        here, channels = boxes[batch == image], len(masks)
        received = compiled(lambda m, b, i: crop_masks(m, b, i, expected.shape[2:], sampling_ratio=ratio))(
            masks[None],
            np.repeat(here, channels, axis=0)[None],
            np.tile(np.arange(channels), len(here))[None],
        )
        received = numbers(received).reshape(len(here), channels, *expected.shape[2:])
        np.testing.assert_allclose(received, expected[batch == image], atol=1e-5)


def test_a_target_has_no_gradient_to_its_box():
    masks, boxes, indices = odd_crop_case()

    def total(boxes):
        return ops.sum(boxes) + ops.sum(crop_masks(masks, boxes, indices, 4))

    np.testing.assert_array_equal(gradient(total, boxes), 1)


def test_crop_of_whole_pixels_is_the_mask():
    mask = np.random.default_rng(3).integers(0, 2, (1, 2, 12, 14))
    target = compiled(lambda masks: crop_masks(masks, [[[3, 2, 11, 8]]], [[1]], (6, 8), sampling_ratio=1))
    for dtype in ("bool", "uint8", "int32", "float16", "float32"):
        received = target(mask.astype(dtype))
        np.testing.assert_array_equal(numbers(received)[0, 0], mask[0, 1, 2:8, 3:11])


def test_no_boxes_and_no_masks():
    masks = np.zeros((2, 3, 5, 5), "uint8")
    none = crop_masks(masks, np.zeros((2, 0, 4)), np.zeros((2, 0), "int32"), 7)
    assert tuple(none.shape) == (2, 0, 7, 7)
    empty = crop_masks(masks[:, :0], random_boxes(2, 4), np.zeros((2, 4), "int32"), 7)
    np.testing.assert_array_equal(numbers(empty), np.zeros((2, 4, 7, 7)))
    assert tuple(paste_masks(np.zeros((2, 0, 28, 28)), np.zeros((2, 0, 4)), (6, 9)).shape) == (2, 0, 6, 9)


def paste(mask, box, size):
    """One pasted mask by loops in float64: bilinear at pixel centres, zeros around the mask."""
    padded, (x1, y1, x2, y2) = np.pad(mask, 1), box
    canvas = np.zeros(size)
    for row, column in np.ndindex(*size):
        y = (row + 0.5 - y1) / (y2 - y1) * mask.shape[0] + 0.5
        x = (column + 0.5 - x1) / (x2 - x1) * mask.shape[1] + 0.5
        if 0 <= y <= mask.shape[0] + 1 and 0 <= x <= mask.shape[1] + 1:
            canvas[row, column] = sample(padded, y + 0.5, x + 0.5)
    return canvas


def paste_like_torchvision(mask, box, size):
    """torchvision's rule by loops: pad by one, scale the box, cut it to integers, resize, copy."""
    padded, scale = np.pad(mask, 1), (len(mask) + 2) / len(mask)
    centre, half = (box[2:] + box[:2]) / 2, (box[2:] - box[:2]) / 2 * scale
    (left, top), (right, bottom) = np.trunc(centre - half).astype(int), np.trunc(centre + half).astype(int)
    width, height = max(right - left + 1, 1), max(bottom - top + 1, 1)
    canvas = np.zeros(size)
    for row in range(max(top, 0), min(bottom + 1, size[0])):
        for column in range(max(left, 0), min(right + 1, size[1])):
            y = (row - top + 0.5) * len(padded) / height
            x = (column - left + 0.5) * len(padded) / width
            canvas[row, column] = sample(padded, y, x)
    return canvas


def torchvision_boxes(boxes, side):
    """The boxes for which our rule gives torchvision's masks: grown by a mask pixel, cut, shrunk again."""
    centre, half = (boxes[..., 2:] + boxes[..., :2]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2
    start, stop = (np.trunc(centre + sign * half * (side + 2) / side) for sign in (-1, 1))
    sides = np.maximum(stop - start + 1, 1)
    return np.concatenate([start + sides / (side + 2), start + sides - sides / (side + 2)], axis=-1)


def odd_paste_case():
    masks = np.random.default_rng(4).random((2, 4, 5, 3)).astype("float32")
    boxes = random_boxes(2, 4, side=14, seed=5) + np.array([-2, -2, 3, 3], "float32")
    boxes[0, 0] = [-6, -4, 9, 30]
    boxes[0, 1] = [3.3, 4.1, 4.2, 4.6]
    boxes[1, 0] = [-30, -30, -20, -20]
    return masks, boxes


def test_paste_equals_loops():
    masks, boxes = odd_paste_case()
    size = (17, 21)
    expected = np.zeros((2, 4, *size))
    for place in np.ndindex(2, 4):
        expected[place] = paste(masks[place].astype("float64"), boxes[place].astype("float64"), size)
    assert (expected.reshape(8, -1).max(axis=1) == 0).sum() == 1
    for way, (received,) in every_way(lambda m, b: paste_masks(m, b, size), masks, boxes):
        assert received.dtype == "float32"
        # Places of up to 21 pixels over a side of 0.5, times 5: coordinates of 200, off by 2^-16.
        np.testing.assert_allclose(received, expected, atol=5e-5, err_msg=way)


def test_paste_differs_from_torchvision_by_the_rounding_of_the_box_alone():
    masks = np.random.default_rng(6).random((1, 5, 7, 7)).astype("float32")
    boxes = random_boxes(1, 5, side=20, seed=7)
    boxes[0, 0] = [-5.2, 3.1, 12.3, 40.0]
    size = (25, 31)
    expected = [paste_like_torchvision(m, b, size) for m, b in zip(masks[0], boxes[0], strict=True)]
    received = numbers(paste_masks(masks, torchvision_boxes(boxes, 7), size))[0]
    np.testing.assert_allclose(received, expected, atol=5e-5)
    assert np.abs(numbers(paste_masks(masks, boxes, size))[0] - expected).max() > 0.1


def test_paste_of_a_mask_at_its_own_size_is_a_copy():
    mask = np.random.default_rng(8).random((3, 4)).astype("float32")
    received = numbers(paste_masks(mask[None, None], [[[5, 2, 9, 5]]], (8, 12)))[0, 0]
    np.testing.assert_array_equal(received[2:5, 5:9], mask)
    received[2:5, 5:9] = 0
    np.testing.assert_array_equal(received, 0)


def test_the_edge_of_a_full_mask_is_half_way_down_at_the_edge_of_its_box():
    received = numbers(paste_masks(np.ones((1, 1, 2, 2)), [[[2.5, 0, 6.5, 9]]], (9, 9)))[0, 0, 4]
    np.testing.assert_allclose(received, [0, 0, 0.5, 1, 1, 1, 0.5, 0, 0], atol=1e-6)


def test_boxes_without_area_give_zeros_and_no_gradient():
    masks = np.ones((1, 4, 3, 3), "float32")
    boxes = np.array([[[0, 0, 0, 0], [4, 4, 4, 9], [9, 9, 4, 4], [2, 1, 8, 7]]], "float32")
    received = numbers(paste_masks(masks, boxes, 12))[0]
    np.testing.assert_array_equal(received[:3], 0)
    assert received[3].max() == 1
    moved = gradient(lambda b: ops.sum(paste_masks(masks, b, 12)), boxes)[0]
    assert np.isfinite(moved).all()
    np.testing.assert_array_equal(moved[[0, 2]], 0)


def test_gradients_of_paste():
    masks, boxes = odd_paste_case()
    masks, boxes, size = masks[:1, 2:], boxes[:1, 2:], (17, 21)
    mix = np.random.default_rng(9).normal(size=(1, 2, *size))

    def total(masks, boxes):
        pasted = [paste(m, b, size) for m, b in zip(masks[0], boxes[0], strict=True)]
        return (mix[0] * pasted).sum()

    def slopes(values, function):
        result = np.zeros_like(values)
        for place in np.ndindex(*values.shape):
            step = np.zeros_like(values)
            step[place] = 1e-5
            result[place] = (function(values + step) - function(values - step)) / 2e-5
        return result

    weights = mix.astype("float32")
    wide_masks, wide_boxes = masks.astype("float64"), boxes.astype("float64")
    received = gradient(
        lambda m: ops.sum(paste_masks(m, boxes, size) * ops.convert_to_tensor(weights)), masks
    )
    expected = slopes(wide_masks, lambda m: total(m, wide_boxes))
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-4)
    received = gradient(
        lambda b: ops.sum(paste_masks(masks, b, size) * ops.convert_to_tensor(weights)), boxes
    )
    expected = slopes(wide_boxes, lambda b: total(wide_masks, b))
    np.testing.assert_allclose(received, expected, rtol=1e-3, atol=1e-3)


def discs(radii, size):
    """Filled ellipses (1, G, H, W) with odd centres."""
    rows, columns = np.indices(size) + 0.5
    return np.array(
        [((rows - 41.3) / r) ** 2 + ((columns - 60.7) / (1.3 * r)) ** 2 < 1 for r in radii], "uint8"
    )[None]


@pytest.mark.parametrize("as_mini_masks", [False, True])
def test_paste_is_nearly_the_inverse_of_crop(as_mini_masks):
    def there_and_back(masks):
        boxes, rows = masks_to_boxes(masks), np.arange(3)[None]
        if as_mini_masks:
            mini = crop_masks(masks, boxes, rows, 56)
            targets = crop_masks(mini, boxes, rows, 28, mask_boxes=boxes)
        else:
            targets = crop_masks(masks, boxes, rows, 28)
        return paste_masks(targets, boxes, (90, 120))

    masks = discs((6, 15, 30), (90, 120))
    back = numbers(compiled(there_and_back)(masks))[0] >= 0.5
    truth = masks[0] > 0
    overlap = (back & truth).sum((1, 2)) / (back | truth).sum((1, 2))
    # 28 values across at most 78 pixels: the outline is off by a part of a pixel.
    assert (overlap > [0.99, 0.98, 0.98]).all(), overlap


def test_a_shifted_box_shifts_the_target():
    masks = discs((15,), (90, 120))
    box = numbers(masks_to_boxes(masks))[0, 0]
    step = (box[2] - box[0]) / 28
    boxes = np.stack([box, box + [4 * step, 0, 4 * step, 0]])[None]
    here, right = numbers(compiled(lambda m, b: crop_masks(m, b, [[0, 0]], 28))(masks, boxes))[0]
    np.testing.assert_allclose(right[:, :24], here[:, 4:], atol=1e-4)
    np.testing.assert_allclose(right[:, 25:], 0, atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(arrays("bool", st.just((2, 5, 7)), elements=st.sampled_from([False, False, False, True])))
def test_boxes_of_masks(masks):
    expected = np.zeros((2, 4))
    for mask, box in zip(masks, expected, strict=True):
        rows, columns = np.nonzero(mask)
        if len(rows):
            box[:] = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    received = numbers(masks_to_boxes(masks))
    assert received.dtype == "float32"
    np.testing.assert_array_equal(received, expected)


def test_boxes_of_masks_of_any_type_and_number():
    masks = discs((6, 15), (90, 120)) * 255
    expected = numbers(masks_to_boxes(masks > 0))
    for way, (received,) in every_way(masks_to_boxes, masks):
        np.testing.assert_array_equal(received, expected, err_msg=way)
    np.testing.assert_array_equal(numbers(masks_to_boxes(masks / 255.0)), expected)
    assert tuple(masks_to_boxes(np.zeros((2, 0, 5, 5), "uint8")).shape) == (2, 0, 4)


def test_crop_with_boxes_that_are_no_numbers():
    """A box with a NaN, or with corners of which a difference is none, gives 0; the others stay right."""
    masks = np.ones((1, 1, 8, 8), "float32")
    odd = [(np.nan, 0, 4, 4), (0, 0, 4, np.nan), (-np.inf, 0, np.inf, 4)]
    boxes = np.array([[(1, 1, 6, 5), *odd]], "float32")
    indices = np.zeros((1, 4), "int32")
    for _, (targets,) in every_way(lambda *arrays: crop_masks(*arrays, 3), masks, boxes, indices):
        np.testing.assert_allclose(targets[0, 0], 1, atol=1e-6)
        np.testing.assert_array_equal(targets[0, 1:], 0)


@pytest.mark.parametrize("mask_boxes", [False, True])
def test_crop_without_masks(mask_boxes):
    """Also where only the graph's run shows that there is none."""
    arrays = [np.zeros((2, 0, 8, 9), "float32"), random_boxes(2, 5), np.zeros((2, 5), "int32")]
    arrays += [np.zeros((2, 0, 4), "float32")] if mask_boxes else []

    def targets(masks, boxes, indices, spans=None):
        return crop_masks(masks, boxes, indices, (3, 2), spans)

    for _, (received,) in every_way(targets, *arrays):
        np.testing.assert_array_equal(received, np.zeros((2, 5, 3, 2)))


def test_bad_arguments_are_named():
    masks, boxes, indices = np.zeros((2, 3, 5, 5), "float32"), random_boxes(2, 4), np.zeros((2, 4), "int32")
    with pytest.raises(ValueError, match=r"`masks.shape` must be \(N, G, h, w\), 4 axes.*\(3, 5, 5\)"):
        crop_masks(masks[0], boxes, indices, 7)
    with pytest.raises(ValueError, match=r"`boxes.shape` must be \(N, K, 4\).*\(4, 4\)"):
        crop_masks(masks, boxes[0], indices, 7)
    with pytest.raises(ValueError, match=r"`boxes.shape` must be \(N, K, 4\).*\(2, 4, 5\)"):
        crop_masks(masks, np.zeros((2, 4, 5)), indices, 7)
    with pytest.raises(ValueError, match=r"`boxes.shape` must be \(2, K, 4\).*\(3, 4, 4\)"):
        crop_masks(masks, random_boxes(3, 4), np.zeros((3, 4), "int32"), 7)
    with pytest.raises(ValueError, match="`indices` must be integers.*float32"):
        crop_masks(masks, boxes, indices.astype("float32"), 7)
    with pytest.raises(ValueError, match=r"`indices.shape` must be \(N, K\), 2 axes"):
        crop_masks(masks, boxes, indices[0], 7)
    with pytest.raises(ValueError, match=r"`indices.shape` must be \(2, 4\).*\(2, 3\)"):
        crop_masks(masks, boxes, indices[:, :3], 7)
    with pytest.raises(ValueError, match=r"`mask_boxes.shape` must be \(N, G, 4\).*\(3, 4\)"):
        crop_masks(masks, boxes, indices, 7, mask_boxes=np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"`mask_boxes.shape` must be \(2, 3, 4\).*\(2, 4, 4\)"):
        crop_masks(masks, boxes, indices, 7, mask_boxes=np.zeros((2, 4, 4)))
    with pytest.raises(ValueError, match="`output_size` must be an integer of at least 1"):
        crop_masks(masks, boxes, indices, 0)
    with pytest.raises(TypeError, match="`sampling_ratio` must be an integer"):
        crop_masks(masks, boxes, indices, 7, sampling_ratio=1.5)
    with pytest.raises(ValueError, match=r"`boxes.shape` must be \(2, 3, 4\).*\(2, 4, 4\)"):
        paste_masks(masks, boxes, 9)
    with pytest.raises(ValueError, match=r"`masks.shape` must be \(N, D, m, n\)"):
        paste_masks(masks[0], boxes, 9)
    with pytest.raises(TypeError, match="`image_size` must be an integer or a pair"):
        paste_masks(masks, boxes[:, :3], (9, 9, 3))
    with pytest.raises(ValueError, match=r"`masks.shape` must be \(..., H, W\)"):
        masks_to_boxes(np.zeros(5))
