"""Opens what a user calls "the model": a run folder, or a `.keras` file with or without its run beside it."""

import dataclasses
import json
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A model and what its run says of its classes.

    Attributes:
        path: Path of the `.keras` file.
        model: keras.Model.
        class_names: tuple of str; "0", "1", ... where no run folder names them. Those of a detector are of
            its objects, without background.
        colors: uint8 (K, 3), or None for the default colours.
        ignore_class: int or None.
        category_ids: tuple of int or None. A detector's: the ids of its classes in the COCO file that it was
            trained on.
    """

    path: Path
    model: object
    class_names: tuple
    colors: np.ndarray | None
    ignore_class: int | None
    category_ids: tuple | None = None


def open_model(path):
    """Load a model for prediction.

    Args:
        path: str. A run folder, which stands for its `model.keras`, or a `.keras` file.

    Returns:
        ModelFile.

    Raises:
        FileNotFoundError: there is no such model; says what was looked for.
    """
    import keras

    from keras_seg.inference import is_detector
    from keras_seg.inference.detector import Detector

    path = Path(path)
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(
            f"No model at {file}. Give a run folder of `keras-seg train`, or a .keras file."
        )
    model = keras.saving.load_model(file, compile=False)
    config = file.parent / "config.json"
    described = json.loads(config.read_text()) if config.is_file() else {}
    if is_detector(model):
        count, names = Detector(model).num_classes or 0, described.get("object_names")
        # The data's colours are of its classes of pixels.
        colors, category_ids = None, described.get("category_ids")
    else:
        count, names = model.output_shape[-1], described.get("class_names")
        colors, category_ids = described.get("colors"), None
    names = names or [str(index) for index in range(count)]
    return ModelFile(
        file,
        model,
        tuple(names),
        None if colors is None else np.asarray(colors, "uint8"),
        described.get("ignore_class"),
        category_ids and tuple(category_ids),
    )


def class_index(model_file, text):
    """The id of a class that a user named, by its name or its number.

    Raises:
        ValueError: no such class; lists them.
    """
    if text in model_file.class_names:
        return model_file.class_names.index(text)
    if text.isdigit() and int(text) < len(model_file.class_names):
        return int(text)
    listed = ", ".join(f"{index} {name}" for index, name in enumerate(model_file.class_names))
    raise ValueError(f"The model has no class {text!r}. Its classes: {listed}.")
