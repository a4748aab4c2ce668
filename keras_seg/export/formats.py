"""The one entry to every export: which formats there are, and what is checked before any of them starts."""

from pathlib import Path

import keras

from keras_seg.export.runtime_files import RUNTIME_FORMATS, export_runtime_file
from keras_seg.export.saved_model import export_saved_model
from keras_seg.inference import is_detector
from keras_seg.inference.detector import Detector
from keras_seg.utils.palette import class_colors
from keras_seg.utils.validation import bad_argument, check_choice, check_integer, check_number

FORMATS = ("saved_model", *RUNTIME_FORMATS)
WEIGHTS = ("float32", "float16", "bfloat16", "int8")


def export_model(
    model,
    path,
    format="saved_model",
    *,
    class_names=None,
    colors=None,
    version=None,
    input_size=None,
    weights="float32",
    score_threshold=0.5,
    check_images=None,
    check_masks=None,
):
    """Write a model as a file for serving, and check it against `predict`.

    `path/VERSION/` is a SavedModel of stock TensorFlow ops that TF Serving takes as it is, whatever backend
    trained the model. It is written by a TensorFlow process of its own, loaded by another one that has no
    Keras, and compared there with this process's `predict`; only then it appears under its name. What it
    answers, with every name and dtype, is in `docs/serving.md`: `serving_default` (float32 images),
    `serving_uint8` (the same for uint8 images) and `serve_bytes` (encoded PNG and JPEG images of different
    sizes in, class-id PNGs of the same sizes out).

    A detector, such as `mask_rcnn` builds, gives boxes, labels, scores and masks: `serving_default` and
    `serving_uint8` what `predict` gives, `serve_bytes` in each image's own pixels, with masks as PNGs. It is
    written as "saved_model" only.

    The other formats are files of one function, `images` (float32) to `logits`, `probabilities`, `classes`:
    "onnx" for ONNX Runtime, "openvino" (an `.xml` with a `.bin` beside it) and "litert" (`.tflite`). Each is
    loaded by its own runtime in a process without Keras and TensorFlow and compared in the same way.

    The file computes in the dtypes of the model's policy: one trained under `mixed_bfloat16` keeps bfloat16
    convolutions and gives float32 logits.

    Args:
        model: keras.Model of one input (N, H, W, C) and one output (N, h, w, K), or a detector, on any
            backend; or the path of a `.keras` file.
        path: str or Path. For "saved_model" the model's folder, TF Serving's `base_path`; versions are
            folders inside it. For the others a file that does not exist: `.onnx`, `.xml` or `.tflite`.
        format: "saved_model", "onnx", "openvino" or "litert".
        class_names: list of K str, by class id. Default "0", "1", ... Written to the `classes.json` asset.
            Those of a detector are of its labels, without background.
        colors: (K, 3) integers 0..255, RGB, by class id. Default `keras_seg.utils.palette.class_colors`.
        version: int of at least 1 that does not exist yet. Default: one more than the latest, or 1. Only of
            "saved_model".
        input_size: (height, width) in pixels that the file's input is fixed to. "litert" needs it for models
            of free size; not for "saved_model".
        weights: "float32", or how the large weights are stored: "float16", "bfloat16" (not by "openvino" and
            "litert") or "int8". The answers may then differ by what that rounding explains; the report says
            how much of the class maps stays.
        score_threshold: float within 0..1, default 0.5. A detector's map of objects has those of at least
            this score; its lists have all.
        check_images: images to compare on: an array (N, H, W, C) or a list of (H, W, C), 0..255. Default:
            a photograph, noise and drawn shapes, of even and odd sizes.
        check_masks: list of integer (H, W), the true class ids of `check_images`; a value that is no class is
            ignored. With them the report says what the export costs in mean IU. Not for detectors.

    Returns:
        ExportReport: the folder, the signatures and the largest difference from `predict`. Print it.

    Raises:
        ValueError, TypeError: an argument is wrong.
        FileExistsError: the version exists.
        ExportError: TensorFlow could not load or write the model, or its answers differ from `predict`. No
            version is left, and what was at `path` is unchanged.

    Example:
        >>> report = export_model(model, "served/roads", class_names=["background", "road"])
        >>> print(report)
    """
    check_choice("format", format, FORMATS)
    check_choice("weights", weights, WEIGHTS)
    source, model = _load(model)
    detects = is_detector(model)
    if detects and (format != "saved_model" or weights != "float32"):
        raise bad_argument(
            "format", "'saved_model', with weights='float32', for a detector", f"{format}, {weights}"
        )
    if check_masks is not None and (detects or check_images is None):
        raise bad_argument("check_masks", "left out for detectors and without `check_images`", "masks")
    num_classes = _num_labels(model, class_names) if detects else _check_semantic(model)
    options = {
        "source": source,
        "classes": _describe_classes(num_classes, class_names, colors, background=not detects),
        "weights": weights,
        "check_images": check_images,
        "check_masks": check_masks,
    }
    if format in RUNTIME_FORMATS:
        if version is not None:
            raise bad_argument("version", f"left out for format={format!r}, a file without versions", version)
        return export_runtime_file(model, Path(path), format=format, input_size=input_size, **options)
    if input_size is not None:
        raise bad_argument(
            "input_size", "left out for format='saved_model', whose signatures take every size", input_size
        )
    version = None if version is None else check_integer("version", version)
    check_number("score_threshold", score_threshold, 0, 1)
    return export_saved_model(
        model, Path(path), version=version, score_threshold=float(score_threshold), **options
    )


