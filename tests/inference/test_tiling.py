"""Tiled prediction against the untiled one, at every kind of network, size and output."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_seg import fcn, unet
from keras_seg.inference import predict_tiled, test_time_augmentation
from keras_seg.inference.network import SemanticNetwork
from keras_seg.inference.tiling import _weights


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype("uint8")


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def local_network(static=None):
    """Padded, with a context of 3 pixels: overlaps of 12 pixels and more leave nothing to blend."""
    images = keras.Input((*(static or (None, None)), 1))
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    return keras.Model(images, keras.layers.Conv2D(3, 5, padding="same")(x))


def untiled_valid(model, image, margin, stride, smallest):
    """One run on the whole mirrored image, extended at the end to a size that the network takes."""
    height, width, _ = image.shape
    border = margin // 2
    ends = [-(-(n + margin - smallest) // stride) * stride + smallest - n - border for n in (height, width)]
    padded = np.pad(image, ((border, ends[0]), (border, ends[1]), (0, 0)), mode="reflect")
    return np.asarray(model.predict_on_batch(padded[None].astype("float32")))[0, :height, :width]


@pytest.mark.parametrize("tile_size", [60, (92, 60), None])
def test_valid_unet_tiled_equals_untiled(tile_size):
    model = unet(3, (None, None, 2), padding="valid", filters=4, depth=2)
    image = noise(131, 94, 2)
    expected = untiled_valid(model, image, margin=40, stride=4, smallest=44)
    result = predict_tiled(model, image, tile_size=tile_size, output="logits")
    assert result.shape == (131, 94, 3) and result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5 * max(1, np.abs(expected).max()))
    np.testing.assert_allclose(predict_tiled(model, image, tile_size=tile_size), softmax(expected), atol=1e-5)


def test_paper_unet_on_its_own_tiles():
    """Four poolings, static 204 x 204 in and 20 x 20 out: corners of tiles every 16 pixels."""
    free = unet(2, (None, None, 1), padding="valid", filters=1)
    fixed = unet(2, (204, 204, 1), padding="valid", filters=1)
    fixed.set_weights(free.get_weights())
    image = noise(50, 37, 1)
    expected = untiled_valid(free, image, margin=184, stride=16, smallest=188)
    tolerance = 1e-5 * max(1, np.abs(expected).max())
    for model in (free, fixed):
        np.testing.assert_allclose(predict_tiled(model, image, output="logits"), expected, atol=tolerance)
    with pytest.raises(ValueError, match=r"nearest are \[204, 220\]"):
        predict_tiled(free, image, tile_size=210)
    with pytest.raises(ValueError, match=r"`tile_size` must be None or \(204, 204\)"):
        predict_tiled(fixed, image, tile_size=220)


def test_valid_network_that_rounds_instead_of_refusing():
    images = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(3, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.Conv2D(3, 3)(keras.layers.MaxPooling2D(2)(x))
    model = keras.Model(images, keras.layers.UpSampling2D(2)(x))
    sizes, margin, stride = SemanticNetwork(model).valid_sizes(40)
    assert (margin, stride) == (6, 2) and all(size % 2 == 0 for size in sizes)
    image = noise(33, 52, 1)
    expected = untiled_valid(model, image, margin=6, stride=2, smallest=8)
    np.testing.assert_allclose(
        predict_tiled(model, image, tile_size=20, output="logits"), expected, atol=1e-5
    )


@pytest.mark.parametrize("size", [(80, 112), (96, 48), (20, 128)])
def test_padded_network_with_enough_overlap_equals_untiled(size):
    model, image = local_network(), noise(*size)
    expected = softmax(np.asarray(model.predict_on_batch(image[None, ..., None].astype("float32"))))[0]
    np.testing.assert_allclose(predict_tiled(model, image, tile_size=32, overlap=16), expected, atol=1e-6)


@pytest.mark.tf_only
def test_fcn_in_tiles_equals_fcn_untiled():
    """Four tiles, on the grid of 32 pixels; a score reaches 56 pixels by interpolation, less than 256 / 4."""
    x = images = keras.Input((None, None, 1))
    for _ in range(5):
        x = keras.layers.Conv2D(3, 2, strides=2, padding="same", activation="silu")(x)
    model = fcn(3, (None, None, 1), backbone=keras.Model(images, x))
    rng = np.random.default_rng(1)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        layer = model.get_layer(name)
        layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    image = noise(544, 640)
    expected = np.asarray(model.predict_on_batch(image[None, ..., None]))[0]
    received = predict_tiled(model, image, tile_size=512, overlap=256, output="logits")
    np.testing.assert_allclose(received, expected, atol=1e-5 * np.abs(expected).max())


def test_image_within_one_tile_is_run_as_it_is():
    model, image = unet(3, (None, None, 1), filters=2, depth=2), noise(57, 41)
    expected = np.asarray(model.predict_on_batch(image[None, ..., None].astype("float32")))[0]
    np.testing.assert_allclose(predict_tiled(model, image, output="logits"), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(32, 32), (7, 100), (1, 1), (45, 33)])
def test_fixed_size_network_takes_every_image(size):
    """Away from the ends, where a fixed tile sees mirrored pixels and the untiled network zeros."""
    fixed, free = local_network((32, 32)), local_network()
    free.set_weights(fixed.get_weights())
    image = noise(*size)
    result = predict_tiled(fixed, image, overlap=16, output="logits")
    expected = np.asarray(free.predict_on_batch(image[None, ..., None].astype("float32")))[0]
    assert result.shape == (*size, 3)
    inside = tuple(slice(0, max(0, n - 3)) for n in size)
    np.testing.assert_allclose(result[inside], expected[inside], atol=1e-5)


def test_classes_are_those_of_the_probabilities():
    model, image = local_network(), noise(70, 90)
    classes = predict_tiled(model, image, tile_size=32, output="classes")
    assert classes.dtype == np.uint8 and len(np.unique(classes)) > 1
    np.testing.assert_array_equal(classes, predict_tiled(model, image, tile_size=32).argmax(-1))


def test_single_class_is_a_binary_network():
    model, image = unet(1, (None, None, 1), filters=2, depth=1), noise(40, 40)
    logits = predict_tiled(model, image, output="logits")
    probabilities = predict_tiled(model, image)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-logits)), atol=1e-6)
    np.testing.assert_array_equal(predict_tiled(model, image, output="classes"), logits[..., 0] >= 0)


def test_augmented_tiles_are_those_of_test_time_augmentation():
    model, image = unet(2, (None, None, 1), filters=2, depth=1), noise(40, 24)
    expected = test_time_augmentation(model, image[None, ..., None])[0]
    np.testing.assert_allclose(predict_tiled(model, image, augment="all"), expected, atol=1e-6)
    with pytest.raises(ValueError, match="`output` must be"):
        predict_tiled(model, image, augment="all", output="logits")


def test_files_in_and_out(tmp_path):
    model, image = local_network(), noise(90, 70)
    np.save(tmp_path / "image.npy", image)
    for output in ("classes", "probabilities"):
        expected = predict_tiled(model, image, tile_size=32, output=output)
        for name in ("out.npy", "out.tif"):
            result = predict_tiled(
                model, tmp_path / "image.npy", tile_size=32, output=output, out=tmp_path / name
            )
            assert isinstance(result, np.memmap) and result.dtype == expected.dtype
            np.testing.assert_array_equal(result, expected)
        target = np.empty_like(expected)
        assert predict_tiled(model, image, tile_size=32, output=output, out=target) is target
        np.testing.assert_array_equal(target, expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.npy", "out.npy", "out.tif"]


def test_nothing_is_left_of_a_failed_run(tmp_path):
    image = noise(90, 70).astype("float32")
    image[80, 3] = np.nan
    with pytest.raises(ValueError, match="`image` must have finite values"):
        predict_tiled(local_network(), image, tile_size=32, out=tmp_path / "out.npy")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": noise(9, 9, 3)}, "`image` must be an image of 1 channels"),
        ({"image": noise(9)}, r"`image` must be an image \(H, W\)"),
        ({"image": noise(0, 9)}, r"`image` must be an image \(H, W\)"),
        ({"output": "labels"}, "`output` must be one of"),
        ({"tile_size": 16, "overlap": 9}, "`overlap` must be at most 8"),
        ({"batch_size": 0}, "`batch_size` must be an integer"),
        ({"out": np.empty((9, 9), "int64"), "output": "classes"}, "`out` must be an array of shape"),
        ({"out": "map.png"}, "`out` must be None, an array, or a path"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        predict_tiled(local_network(), **{"image": noise(40, 40), **arguments})


@pytest.mark.tf_only
@pytest.mark.parametrize(("starts", "span"), [([0, 24, 40], 32), ([0, 384, 768, 800], 512), ([0, 4], 4)])
def test_shares_add_up_and_leave_out_the_edges_of_tiles(starts, span):
    weights = _weights(starts, span)
    total = np.zeros(starts[-1] + span)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + span] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)
    dropped = (span - starts[1]) // 4
    assert (weights[1][:dropped] == 0).all() and (weights[0][span - dropped :] == 0).all()
    assert weights[0][0] == 1 and weights[-1][-1] == 1


LARGE = """
import re, sys
import numpy as np
from keras_seg import fcn, unet
from keras_seg.inference import predict_tiled

