"""The served functions of a detector in this process, against `predict_instances`; needs no export."""

import io

import keras
import numpy as np
import pytest
from PIL import Image

from keras_seg.data.image_files import decode_image
from keras_seg.data.letterbox import Letterbox
from keras_seg.export.graph_letterbox import GraphLetterbox
from keras_seg.export.graph_pasting import id_map_png
from keras_seg.export.signatures import build_module, write_classes
from keras_seg.inference import predict_instances
from keras_seg.inference.detections import Detections
from keras_seg.inference.mask_pasting import PastedMasks
from tests.inference.slot_detector import draw_slots, slot_detector

pytestmark = pytest.mark.tf_only

OBJECTS = [(1, 0.9, (4, 6, 30, 40)), (2, 0.8, (26, 16, 60, 50)), (3, 0.3, (10, 44, 50, 60))]
SIZES = [(64, 64), (120, 75), (61, 200), (63, 61)]


def encoded(image, format="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format, **options)
    return file.getvalue()


def pixels_of(png):
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.fixture(scope="module")
def model():
    return slot_detector()


@pytest.fixture(scope="module")
def signatures(model, tmp_path_factory):
    classes_file = tmp_path_factory.mktemp("classes") / "classes.json"
    write_classes(classes_file, [])
    return build_module(model, (), classes_file)[1]


def ask(signatures, *files):
    import tensorflow as tf

    answers = signatures["serve_bytes"](image_bytes=tf.constant(files))
    return {name: value.numpy() for name, value in answers.items()}


@pytest.mark.parametrize("image_size", [(338, 500), (375, 500), (1, 9), (700, 40), (64, 96), (97, 61)])
@pytest.mark.parametrize("canvas_size", [(64, 96), (640, 512)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_letterbox_is_the_data_pipelines(image_size, canvas_size, channels):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (*image_size, channels)).astype("float32")
    expected, graph = Letterbox(image_size, canvas_size), GraphLetterbox(tf.constant(image_size), canvas_size)
    assert tuple(graph.content_size.numpy()) == expected.content_size
    # Pillow's filter weights are float64, TensorFlow's float32.
    np.testing.assert_allclose(graph.canvas(tf.constant(image)), expected.image(image), atol=2e-2)
    boxes = rng.uniform(0, 64, (5, 4)).astype("float32")
    back = tf.clip_by_value(graph.boxes_back(boxes), 0, [*image_size[::-1]] * 2)
    np.testing.assert_allclose(back, expected.boxes_back(boxes), rtol=1e-6)


def test_arrays_give_what_predict_gives(model, signatures):
    images = np.stack([draw_slots((64, 64), OBJECTS), draw_slots((64, 64), OBJECTS[1:])])
    expected = model.predict(images, verbose=0)
    for name, dtype in (("serving_default", "float32"), ("serving_uint8", "uint8")):
        outputs = signatures[name](images=images.astype(dtype))
        assert set(outputs) == set(expected)
        for key, value in expected.items():
            np.testing.assert_allclose(outputs[key], value, atol=1e-6)


def test_encoded_images_of_different_sizes_in_one_batch(model, signatures):
    images = [draw_slots(size, OBJECTS) for size in SIZES]
    files = [encoded(image) for image in images[:3]] + [encoded(images[3], "JPEG", quality=98)]
    answers = ask(signatures, *files)
    decoded = [decode_image(file, 3).astype("float32") for file in files]
    for index, found in enumerate(predict_instances(model, decoded)):
        count = answers["num_detections"][index]
        assert count == len(found) >= 2
        np.testing.assert_allclose(answers["boxes"][index, :count], found.boxes, atol=1e-3)
        np.testing.assert_array_equal(answers["labels"][index, :count], found.labels)
        np.testing.assert_allclose(answers["scores"][index, :count], found.scores, atol=1e-4)
        assert (answers["labels"][index, count:] == -1).all()
        assert not answers["boxes"][index, count:].any() and not answers["scores"][index, count:].any()

        pngs = answers["mask_bytes"][index]
        assert (pngs[count:] == b"").all() and b"" not in pngs[:count]
        masks = [pixels_of(png) for png in pngs[:count]]
        for k, mask in enumerate(masks):
            assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255}
            np.testing.assert_array_equal(mask == 255, found.full_mask(k))
        ids = pixels_of(answers["instance_bytes"][index])
        assert ids.dtype == np.uint16
        np.testing.assert_array_equal(ids, found.above(0.5).id_map())
        assert 0 < ids.max() < count  # one object is below 0.5


def test_the_map_of_crowded_objects_is_that_of_detections():
    import tensorflow as tf

    rng, size, count = np.random.default_rng(0), (70, 90), 40
    corners = rng.uniform(-10, 60, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (count, 2))], axis=1).astype("float32")
    masks = rng.uniform(0.2, 1, (count, 28, 28)).astype("float32")
    pasted = PastedMasks(masks, boxes, size, 0.5)
    labels, scores = np.zeros(count, "int32"), np.linspace(1, 0, count)
    expected = Detections(boxes, labels, scores, pasted, pasted.origins, size).id_map()
    shown = set(np.unique(expected)) - {0}
    assert 5 < len(shown) < count - 5
    png = tf.function(id_map_png)(masks, boxes, tf.constant(size), tf.constant(count))
    np.testing.assert_array_equal(pixels_of(png.numpy()), expected)


