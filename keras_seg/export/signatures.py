"""The functions of the SavedModel: images or encoded images in, logits and class maps out.

Only stock TensorFlow ops, so that TF Serving needs nothing beside the folder. A `tf.Module` holds them and
not `keras.export.ExportArchive`, which has no public way to carry an asset.
"""

import json

from keras_seg.export.detector_signatures import detector_functions
from keras_seg.export.encoded_images import decode
from keras_seg.export.stored_weights import with_stored_weights
from keras_seg.inference.detector import is_detector


def build_module(model, rules, classes_file, score_threshold=0.5, weights="float32"):
    """The `tf.Module` to save and its signatures, for a model under the TensorFlow backend.

    Args:
        model: keras.Model, images (N, H, W, C) to logits (N, h, w, K), or a detector.
        rules: pair of SizeRule, height and width; not used for a detector, whose images are letterboxed.
        classes_file: str. JSON file of the classes; it becomes an asset.
        score_threshold: float. A detector's map of objects has those of at least this score.
        weights: str. How a semantic model's large weights are stored, see `with_stored_weights`.

    Returns:
        (tf.Module, dict of name to concrete function).
    """
    import tensorflow as tf

    if is_detector(model):
        functions, forward = detector_functions(model, score_threshold)
    else:
        functions, forward = _semantic_functions(model, rules, weights)
    signatures = {
        name: tf.function(function, autograph=False).get_concrete_function(spec)
        for name, (function, spec) in functions.items()
    }
    module = tf.Module(name=model.name)
    module.classes = tf.saved_model.Asset(str(classes_file))
    # Only what the graph reads: no optimizer, no seeds of dropout.
    module.weights = list(forward.get_concrete_function().graph.variables)
    return module, signatures


def _semantic_functions(model, rules, weights):
    """(dict of signature name to (function, TensorSpec), tf.function of the network)."""
    import tensorflow as tf

    _, height, width, channels = model.input_shape
    images = tf.TensorSpec((None, height, width, channels), tf.float32, name="images")
    network = with_stored_weights(model, weights)
    mask_dtype = tf.uint8 if model.output_shape[-1] <= 256 else tf.uint16

    @tf.function(input_signature=[images], autograph=False)
    def forward(images):
        return tf.cast(network(images), tf.float32)

    def serving_default(images):
        with tf.control_dependencies(_check_sizes(images, rules)):
            logits = forward(tf.cast(images, tf.float32))
        return {"logits": logits, "probabilities": _probabilities(logits), "classes": _classes(logits)}

    def serve_bytes(image_bytes):
        def segment(encoded):
            image = decode(encoded, channels)[None]
            size = tf.shape(image)[1:3]
            logits = forward(tf.ensure_shape(_fit(image, rules), images.shape))
            classes = _classes(_unfit(logits, rules, size))[0, :, :, None]
            return tf.io.encode_png(tf.cast(classes, mask_dtype))

        # Four at a time: one is decoded while another is in the network, and memory stays bounded.
        masks = tf.map_fn(segment, image_bytes, parallel_iterations=4, fn_output_signature=tf.string)
        return {"mask_bytes": masks}

    functions = {
        "serving_default": (serving_default, images),
        "serving_uint8": (serving_default, tf.TensorSpec(images.shape, tf.uint8, name="images")),
    }
    # What PNG can hold: grey, RGB and RGBA. A model of other channels is served by arrays.
    if channels in (1, 3, 4):
        functions["serve_bytes"] = (serve_bytes, tf.TensorSpec((None,), tf.string, name="image_bytes"))
    return functions, forward


def describe(signatures):
    """One line per signature: its inputs and outputs with dtype and shape."""

    def tensor(name, spec):
        shape = ", ".join("?" if side is None else str(side) for side in spec.shape)
        return f"{name} {spec.dtype.name} ({shape})"

    lines = {}
    for name, function in signatures.items():
        (spec,), _ = function.structured_input_signature
        outputs = ", ".join(tensor(key, value) for key, value in function.structured_outputs.items())
        lines[name] = f"{tensor(spec.name, spec)} -> {outputs}"
    return lines


def write_classes(path, classes):
    """Write the asset that clients read: {"classes": [{"id", "name", "color"}, ...]}."""
    path.write_text(json.dumps({"classes": classes}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _classes(logits):
    import tensorflow as tf

    # One channel means one class and its absence: a probability of at least a half.
    if logits.shape[-1] == 1:
        return tf.cast(logits[..., 0] >= 0, tf.int32)
    return tf.argmax(logits, axis=-1, output_type=tf.int32)


def _probabilities(logits):
    import tensorflow as tf

    return tf.sigmoid(logits) if logits.shape[-1] == 1 else tf.nn.softmax(logits)


def _fit(images, rules):
    """Images of any size, (1, h, w, C) float32, at a size that the model takes; see `SizeRule.plan`."""
    import tensorflow as tf

    plans = [_plan(rule, tf.shape(images)[axis + 1]) for axis, rule in enumerate(rules)]
    if any(rule.fixed is not None for rule in rules):
        images = tf.image.resize(images, [content for content, _, _ in plans])
    for axis, (rule, (content, before, after)) in enumerate(zip(rules, plans, strict=True), start=1):
        if rule.takes_all or (rule.fixed is not None and not rule.margin):
            continue
        # By index and not by tf.pad, which cannot mirror further than the image is long.
        period = tf.maximum(2 * (content - 1), 1)
        position = tf.math.floormod(tf.range(-before, content + after), period)
        images = tf.gather(images, tf.minimum(position, period - position), axis=axis)
    return images


def _unfit(logits, rules, size):
    """Logits of `_fit`'s images cut and resized to the images' own size."""
    import tensorflow as tf

    if all(rule.takes_all for rule in rules):
        return logits
    contents = [_plan(rule, size[axis])[0] for axis, rule in enumerate(rules)]
    logits = logits[:, : contents[0], : contents[1]]
    if any(rule.fixed is not None for rule in rules):
        logits = tf.image.resize(logits, size)
    return logits


def _plan(rule, size):
    """`SizeRule.plan` for a size that is known only when the graph runs."""
    import tensorflow as tf

    if rule.fixed is not None:
        return rule.plan(rule.fixed)
    missing = tf.maximum(size + rule.margin - rule.first, 0)
    total = rule.first + -(-missing // rule.step) * rule.step
    before = rule.margin // 2
    return size, before, total - size - before


def _check_sizes(images, rules):
    """Assertions that refuse, with the sizes that fit, images on which the model would silently be wrong."""
    import tensorflow as tf

    checks = []
    for axis, (side, rule) in enumerate(zip(("Height", "Width"), rules, strict=True), start=1):
        if rule.takes_all or rule.fixed is not None:
            continue
        size = tf.shape(images)[axis]
        fits = tf.logical_and(size >= rule.first, (size - rule.first) % rule.step == 0)
        sizes = f"{rule.first}, {rule.first + rule.step}, {rule.first + 2 * rule.step}, ..."
        message = f"{side} of `images` must be one of {sizes}. Use `serve_bytes` for images of any size."
        checks.append(tf.debugging.Assert(fits, [message, size]))
    return checks