height, width, output, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
image = np.lib.format.open_memmap(f"{folder}/image.npy", "w+", "uint8", (height, width))
block = np.random.default_rng(0).integers(0, 256, (1000, width))
for row in range(0, height, 1000):
    image[row : row + 1000] = block[: height - row]
del image, block
model = unet(2, (None, None, 1), filters=4 if height == width else 1, depth=2 if height == width else 1)
# getrusage's peak starts at that of the process that started this one; this one is the program's own.
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 2**10
predict_tiled(model, np.zeros((600, width), "uint8"))
before = peak()
result = predict_tiled(model, f"{folder}/image.npy", output=output, out=f"{folder}/result.npy")
assert result.shape[:2] == (height, width), result.shape
print(before, peak())
"""


def peaks_in_mib(*arguments):
    """Peak resident memory of a fresh process, before and after it segments an image on disk."""
    command = [sys.executable, "-c", LARGE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [float(value) for value in done.stdout.split()[-2:]]


@pytest.mark.tf_only
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_memory_does_not_grow_with_the_image(tmp_path):
    """10 MB in and 80 MB out, in bands of 4 MB."""
    before, after = peaks_in_mib(10_000, 1000, "probabilities", tmp_path)
    assert after - before < 40


@pytest.mark.slow
@pytest.mark.tf_only
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_20000_pixel_image_within_two_gib(tmp_path):
    _, after = peaks_in_mib(20_000, 20_000, "classes", tmp_path)
    assert after < 2048