def test_the_signature_without_masks_says_the_same(signatures):
    import tensorflow as tf

    files = tf.constant([encoded(draw_slots(size, OBJECTS)) for size in SIZES[:2]])
    whole = signatures["serve_bytes"](image_bytes=files)
    part = signatures["serve_instances"](image_bytes=files)
    assert whole.keys() - part.keys() == {"mask_bytes"}
    for name, value in part.items():
        np.testing.assert_array_equal(value, whole[name])


def test_images_without_objects_and_objects_in_the_padding_alone(signatures):
    answers = ask(signatures, encoded(np.zeros((30, 50, 3), "uint8")))
    assert answers["num_detections"].tolist() == [0]
    assert (answers["labels"] == -1).all() and (answers["mask_bytes"] == b"").all()
    ids = pixels_of(answers["instance_bytes"][0])
    assert ids.shape == (30, 50) and not ids.any()


def test_what_lies_in_the_padding_is_left_out_and_its_masks_keep_their_shape(tmp_path):
    from tests.inference.test_detections import padding_finder

    write_classes(tmp_path / "classes.json", [])
    _, signatures = build_module(padding_finder(), (), tmp_path / "classes.json", score_threshold=0.85)
    answers = ask(signatures, encoded(np.zeros((16, 32, 3), "uint8")))
    assert answers["num_detections"].tolist() == [1]
    np.testing.assert_array_equal(answers["boxes"][0], [[4, 8, 12, 16], [0] * 4, [0] * 4])
    np.testing.assert_array_equal(answers["labels"][0], [2, -1, -1])
    mask = pixels_of(answers["mask_bytes"][0, 0])
    assert (mask[8:16, 4:12] == 255).all() and mask.sum() == 255 * 64
    assert not pixels_of(answers["instance_bytes"][0]).any()  # its score is 0.8


def test_a_file_that_cannot_be_decoded_fails_its_request(signatures):
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match="(?i)image|png|jpeg"):
        ask(signatures, encoded(draw_slots((64, 64), OBJECTS)), b"nothing")


def test_a_detector_of_one_channel(tmp_path):
    images = keras.Input((64, 64, 1))
    colored = keras.layers.Concatenate()([images, 128 + 0 * images, images])
    grey = keras.Model(images, slot_detector()(colored))
    write_classes(tmp_path / "classes.json", [])
    _, signatures = build_module(grey, (), tmp_path / "classes.json")
    image = np.zeros((64, 64), "uint8")
    image[10:40, 20:50] = 255
    answers = ask(signatures, encoded(image), encoded(np.stack([image] * 3, axis=-1)))
    assert answers["num_detections"].tolist() == [1, 1]
    np.testing.assert_array_equal(answers["boxes"][:, 0], [[20, 10, 50, 40]] * 2)