def _load(model):
    """`(file it came from or None, keras.Model)`."""
    if isinstance(model, keras.Model):
        return None, model
    if not isinstance(model, (str, Path)):
        raise bad_argument("model", "a keras.Model or the path of a .keras file", model, error=TypeError)
    source = Path(model)
    if source.suffix != ".keras" or not source.is_file():
        raise bad_argument("model", "the path of an existing .keras file", str(model))
    # Layers are registered when their module is imported; the model's own builder is not needed.
    import keras_seg.layers  # noqa: F401

    return source.resolve(), keras.models.load_model(source, compile=False)


def _check_semantic(model):
    """Return the number of classes of a model from one image batch to one map of logits."""
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    described = f"{model.__class__.__name__} {model.name!r}"
    if not inputs or not outputs:
        raise bad_argument("model", "a functional keras.Model, with known inputs", described)
    shapes = [tuple(tensor.shape) for tensor in (*inputs, *outputs)]
    if len(shapes) != 2 or any(len(shape) != 4 for shape in shapes):
        raise bad_argument("model", "of one input (N, H, W, C) and one output (N, h, w, K)", described)
    return shapes[1][-1]


def _num_labels(model, class_names):
    """The number of a detector's classes, or of their names where it does not say it."""
    return Detector(model).num_classes or len(class_names or ())


def _describe_classes(num_classes, names, colors, background=True):
    """Content of the `classes.json` asset: a list of {"id", "name", "color"}."""
    names = [str(i) for i in range(num_classes)] if names is None else [str(name) for name in names]
    if len(names) != num_classes:
        raise bad_argument("class_names", f"{num_classes} names, one per class of the model", names)
    if colors is None:
        # A palette has 256 colours at most; beyond them they repeat. Its first is black, for background.
        palette = class_colors(256)[0 if background else 1 :].tolist()
        colors = [palette[i % len(palette)] for i in range(num_classes)]
    colors = [[int(value) for value in color] for color in colors]
    valid = all(len(color) == 3 and all(0 <= value <= 255 for value in color) for color in colors)
    if len(colors) != num_classes or not valid:
        raise bad_argument("colors", f"{num_classes} RGB triples of integers 0..255, one per class", colors)
    return [
        {"id": i, "name": name, "color": color}
        for i, (name, color) in enumerate(zip(names, colors, strict=True))
    ]
