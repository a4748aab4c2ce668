"""The functions of a detector's SavedModel: images or encoded images in; boxes, classes, scores, masks out.

Only stock TensorFlow ops, so that TF Serving needs nothing beside the folder.
"""

from keras_seg.export.encoded_images import decode
from keras_seg.export.graph_letterbox import GraphLetterbox
from keras_seg.export.graph_pasting import id_map_png, mask_pngs
from keras_seg.inference.detector import OUTPUTS, Detector


def detector_functions(model, score_threshold):
    """The functions to serve, for a model under the TensorFlow backend.

    Args:
        model: a detector, see `keras_seg.inference.detector`.
        score_threshold: float. The map of objects has those of at least this score.

    Returns:
        (dict of signature name to (function, TensorSpec), tf.function of the network).
    """
    import tensorflow as tf

    detector = Detector(model)
    size, channels = detector.input_size, detector.channels
    images = tf.TensorSpec((None, *size, channels), tf.float32, name="images")

    @tf.function(input_signature=[images], autograph=False)
    def forward(images):
        outputs = model(images, training=False)
        types = {"labels": tf.int32, "num_detections": tf.int32}
        return {name: tf.cast(outputs[name], types.get(name, tf.float32)) for name in OUTPUTS}

    def serving_default(images):
        return forward(tf.cast(images, tf.float32))

    def find(encoded):
        image = decode(encoded, channels)
        letterbox = GraphLetterbox(tf.shape(image)[:2], size)
        found = forward(letterbox.canvas(image)[None])
        return _in_image({name: values[0] for name, values in found.items()}, letterbox)

    def find_each(image_bytes):
        with tf.init_scope():
            output = forward.get_concrete_function().structured_outputs
        output = {name: tf.TensorSpec(spec.shape[1:], spec.dtype) for name, spec in output.items()}
        output |= {"image_size": tf.TensorSpec((2,), tf.int32), "whole_boxes": output["boxes"]}
        return _each(find, image_bytes, output)

    def serve_instances(image_bytes):
        return _with_maps(find_each(image_bytes), score_threshold)

    def serve_bytes(image_bytes):
        found = find_each(image_bytes)
        masks = _each(
            lambda row: mask_pngs(*row),
            (*_places(found), found["num_detections"]),
            tf.TensorSpec(found["scores"].shape[1:], tf.string),
        )
        return {**_with_maps(found, score_threshold), "mask_bytes": masks}

    functions = {
        "serving_default": (serving_default, images),
        "serving_uint8": (serving_default, tf.TensorSpec(images.shape, tf.uint8, name="images")),
    }
    # What PNG can hold: grey, RGB and RGBA. A model of other channels is served by arrays.
    if channels in (1, 3, 4):
        encoded = tf.TensorSpec((None,), tf.string, name="image_bytes")
        # Two, as TensorFlow computes all outputs of a signature, also those that nobody asks for.
        functions |= {"serve_bytes": (serve_bytes, encoded), "serve_instances": (serve_instances, encoded)}
    return functions, forward


def _each(function, elements, output):
    """`function` of each image, four at a time: one is decoded while another is in the network, and memory
    stays bounded."""
    import tensorflow as tf

    return tf.map_fn(function, elements, parallel_iterations=4, fn_output_signature=output)


def _places(found):
    """What pasting takes of each image."""
    return found["masks"], found["whole_boxes"], found["image_size"]


def _with_maps(found, score_threshold):
    """The outputs that both signatures of encoded images have."""
    import tensorflow as tf

    shown = tf.reduce_sum(tf.cast(found["scores"] >= score_threshold, tf.int32), axis=1)
    shown = tf.minimum(shown, found["num_detections"])
    maps = _each(lambda row: id_map_png(*row), (*_places(found), shown), tf.string)
    names = ("boxes", "labels", "scores", "num_detections")
    return {**{name: found[name] for name in names}, "instance_bytes": maps}


def _in_image(rows, letterbox):
    """One image's rows in its own pixels, the best first, without what lies in the padding.

    Returns:
        dict of the names in `OUTPUTS`, of as many rows; "whole_boxes" (D, 4), not clipped to the image, which
        is what the masks span; and "image_size".
    """
    import tensorflow as tf

    whole = letterbox.boxes_back(rows["boxes"])
    limits = tf.cast(tf.gather(letterbox.image_size, [1, 0, 1, 0]), tf.float32)
    boxes = tf.clip_by_value(whole, 0.0, limits)
    kept = tf.range(tf.shape(whole)[0]) < rows["num_detections"]
    kept = tf.logical_and(kept, tf.reduce_all(boxes[:, 2:] > boxes[:, :2], axis=1))
    order = tf.argsort(tf.where(kept, -rows["scores"], float("inf")), stable=True)
    kept = tf.gather(kept, order)

    def sorted_rows(values, padding):
        values = tf.gather(values, order)
        chosen = tf.reshape(kept, [-1] + [1] * (len(values.shape) - 1))
        return tf.where(chosen, values, tf.constant(padding, values.dtype))

    return {
        "boxes": sorted_rows(boxes, 0),
        "labels": sorted_rows(rows["labels"], -1),
        "scores": sorted_rows(rows["scores"], 0),
        "masks": sorted_rows(rows["masks"], 0),
        "num_detections": tf.reduce_sum(tf.cast(kept, tf.int32)),
        "whole_boxes": sorted_rows(whole, 0),
        "image_size": letterbox.image_size,
    }
