"""The one entry to every export: which formats there are, and what is checked before any of them starts."""

from pathlib import Path

import keras

from keras_seg.export.saved_model import export_saved_model
from keras_seg.utils.palette import class_colors
from keras_seg.utils.validation import bad_argument, check_choice, check_integer

FORMATS = {"saved_model": export_saved_model}


def export_model(
    model, path, format="saved_model", *, class_names=None, colors=None, version=None, check_images=None
):
    """Write a semantic segmentation model as a file for serving, and check it against `predict`.

    `path/VERSION/` is a SavedModel of stock TensorFlow ops that TF Serving takes as it is, whatever backend
    trained the model. It is written by a TensorFlow process of its own, loaded by another one that has no
    Keras, and compared there with this process's `predict`; only then it appears under its name. What it
    answers, with every name and dtype, is in `docs/serving.md`: `serving_default` (float32 images),
    `serving_uint8` (the same for uint8 images) and `serve_bytes` (encoded PNG and JPEG images of different
    sizes in, class-id PNGs of the same sizes out).

    The file computes in the dtypes of the model's policy: one trained under `mixed_bfloat16` keeps bfloat16
    convolutions and gives float32 logits.

    Args:
        model: keras.Model of one input (N, H, W, C) and one output (N, h, w, K), on any backend; or the path
            of a `.keras` file.
        path: str or Path. The model's folder, TF Serving's `base_path`; versions are folders inside it.
        format: "saved_model".
        class_names: list of K str, by class id. Default "0", "1", ... Written to the `classes.json` asset.
        colors: (K, 3) integers 0..255, RGB, by class id. Default `keras_seg.utils.palette.class_colors`.
        version: int of at least 1 that does not exist yet. Default: one more than the latest, or 1.
        check_images: images to compare on: an array (N, H, W, C) or a list of (H, W, C), 0..255. Default:
            noise and drawn shapes, of even and odd sizes.

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
    source, model = _load(model)
    num_classes = _check_semantic(model)
    return FORMATS[format](
        model,
        Path(path),
        source=source,
        classes=_describe_classes(num_classes, class_names, colors),
        version=None if version is None else check_integer("version", version),
        check_images=check_images,
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


def _describe_classes(num_classes, names, colors):
    """Content of the `classes.json` asset: a list of {"id", "name", "color"}."""
    names = [str(i) for i in range(num_classes)] if names is None else [str(name) for name in names]
    if len(names) != num_classes:
        raise bad_argument("class_names", f"{num_classes} names, one per class of the model", names)
    if colors is None:
        # A palette has 256 colours at most; beyond them they repeat.
        palette = class_colors(min(num_classes, 256)).tolist()
        colors = [palette[i % 256] for i in range(num_classes)]
    colors = [[int(value) for value in color] for color in colors]
    valid = all(len(color) == 3 and all(0 <= value <= 255 for value in color) for color in colors)
    if len(colors) != num_classes or not valid:
        raise bad_argument("colors", f"{num_classes} RGB triples of integers 0..255, one per class", colors)
    return [
        {"id": i, "name": name, "color": color}
        for i, (name, color) in enumerate(zip(names, colors, strict=True))
    ]
